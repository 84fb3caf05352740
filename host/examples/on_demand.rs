//! A source on demand: the host asks a thermometer for a reading for each event of the camera.
//!
//!     cargo run -p framegate --example on_demand

use std::{error::Error, time::Duration};

use framegate::{Host, names::WorkerName, settings::Settings};
use framegate_plugin_api::{
    Deadline, EventKind, EventSink, Frame, HostContext, OnDemand, OnDemandRun, Progress, Source, SourceError, SourceRun,
};

/// Decides when events come.
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
        let images = std::mem::take(&mut self.images);
        (0..images).for_each(|_| out.push("camera", EventKind::Data, [Frame::from_vec(vec![0; 4096])]));
        Ok(Progress::End)
    }
}

/// Is read once for each event of the other streams, which wait for it.
#[derive(Clone, serde::Deserialize)]
struct Thermometer {
    kelvin: u64,
}

impl Source for Thermometer {
    type Settings = Self;
    type Run = OnDemand<Self>;
    const PROTOCOL: &'static str = "thermometer";
    fn create(settings: Self, _: HostContext) -> Result<Self, SourceError> {
        Ok(settings)
    }
    fn open(&mut self) -> Result<OnDemand<Self>, SourceError> {
        Ok(OnDemand(self.clone()))
    }
}

impl OnDemandRun for Thermometer {
    fn trigger(&mut self, event_number: u64, out: &mut EventSink<'_>) -> Result<(), SourceError> {
        out.push("text", EventKind::Data, [Frame::from_vec(format!("{} K", self.kelvin + event_number).into_bytes())]);
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let text = r#"standalone.scans = 1
        [[ingester]]
        bind = "127.0.0.1"
        stream = [{ name = "camera", source = "camera", settings.images = 3 },
                  { name = "oven", source = "thermometer", settings.kelvin = 300 }]"#;
    let mut settings = Settings::from_toml(text)?;
    settings.ingesters[0].port = 0;
    let host = Host::builder(settings).source::<Camera>("camera").source::<Thermometer>("thermometer").start()?;
    let worker = host.worker(WorkerName::new("w1")?).each(|event| {
        let frame = |stream| event.stream(stream).and_then(|stream| stream.frames().next()).unwrap_or_default();
        println!("{} bytes at {}", frame("camera").len(), String::from_utf8_lossy(frame("oven")));
    })?;
    host.wait()?;
    host.shutdown();
    Ok(worker.wait(Duration::from_secs(10))?)
}
