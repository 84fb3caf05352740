//! Scans that the program controls, in place of a controller: three, each with another way to distribute its events.
//!
//!     cargo run -p framegate --example scans

use std::{error::Error, net::Ipv4Addr, time::Duration};

use framegate::{
    Assignment, Host, Scan,
    names::{IngesterName, StreamName, WorkerName},
    settings::{Control, IngesterSettings, Settings, StreamSettings},
};
use framegate_plugin_api::{
    Deadline, EventKind, EventSink, Frame, HostContext, Progress, Source, SourceError, SourceRun,
};

const LIMIT: Duration = Duration::from_secs(10);

/// A source that gives `events` frames in each scan.
#[derive(Clone, serde::Deserialize)]
struct Detector {
    events: u64,
}

impl Source for Detector {
    type Settings = Self;
    type Run = Self;
    const PROTOCOL: &'static str = "detector";
    fn create(settings: Self, _: HostContext) -> Result<Self, SourceError> {
        Ok(settings)
    }
    fn open(&mut self) -> Result<Self, SourceError> {
        Ok(self.clone())
    }
}

impl SourceRun for Detector {
    fn next(&mut self, out: &mut EventSink<'_>, _: Deadline) -> Result<Progress, SourceError> {
        let events = std::mem::take(&mut self.events);
        (0..events).for_each(|_| out.push("detector", EventKind::Data, [Frame::from_vec(vec![7; 100])]));
        Ok(Progress::End)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (camera, motor) = (StreamName::new("camera")?, StreamName::new("motor")?);
    let settings = serde_json::json!({ "events": 6 });
    let streams = [&camera, &motor].map(|name| StreamSettings::new(name.clone(), "detector", settings.clone()));
    let mut ingester = IngesterSettings::new(IngesterName::new("one")?, "localhost", 0, streams.into());
    ingester.bind = Some(Ipv4Addr::LOCALHOST.into());
    let host = Host::builder(Settings::new(Control::Program, vec![ingester])).source::<Detector>("detector").start()?;
    let (w1, w2) = (WorkerName::new("w1")?, WorkerName::new("w2")?);
    for worker in [&w1, &w2] {
        host.worker(worker.clone()).each(drop)?;
    }
    finish("in turn", &host, host.scan().in_turn().min_workers(2).begin()?)?;
    finish("to all", &host, host.scan().streams([camera.clone()]).to_all().min_workers(2).begin()?)?;
    let mut scan = host.scan().assigned().begin()?;
    // Every third event goes to w1, the others to w2; nobody gets the motor's frames of event 5.
    let event = |number: u64| {
        let worker = if number.is_multiple_of(3) { &w1 } else { &w2 };
        Assignment::new(number).stream(&camera, [worker]).stream(&motor, (number < 5).then_some(worker))
    };
    scan.assign((0..6).map(event), LIMIT)?;
    finish("assigned", &host, scan)?;
    host.shutdown();
    Ok(())
}

/// Waits until every source has given its last event and all is delivered; then prints the counts.
fn finish(what: &str, host: &Host, mut scan: Scan) -> Result<(), Box<dyn Error>> {
    scan.wait_ended(LIMIT)?;
    for (stream, counts) in scan.finish(LIMIT)?.streams {
        println!("{what}: {stream}: {} read, {} forwarded", counts.read, counts.forwarded);
    }
    for worker in &host.reports()[0].workers {
        println!("{what}: {}: {} messages", worker.name, worker.sent);
    }
    Ok(())
}
