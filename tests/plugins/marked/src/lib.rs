//! Yields events that contain the version of the plugin that made them, the number of the run, and their number in the
//! run.
//!
//! Like a source of a real detector, it has a thread and a pipe, so that a test sees whether they are cleaned up.
#![forbid(unsafe_code)]

use std::{
    fs,
    io::{PipeWriter, Read as _},
    path::PathBuf,
    thread,
    time::Duration,
};

use framegate_plugin_api::{
    Deadline, EventKind, EventSink, Frame, HostContext, Parameter, Progress, Source, SourceError, SourceRun,
    export_source,
};
use serde::Deserialize;

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Events in each run.
    events: u64,
    /// Bytes of the second frame of each event.
    #[serde(default)]
    bytes: usize,
    /// Bytes of the second frame of the first event and the last.
    #[serde(default)]
    outer_bytes: usize,
    /// The second half of a run's events waits until this file exists, and removes it.
    half_when: Option<PathBuf>,
    /// Included in the events; a wrong value is refused.
    #[serde(default)]
    mark: String,
}

struct Marked {
    settings: Settings,
    host: HostContext,
    runs: u64,
    gain: String,
    _helper: Helper,
}

struct Run {
    settings: Settings,
    host: HostContext,
    run: u64,
    next: u64,
    gain: String,
}

/// A thread that waits at a pipe until the source is dropped.
struct Helper {
    end: Option<PipeWriter>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Helper {
    fn new() -> Result<Self, SourceError> {
        let (mut reader, end) = std::io::pipe()?;
        let wait = move || drop(reader.read(&mut [0]));
        let thread = thread::Builder::new().name("marked".into()).spawn(wait)?;
        Ok(Self { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Source for Marked {
    type Settings = Settings;
    type Run = Run;
    const PROTOCOL: &'static str = "marked";

    fn create(settings: Settings, host: HostContext) -> Result<Self, SourceError> {
        if settings.mark == "wrong" {
            return Err(SourceError::settings("mark: it is wrong"));
        }
        Ok(Self { settings, host, runs: 0, gain: "none".to_owned(), _helper: Helper::new()? })
    }

    fn open(&mut self) -> Result<Run, SourceError> {
        self.runs += 1;
        let (settings, host) = (self.settings.clone(), self.host.clone());
        Ok(Run { settings, host, run: self.runs, next: 0, gain: self.gain.clone() })
    }

    fn parameters(&self) -> Vec<Parameter> {
        let description = |name: &str| format!("The {name} of version {}", env!("CARGO_PKG_VERSION"));
        let one = |name: &str, default: &str| Parameter::new(name, description(name), default);
        // Each version has its own parameter, and one that all versions have.
        vec![one("gain", "1"), one(concat!("only_", env!("CARGO_PKG_VERSION_MAJOR")), "here")]
    }

    fn set_parameter(&mut self, name: &str, value: &[u8]) -> Result<(), SourceError> {
        if name == "gain" {
            self.gain = String::from_utf8_lossy(value).into_owned();
        }
        Ok(())
    }
}

impl SourceRun for Run {
    fn next(&mut self, out: &mut EventSink<'_>, deadline: Deadline) -> Result<Progress, SourceError> {
        while self.next < self.settings.events && !out.is_full() {
            let is_half = self.next == self.settings.events / 2;
            if is_half && self.settings.half_when.as_ref().is_some_and(|path| fs::remove_file(path).is_err()) {
                break;
            }
            let last = self.settings.events - 1;
            let (kind, bytes) = match self.next {
                0 => (EventKind::Start, self.settings.outer_bytes),
                next if next == last => (EventKind::End, self.settings.outer_bytes),
                _ => (EventKind::Data, self.settings.bytes),
            };
            let about = format!(
                r#"{{"version":"{}","mark":"{}","gain":"{}","run":{},"event":{}}}"#,
                env!("CARGO_PKG_VERSION"),
                self.settings.mark,
                self.gain,
                self.run,
                self.next
            );
            let fill = env!("CARGO_PKG_VERSION_MAJOR").as_bytes()[0];
            out.push("MARKED", kind, [Frame::from_vec(about.into_bytes()), Frame::from_vec(vec![fill; bytes])]);
            self.next += 1;
        }
        let is_over = self.next == self.settings.events;
        if !out.is_empty() {
            return Ok(if is_over { Progress::End } else { Progress::More });
        }
        // No more events, or not yet.
        while !deadline.passed() && !self.host.stop_requested() {
            thread::sleep(Duration::from_millis(1));
        }
        Ok(if is_over { Progress::End } else { Progress::Idle })
    }
}

export_source!(Marked);
