//! The least program: a source of its own, one scan, one worker inside the program.
//!
//!     cargo run -p framegate --example least

use std::{error::Error, time::Duration};

use framegate::{Host, names::WorkerName, settings::Settings};
use framegate_plugin_api::{
    Deadline, EventKind, EventSink, Frame, HostContext, Progress, Source, SourceError, SourceRun,
};

/// A source that gives `events` numbers in each scan. It is its own settings and its own run.
#[derive(Clone, serde::Deserialize)]
struct Counter {
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

fn main() -> Result<(), Box<dyn Error>> {
    let mut settings = Settings::from_toml(
        r#"
        [standalone]
        scans = 1
        [[ingester]]
        bind = "127.0.0.1"
        [[ingester.stream]]
        name = "camera"
        source = "counter"
        settings.events = 5
        "#,
    )?;
    // Any free port: no worker connects from outside.
    settings.ingesters[0].port = 0;
    let host = Host::builder(settings).source::<Counter>("counter").start()?;
    let worker = host.worker(WorkerName::new("w1")?).each(|event| {
        let frames = event.streams().flat_map(|stream| stream.frames());
        let texts: Vec<_> = frames.map(String::from_utf8_lossy).collect();
        println!("event {}: {}", event.number(), texts.join(", "));
    })?;
    host.wait()?;
    for (stream, report) in host.reports().iter().flat_map(|ingester| &ingester.streams) {
        println!("{stream}: {} read, {} forwarded", report.read, report.forwarded);
    }
    host.shutdown();
    worker.wait(Duration::from_secs(10))?;
    Ok(())
}
