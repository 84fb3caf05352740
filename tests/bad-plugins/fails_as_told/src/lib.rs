//! Obeys all rules, except for the faults in its settings: each happens once, in the order of the list.
//!
//! Faults that have happened are recorded as files in a folder, so that other copies of the plugin see them too.
#![forbid(unsafe_code)]

use std::{fs, path::PathBuf, thread, time::Duration};

use framegate_plugin_api::{
    Deadline, EventKind, EventSink, Frame, HostContext, Parameter, Progress, Source, SourceError, SourceRun,
    export_source,
};
use serde::Deserialize;

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Each is "CALL FAULT".
    faults: Vec<String>,
    folder: PathBuf,
}

#[derive(Clone)]
struct Faults {
    settings: Settings,
    host: HostContext,
}

impl Faults {
    fn in_call(&self, call: &str) -> Result<(), SourceError> {
        self.note(call);
        let is_left = |number: &usize| !self.settings.folder.join(format!("fault-{number}")).exists();
        let Some(number) = (0..self.settings.faults.len()).find(is_left) else { return Ok(()) };
        let Some((at, fault)) = self.settings.faults[number].split_once(' ') else { return Ok(()) };
        if at != call {
            return Ok(());
        }
        fs::write(self.settings.folder.join(format!("fault-{number}")), "").unwrap();
        let goes_on = || self.settings.folder.join("go").exists();
        match fault {
            "panics" => panic!("{call} has lost its way"),
            "fails" => return Err(SourceError::protocol(format!("{call} has met something"))),
            "hangs" => while !goes_on() {
                thread::park_timeout(Duration::from_millis(5));
            }
            // Waits like a correct source.
            "waits" => while !goes_on() {
                if self.host.stop_requested() {
                    return Err(SourceError::connect(format!("{call} is told to stop")));
                }
                thread::park_timeout(Duration::from_millis(5));
            }
            _ => panic!("there is no fault {fault}"),
        }
        Ok(())
    }

    /// Appends one letter per call to a file.
    fn note(&self, call: &str) {
        let file = self.settings.folder.join(call);
        let calls = fs::read_to_string(&file).unwrap_or_default();
        fs::write(file, calls + "x").unwrap();
    }
}

struct Bad(Faults);

/// Yields as many events as a header, ten images and an end.
struct Run {
    faults: Faults,
    given: bool,
}

impl Source for Bad {
    type Settings = Settings;
    type Run = Run;
    const PROTOCOL: &'static str = "bad";

    fn create(settings: Settings, host: HostContext) -> Result<Self, SourceError> {
        let faults = Faults { settings, host };
        faults.in_call("create")?;
        Ok(Self(faults))
    }

    fn open(&mut self) -> Result<Run, SourceError> {
        self.0.in_call("open")?;
        Ok(Run { faults: self.0.clone(), given: false })
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![Parameter::new("gain", "Its values are in the file `gain`, a line each", 1)]
    }

    fn set_parameter(&mut self, name: &str, value: &[u8]) -> Result<(), SourceError> {
        let file = self.0.settings.folder.join(name);
        let values = fs::read(&file).unwrap_or_default();
        fs::write(file, [&values, value, b"\n"].concat()).unwrap();
        Ok(())
    }
}

impl SourceRun for Run {
    fn next(&mut self, out: &mut EventSink<'_>, deadline: Deadline) -> Result<Progress, SourceError> {
        if std::mem::replace(&mut self.given, true) {
            while !self.faults.host.stop_requested() && !deadline.passed() {
                thread::park_timeout(Duration::from_millis(1));
            }
            return Ok(Progress::End);
        }
        self.faults.in_call("next")?;
        for number in 0..12 {
            out.push("BAD", EventKind::Data, [Frame::from_vec(vec![number; 10])]);
        }
        Ok(Progress::End)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.faults.in_call("close");
    }
}

export_source!(Bad);
