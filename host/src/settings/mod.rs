//! The settings of a host: checked, final, typed; and their defaults.
//!
//! A program builds them by hand (`new`, then the fields it wants otherwise) or from TOML text ([`Settings::from_toml`]). How
//! they come about from files, environment and flags is in `layers`, what is wrong with them in `check`; a value knows where
//! it was written (`given`), so that every message can say it. Those that a program built are checked in `built`. `dranspose` knows the names that the peer's users have.

mod built;
mod check;
pub(crate) mod dranspose;
mod given;
pub(crate) mod layers;
mod read;
mod redis_settings;
mod section;
#[cfg(test)]
mod tests;
mod workers;

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

use serde_json::Value;

pub use self::{
    redis_settings::{RedisPassword, RedisSettings},
    workers::AllowedWorkers,
};
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
    /// Try each plugin out in a child process before it is used, so that one that crashes or hangs when it is loaded or made costs a child:
    /// the command `framegate` that is started for it, a path or a name in the PATH. Default none: plugins are not tried out.
    pub probe: Option<PathBuf>,
    /// How long queued events are delivered after a request to stop. Default 1 s.
    pub shutdown_grace: Duration,
    /// How long `create` and `open` of a source may take. Default 10 s.
    pub source_timeout: Duration,
    /// Copies of plugin files that this process loads at most, refused ones included; they stay loaded until it ends.
    /// Default and most: 500.
    pub max_generations: usize,
    /// The folder that no capture is outside of, whatever `dump_path` and the controller's dump_prefix say; relative ones begin there.
    /// An absolute path. Default none: captures go wherever the process may write.
    pub capture_root: Option<PathBuf>,
    /// Who may swap sources through the admin endpoint. Default: whoever is on this machine.
    pub admin_swap: AdminSwap,
    /// Where the admin HTTP endpoint listens; none: it does not. Default none; the command `framegate run` has 127.0.0.1:9180.
    pub admin: Option<SocketAddr>,
    /// If the port of `admin` is taken, bind the next free one of the nine after it instead; status says which. Default false; the
    /// command `framegate run` does so unless somebody names an address.
    pub admin_search: bool,
}

/// Ports of loopback where a command's admin endpoint is unless somebody names an address.
pub(crate) const ADMIN_PORTS: RangeInclusive<u16> = 9180..=9189;

/// Settings that do not hold: every problem that was found, each a few lines for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    problems: Vec<String>,
}

impl SettingsError {
    pub(crate) fn one(problem: String) -> Self {
        Self { problems: vec![problem] }
    }

    /// Every problem: where it is, what is wrong, what is allowed.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl std::error::Error for SettingsError {}

impl Settings {
    /// Settings with defaults.
    #[must_use]
    pub fn new(control: Control, ingesters: Vec<IngesterSettings>) -> Self {
        Self {
            control,
            ingesters,
            plugin_dirs: Vec::new(),
            allow_writable_plugins: false,
            probe: None,
            shutdown_grace: Duration::from_secs(1),
            source_timeout: Duration::from_secs(10),
            max_generations: 500,
            capture_root: None,
            admin_swap: AdminSwap::default(),
            admin: None,
            admin_search: false,
        }
    }

    /// How long a source may take to be there: the time that it has, and as much again to be tried out before.
    pub(crate) fn creation_timeout(&self) -> Duration {
        if self.probe.is_some() { 2 * self.source_timeout } else { self.source_timeout }
    }

    /// Reads the text of a configuration file. Looks at nothing else: not at the environment, not at files.
    ///
    /// # Errors
    /// Every problem at once, each with its line.
    pub fn from_toml(text: &str) -> Result<Self, SettingsError> {
        let table = given::parse(text, None).map_err(|problems| SettingsError { problems })?;
        match check::check(&table, section::Problems::default()) {
            Ok(checked) => Ok(checked.settings),
            Err(problems) => Err(SettingsError { problems }),
        }
    }
}

/// Who may swap sources through the admin endpoint: it makes this process load a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AdminSwap {
    /// Programs on this machine.
    #[default]
    Loopback,
    /// Whoever reaches the endpoint.
    Anywhere,
    /// Nobody.
    Off,
}

/// Who starts scans and hands out work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// A dranspose controller, through Redis.
    Redis(RedisSettings),
    /// Nobody: scans follow each other, and events go to whoever is connected.
    Standalone(Standalone),
}

/// How events are dealt without a controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standalone {
    /// Give every event to every worker, instead of in turn.
    pub broadcast: bool,
    /// End after this many scans; none: go on for ever.
    pub scans: Option<u64>,
    /// A scan's first event waits until this many workers are connected. Default 1.
    pub min_workers: usize,
}

impl Default for Standalone {
    fn default() -> Self {
        Self { broadcast: false, scans: None, min_workers: 1 }
    }
}

/// One ingester: a name, a port, its streams.
#[derive(Debug, Clone, PartialEq)]
pub struct IngesterSettings {
    /// Default: the streams joined by `_`, then `-ingester`.
    pub name: IngesterName,
    /// The host in `tcp://host:port`, which workers connect to.
    pub host: String,
    /// The port that is bound.
    pub port: u16,
    /// The address of this machine on which it is bound. Default: on all, of IPv4 and IPv6.
    pub bind: Option<IpAddr>,
    /// Which workers are served. Default: all.
    pub workers: AllowedWorkers,
    /// Bytes held at most: half for events, shared equally among the streams of a scan, half for messages. Default 1 GiB.
    pub memory_limit: u64,
    /// Bytes of captures held at most. Default 256 MiB.
    pub capture_limit: u64,
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
    /// An ingester at `tcp://host:port` with defaults; they are told at the fields.
    #[must_use]
    pub fn new(name: IngesterName, host: &str, port: u16, streams: Vec<StreamSettings>) -> Self {
        Self {
            name,
            host: host.to_owned(),
            port,
            bind: None,
            workers: AllowedWorkers::default(),
            memory_limit: 1 << 30,
            capture_limit: 256 << 20,
            worker_timeout: Duration::from_secs(10),
            stall_timeout: None,
            dump_path: None,
            capture_when_full: CaptureWhenFull::default(),
            streams,
        }
    }

    /// What workers connect to: exactly `tcp://host:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("tcp://{}:{}", self.host, self.port)
    }
}

/// One stream and the source that feeds it.
#[derive(Debug, Clone, PartialEq)]
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

impl StreamSettings {
    /// A stream that is fed by `source`, with the source's own settings.
    #[must_use]
    pub fn new(name: StreamName, source: &str, settings: Value) -> Self {
        Self { name, source: source.to_owned(), settings, when_full: WhenFull::default(), parameters: BTreeMap::new() }
    }
}

/// How much the command logs, by the names of LOG_LEVEL (dranspose 0.2.0, `cli.py`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum LogLevel {
    /// For developers.
    Debug,
    /// Changes of state, for the operator.
    #[default]
    Info,
    /// What is odd, and was dealt with.
    Warning,
    /// What is broken.
    Error,
}

/// What a stream does when its share of memory is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// Stop reading: the detector's own back-pressure holds, nothing is lost.
    #[default]
    Block,
    /// Drop the event and count it; its place is kept, so later events still meet their assignments.
    Drop,
}

/// What a capture does when its disk is too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CaptureWhenFull {
    /// Skip events and count them.
    #[default]
    Thin,
    /// Close the capture, and say so.
    Close,
    /// Hold back forwarding.
    Block,
}
