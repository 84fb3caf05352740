//! An async program: scans until Ctrl-C, and a swap of the source while it runs. It writes its log to standard error.
//!
//!     cargo run -p framegate --example tokio_app [SCANS]

use std::error::Error;

use framegate::{
    Host, SwapSpec,
    names::WorkerName,
    settings::{Control, Settings},
};
use framegate_plugin_api::{
    Deadline, EventKind, EventSink, Frame, HostContext, Progress, Source, SourceError, SourceRun,
};

/// A source that gives `images` frames of 1,000 bytes in each scan.
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
        (0..images).for_each(|_| out.push("camera", EventKind::Data, [Frame::from_vec(vec![0; 1000])]));
        Ok(Progress::End)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Without a subscriber nobody sees what the host logs.
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let scans = std::env::args().nth(1).map_or(Ok(3), |scans| scans.parse())?;
    let stream = r#"{ name = "camera", source = "camera", settings.images = 5 }"#;
    let mut settings = Settings::from_toml(&format!("ingester = [{{ bind = '127.0.0.1', stream = [{stream}] }}]"))?;
    settings.control = Control::Program;
    settings.ingesters[0].port = 0;

    // `start` and `swap` block until their sources are created; these need no time for that.
    let host = Host::builder(settings).source::<Camera>("camera").start()?;
    let mut worker = host.worker(WorkerName::new("w1")?).queue_async().await?;
    let working = tokio::spawn(async move {
        while let Ok(event) = worker.wait_async().await {
            println!("event {} of scan {}", event.number(), event.scan());
        }
    });
    tokio::select! {
        result = run(&host, scans) => result?,
        _ = tokio::signal::ctrl_c() => println!("Ctrl-C"),
    }
    host.shutdown_async().await;
    Ok(working.await?)
}

/// Runs these scans; before the second it swaps the source.
async fn run(host: &Host, scans: u32) -> Result<(), Box<dyn Error>> {
    for number in 0..scans {
        if number == 1 {
            host.swap("camera", &SwapSpec::new("camera").with_settings(serde_json::json!({ "images": 7 })))?;
        }
        let mut scan = host.scan().begin_async().await?;
        scan.wait_ended_async().await?;
        println!("scan {number}: {} events", scan.finish_async().await?.streams["camera"].forwarded);
    }
    Ok(())
}
