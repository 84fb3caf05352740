//! The settings of a host: checked, final, typed. How they come about is in `layers` and `check`.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use serde_json::Value;

use crate::names::{IngesterName, StreamName};

/// Everything a host needs to know to start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who starts scans and hands out work.
    pub control: Control,
    /// The ingesters of this process.
    pub ingesters: Vec<IngesterSettings>,
    /// Where plugins are looked for by name, before FRAMEGATE_PLUGIN_PATH and the executable's own places.
    pub plugin_dirs: Vec<PathBuf>,
    /// Accept plugin files and directories that others may write to.
    pub allow_writable_plugins: bool,
    /// How long queued events are delivered after a request to stop. Default 1 s.
    pub shutdown_grace: Duration,
    /// How long `create` and `open` of a source may take. Default 10 s.
    pub source_timeout: Duration,
    /// Where the admin HTTP endpoint listens; none: it does not. Default 127.0.0.1:9180 for `run`, none for drop-ins.
    pub admin: Option<SocketAddr>,
}

/// Who starts scans and hands out work.
#[derive(Debug, Clone)]
pub enum Control {
    /// A dranspose controller, through Redis.
    Redis {
        /// `redis://…`; may hold a password, so never log it whole.
        url: String,
        /// The file with commit_hash, branch_name, timestamp, repository_url; absent or invalid: null is published.
        build_meta: PathBuf,
    },
    /// Nobody: scans follow each other, and events go to whoever is connected.
    Standalone(Standalone),
}

/// How events are dealt without a controller.
#[derive(Debug, Clone, Default)]
pub struct Standalone {
    /// Give every event to every worker, instead of in turn.
    pub broadcast: bool,
    /// End after this many scans; none: go on for ever.
    pub scans: Option<u64>,
    /// Events wait until this many workers are connected. Default 1.
    pub min_workers: usize,
}

/// One ingester: a name, a port, its streams.
#[derive(Debug, Clone)]
pub struct IngesterSettings {
    /// Default: the streams joined by `_`, then `-ingester`.
    pub name: IngesterName,
    /// The host in `tcp://host:port`, which workers connect to.
    pub host: String,
    /// The port that is bound, on all addresses.
    pub port: u16,
    /// Bytes of events and messages held at most. Default 1 GiB.
    pub memory_limit: u64,
    /// Bytes of captures held at most. Default 256 MiB.
    pub capture_limit: u64,
    /// Bytes that libzmq may hold for one worker; one message is always allowed. Default 8 MiB.
    pub worker_inflight: u64,
    /// When a worker that is not connected loses its messages. Default 10 s.
    pub worker_timeout: Duration,
    /// When a worker that pings but reads nothing loses its messages; none: never. Default none, 30 s in standalone.
    pub stall_timeout: Option<Duration>,
    /// Where the capture goes, in every scan.
    pub dump_path: Option<PathBuf>,
    /// What happens to a capture whose disk is too slow.
    pub capture_when_full: CaptureWhenFull,
    /// Its streams.
    pub streams: Vec<StreamSettings>,
}

impl IngesterSettings {
    /// What workers connect to: exactly `tcp://host:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("tcp://{}:{}", self.host, self.port)
    }
}

/// One stream and the source that feeds it.
#[derive(Debug, Clone)]
pub struct StreamSettings {
    /// Its name.
    pub name: StreamName,
    /// A plugin's name, or a path to its file, or the name of a linked source.
    pub source: String,
    /// The source's own settings, checked by the source before anything starts.
    pub settings: Value,
    /// What happens when the stream's share of memory is full.
    pub when_full: WhenFull,
    /// Values for the source's parameters without a controller.
    pub parameters: BTreeMap<String, String>,
}

/// What a stream does when its share of memory is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenFull {
    /// Stop reading: the detector's own back-pressure holds, nothing is lost.
    #[default]
    Block,
    /// Drop the event and count it; its place is kept, so later events still meet their assignments.
    Drop,
}

/// What a capture does when its disk is too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CaptureWhenFull {
    /// Skip events and count them.
    #[default]
    Thin,
    /// Close the capture, and say so.
    Close,
    /// Hold back forwarding.
    Block,
}
