// A source for the examples of the documentation, and a host with it. Included there by hidden lines.

use framegate::{
    Host, StartError,
    settings::{Control, Settings},
};
use framegate_plugin_api::{Deadline, EventKind, EventSink, Frame, HostContext, Progress, Source, SourceError, SourceRun};

/// A source that gives `events` numbers in each scan.
#[derive(Clone, serde::Deserialize)]
pub struct Counter {
    events: u64,
    #[serde(skip)]
    given: u64,
}

impl Source for Counter {
    type Settings = Self;
    type Run = Self;
    const PROTOCOL: &'static str = "counter";

    fn create(settings: Self, _: HostContext) -> Result<Self, SourceError> {
        Ok(settings)
    }

    fn open(&mut self) -> Result<Self, SourceError> {
        Ok(self.clone())
    }
}

impl SourceRun for Counter {
    fn next(&mut self, out: &mut EventSink<'_>, _: Deadline) -> Result<Progress, SourceError> {
        while self.given < self.events && !out.is_full() {
            out.push("counter", EventKind::Data, [Frame::from_vec(self.given.to_string().into_bytes())]);
            self.given += 1;
        }
        Ok(if self.given < self.events { Progress::More } else { Progress::End })
    }
}

/// A host that its program controls, at any free port. Its stream `camera` gives three events in each scan.
pub fn host() -> Result<Host, StartError> {
    let mut settings = Settings::from_toml(
        r#"
        [[ingester]]
        bind = "127.0.0.1"
        [[ingester.stream]]
        name = "camera"
        source = "counter"
        settings.events = 3
        "#,
    )?;
    settings.control = Control::Program;
    settings.ingesters[0].port = 0;
    Host::builder(settings).source::<Counter>("counter").start()
}
