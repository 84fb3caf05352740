//! A program that controls its host itself: scans, assignments, workers inside the program, waiting and watching.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod errors;
mod inside;
mod scans;
mod watching;

use std::time::Duration;

use framegate::{
    Host, HostBuilder,
    names::{IngesterName, StreamName, WorkerName},
    settings::{Control, IngesterSettings, Settings, StreamSettings},
};
use framegate_tests::played::{Asked, Played};
use serde_json::{Value, json};

/// Only what fails needs so long.
const LIMIT: Duration = Duration::from_secs(60);

fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

fn worker(name: &str) -> WorkerName {
    WorkerName::new(name).unwrap()
}

/// Settings for ingesters with these streams; the host's program controls it, and chooses any port.
fn settings(ingesters: &[&[(&str, Value)]]) -> Settings {
    let ingester = |streams: &&[(&str, Value)]| {
        let name = IngesterName::new(&format!("of-{}", streams[0].0)).unwrap();
        let streams = streams.iter().map(|(name, settings)| {
            let source = if settings.get("answers_when").is_some() { "asked" } else { "played" };
            StreamSettings::new(stream(name), source, settings.clone())
        });
        IngesterSettings::new(name, "127.0.0.1", 0, streams.collect())
    };
    Settings::new(Control::Program, ingesters.iter().map(ingester).collect())
}

fn builder(settings: Settings) -> HostBuilder {
    Host::builder(settings).source::<Played>("played").source::<Asked>("asked")
}

/// A host with one ingester, whose streams give so many events in each scan.
fn host(streams: &[(&str, u64)]) -> Host {
    let streams: Vec<_> = streams.iter().map(|(name, events)| (*name, json!({ "events": events }))).collect();
    builder(settings(&[&streams])).start().unwrap()
}

/// The number that a source of this test has put into a frame.
fn number_in(frame: &[u8]) -> u64 {
    u64::from_le_bytes(frame[..8].try_into().unwrap())
}
