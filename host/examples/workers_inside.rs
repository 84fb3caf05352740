//! Workers inside the program: one is a function, one is a queue. Both get the frames where the source has put them.
//!
//!     cargo run -p framegate --example workers_inside

use std::{error::Error, net::Ipv4Addr, time::Duration};

use framegate::{
    Host, WorkerEvent,
    names::{IngesterName, StreamName, WorkerName},
    settings::{Control, IngesterSettings, Settings, StreamSettings},
};
use framegate_plugin_api::{
    Deadline, EventKind, EventSink, Frame, HostContext, Progress, Source, SourceError, SourceRun,
};

const LIMIT: Duration = Duration::from_secs(10);

/// A source of images. Each contains its own address in memory, to show that nobody has copied it.
#[derive(Clone, serde::Deserialize)]
struct Camera {
    images: u64,
}

impl Source for Camera {
    type Settings = Self;
    type Run = Self;
    const PROTOCOL: &'static str = "camera";
    fn create(settings: Self, _: HostContext) -> Result<Self, SourceError> {
        Ok(settings)
    }
    fn open(&mut self) -> Result<Self, SourceError> {
        Ok(self.clone())
    }
}

impl SourceRun for Camera {
    fn next(&mut self, out: &mut EventSink<'_>, _: Deadline) -> Result<Progress, SourceError> {
        for _ in 0..std::mem::take(&mut self.images) {
            let mut image = vec![0; 1 << 20];
            let address = image.as_ptr().addr();
            image[..8].copy_from_slice(&address.to_le_bytes());
            out.push("camera", EventKind::Data, [Frame::from_vec(image)]);
        }
        Ok(Progress::End)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let stream = StreamSettings::new(StreamName::new("camera")?, "camera", serde_json::json!({ "images": 3 }));
    let mut ingester = IngesterSettings::new(IngesterName::new("one")?, "localhost", 0, vec![stream]);
    ingester.bind = Some(Ipv4Addr::LOCALHOST.into());
    let host = Host::builder(Settings::new(Control::Program, vec![ingester])).source::<Camera>("camera").start()?;

    // A function is called on a thread of its own.
    let function = host.worker(WorkerName::new("function")?).each(|event| show("function", &event))?;
    // A queue holds at most so many bytes; further events wait in the ingester.
    let mut queue = host.worker(WorkerName::new("queue")?).limit(2 << 20).queue()?;

    let mut scan = host.scan().to_all().min_workers(2).begin()?;
    for _ in 0..3 {
        show("queue", &queue.wait(LIMIT)?);
    }
    scan.wait_ended(LIMIT)?;
    scan.finish(LIMIT)?;
    host.shutdown();
    function.wait(LIMIT)?;
    println!("the function has {}", if function.has_panicked() { "panicked" } else { "ended" });
    Ok(())
}

fn show(worker: &str, event: &WorkerEvent) {
    for frame in event.stream("camera").into_iter().flat_map(|camera| camera.frames()) {
        let is_same = frame[..8] == frame.as_ptr().addr().to_le_bytes();
        let copied = if is_same { "not copied" } else { "copied" };
        println!("{worker}: event {}, {} bytes, {copied}", event.number(), frame.len());
    }
}
