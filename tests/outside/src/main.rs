//! A program outside of the workspace: a source of its own, a scan, and a worker inside the program.

use std::{error::Error, time::Duration};

use framegate::{
    Host,
    names::WorkerName,
    settings::{Control, Settings},
};
use framegate_plugin_api::{Deadline, EventKind, EventSink, Frame, HostContext, Progress, Source, SourceError, SourceRun};

/// Gives `events` events in each scan.
#[derive(Clone, serde::Deserialize)]
struct Counter {
    events: usize,
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
        let events = std::mem::take(&mut self.events);
        (0..events).for_each(|_| out.push("counter", EventKind::Data, [Frame::from_vec(vec![0; 4096])]));
        Ok(Progress::End)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let stream = r#"{ name = "camera", source = "counter", settings.events = 3 }"#;
    let mut settings = Settings::from_toml(&format!("ingester = [{{ bind = '127.0.0.1', stream = [{stream}] }}]"))?;
    settings.control = Control::Program;
    settings.ingesters[0].port = 0;
    let host = Host::builder(settings).source::<Counter>("counter").start()?;
    host.worker(WorkerName::new("w1")?).each(drop)?;
    let mut scan = host.scan().begin()?;
    scan.wait_ended(Duration::from_secs(10))?;
    println!("{} events", scan.finish(Duration::from_secs(10))?.streams["camera"].forwarded);
    host.shutdown();
    Ok(())
}
