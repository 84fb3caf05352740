//! A program that embeds a host: a source of its own, a plugin loaded from a file, no Redis.
//!
//!     cargo build --workspace
//!     cargo run -p framegate --example embed -- target/debug/libframegate_stins.so tcp://localhost:9999 tcp://localhost:10000
//!
//! It serves one scan of the detector at the first address to workers at the second, and adds the time to each event.

use std::{error::Error, time::SystemTime};

use framegate::{Host, settings::Settings};
use framegate_plugin_api::{
    ErrorKind, EventKind, EventSink, Frame, HostContext, OnDemand, OnDemandRun, Source, SourceError,
};

/// A source defined by this program. It has no detector: the host triggers it once for each event of the other streams.
struct Clock;

impl Source for Clock {
    type Settings = ClockSettings;
    type Run = OnDemand<ClockRun>;
    const PROTOCOL: &'static str = "clock";

    fn create(_: ClockSettings, _: HostContext) -> Result<Self, SourceError> {
        Ok(Self)
    }
    fn open(&mut self) -> Result<OnDemand<ClockRun>, SourceError> {
        Ok(OnDemand(ClockRun))
    }
}

#[derive(serde::Deserialize)]
struct ClockSettings {}

struct ClockRun;

impl OnDemandRun for ClockRun {
    fn trigger(&mut self, _event_number: u64, out: &mut EventSink<'_>) -> Result<(), SourceError> {
        let since =
            SystemTime::UNIX_EPOCH.elapsed().map_err(|error| SourceError::from_source(ErrorKind::Internal, error))?;
        out.push("clock", EventKind::Data, [Frame::from_vec(since.as_micros().to_string().into_bytes())]);
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [plugin, detector, url] = &arguments[..] else { return Err("usage: embed PLUGIN DETECTOR URL".into()) };
    let settings = Settings::from_toml(&format!(
        r#"
        [standalone]
        scans = 1
        [[ingester]]
        url = "{url}"
        [[ingester.stream]]
        name = "camera"
        source = "{plugin}"
        settings.upstream_url = "{detector}"
        [[ingester.stream]]
        name = "clock"
        source = "clock"
        "#
    ))?;
    let host = Host::builder(settings).source::<Clock>("clock").start()?;
    host.wait()?;
    for (stream, report) in host.reports().iter().flat_map(|ingester| &ingester.streams) {
        println!("{stream}: {} read, {} forwarded, {} dropped", report.read, report.forwarded, report.dropped);
    }
    host.shutdown();
    Ok(())
}
