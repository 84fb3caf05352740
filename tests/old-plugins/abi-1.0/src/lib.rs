//! A plugin that uses all of version 1.0: ten events, a log line, a parameter, counts.
#![forbid(unsafe_code)]

use std::{sync::Arc, time::Duration};

use framegate_plugin_abi::{
    batch::BatchWriter,
    codes::{EventKind, LogLevel, Progress},
    error::SourceError,
    export_plugin,
    frame::Frame,
    guard::Plugin,
    host::HostServices,
};

struct Old {
    host: Arc<dyn HostServices>,
    given: u8,
}

impl Plugin for Old {
    const PROTOCOL: &'static str = "old";
    const EXCLUSIVE: bool = false;
    const ON_DEMAND: bool = false;

    fn create(stream: &str, settings: &str, host: Arc<dyn HostServices>) -> Result<Self, SourceError> {
        if settings.contains("wrong") {
            return Err(SourceError::settings("settings.wrong: there is no such setting"));
        }
        host.log(LogLevel::Info, &format!("{stream} is fed by an old plugin"));
        Ok(Self { host, given: 0 })
    }

    fn open(&mut self) -> Result<(), SourceError> {
        self.given = 0;
        Ok(())
    }

    fn next(&mut self, out: &mut BatchWriter, left: Duration) -> Result<Progress, SourceError> {
        assert!(left <= Duration::from_millis(100) && self.host.stop_descriptor() >= 0);
        while self.given < 10 {
            out.push("OLD", EventKind::Data, [Frame::from_vec(vec![self.given; 5000])].into_iter());
            self.given += 1;
        }
        Ok(Progress::End)
    }

    fn trigger(&mut self, _: u64, _: &mut BatchWriter) -> Result<(), SourceError> {
        Err(SourceError::internal("it is not asked for single events"))
    }

    fn close(&mut self) {}

    fn parameters(&self) -> String {
        r#"[{"name": "age", "description": "How old it is.", "dtype": "int", "default": 1}]"#.to_owned()
    }

    fn set_parameter(&mut self, _: &str, _: &[u8]) -> Result<(), SourceError> {
        Ok(())
    }

    fn skipped(&self, tell: &mut dyn FnMut(&str, u64)) {
        tell("too new", 3);
    }

    fn counters(&self, tell: &mut dyn FnMut(&str, u64)) {
        tell("images", self.given.into());
    }
}

export_plugin!(Old);
