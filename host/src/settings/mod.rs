//! The settings of a host: checked, final, typed; and their defaults.
//!
//! A program builds them in code (`new`, then sets fields) or from TOML text ([`Settings::from_toml`]). `layers` merges
//! files, environment and flags, `check` reports problems; a value knows its origin (`given`), so that every message
//! can name it. `built` checks settings that a program built. `dranspose` knows the names that the peer's users have.

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

/// Everything that a host needs to start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The controller, which starts scans and assigns work.
    pub control: Control,
    /// The ingesters of this process.
    pub ingesters: Vec<IngesterSettings>,
    /// Directories in which plugins are looked up by name, before FRAMEGATE_PLUGIN_PATH and the directories near the executable.
    pub plugin_dirs: Vec<PathBuf>,
    /// Accept plugin files and directories that others may write to.
    pub allow_writable_plugins: bool,
    /// Probe each plugin in a child process before it is used, so that a crash or hang during loading or creation harms only the child.
    /// The value is the command `framegate` that is started for it, a path or a name in the PATH. Default none: plugins are not probed.
    pub probe: Option<PathBuf>,
    /// How long queued events are delivered after a request to stop. Default 1 s.
    pub shutdown_grace: Duration,
    /// How long `create` and `open` of a source may take. Default 10 s.
    pub source_timeout: Duration,
    /// Maximum number of plugin copies that this process loads, including refused ones; they stay loaded until it ends.
    /// Default and maximum: 500.
    pub max_generations: usize,
    /// The folder that contains all captures, regardless of `dump_path` and the controller's dump_prefix; relative paths
    /// begin there. An absolute path. Default none: captures may be written wherever the process may write.
    pub capture_root: Option<PathBuf>,
    /// Who may swap sources through the admin endpoint. Default: programs on this machine.
    pub admin_swap: AdminSwap,
    /// The address of the admin HTTP endpoint; none: no endpoint. Default none; the command `framegate run` has 127.0.0.1:9180.
    pub admin: Option<SocketAddr>,
    /// If the port of `admin` is taken, bind the next free one of the nine after it instead; status shows the port.
    /// Default false; the command `framegate run` does so unless an address is given.
    pub admin_search: bool,
}

/// Loopback ports of a command's admin endpoint, unless an address is given.
pub(crate) const ADMIN_PORTS: RangeInclusive<u16> = 9180..=9189;

/// Invalid settings: all problems, each a few lines for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    problems: Vec<String>,
}

impl SettingsError {
    pub(crate) fn one(problem: String) -> Self {
        Self { problems: vec![problem] }
    }

    /// All problems: the place, the error, and the allowed values.
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

    /// Time limit for creating a source: its own time, and the same again for probing it first.
    pub(crate) fn creation_timeout(&self) -> Duration {
        if self.probe.is_some() { 2 * self.source_timeout } else { self.source_timeout }
    }

    /// Reads the text of a configuration file. Accesses nothing else: neither the environment nor files.
    ///
    /// # Errors
    /// All problems at once, each with its line.
    pub fn from_toml(text: &str) -> Result<Self, SettingsError> {
        let table = given::parse(text, None).map_err(|problems| SettingsError { problems })?;
        match check::check(&table, section::Problems::default()) {
            Ok(checked) => Ok(checked.settings),
            Err(problems) => Err(SettingsError { problems }),
        }
    }
}

/// Who may swap sources through the admin endpoint: a swap makes this process load a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AdminSwap {
    /// Programs on this machine.
    #[default]
    Loopback,
    /// Everybody who can reach the endpoint.
    Anywhere,
    /// Nobody: swaps are off.
    Off,
}

/// The controller, which starts scans and assigns work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// A dranspose controller, through Redis.
    Redis(RedisSettings),
    /// No controller: scans follow each other, and events are sent to connected workers.
    Standalone(Standalone),
}

/// How scans and events are handled without a controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standalone {
    /// Send every event to every worker, instead of in turn.
    pub broadcast: bool,
    /// End after this many scans; none: continue for ever.
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
    /// The local address to bind. Default: all, IPv4 and IPv6.
    pub bind: Option<IpAddr>,
    /// The allowed workers. Default: all.
    pub workers: AllowedWorkers,
    /// Maximum number of bytes in memory: half for events, shared equally among the streams of a scan, half for
    /// messages. Default 1 GiB.
    pub memory_limit: u64,
    /// Maximum number of capture bytes in memory. Default 256 MiB.
    pub capture_limit: u64,
    /// Time after which an unconnected worker loses its messages. Default 10 s.
    pub worker_timeout: Duration,
    /// Time after which a worker that pings but reads nothing loses its messages; none: never. Default none, 30 s in standalone.
    pub stall_timeout: Option<Duration>,
    /// The path of the capture, for every scan.
    pub dump_path: Option<PathBuf>,
    /// What happens to a capture if its disk is too slow.
    pub capture_when_full: CaptureWhenFull,
    /// Its streams.
    pub streams: Vec<StreamSettings>,
}

impl IngesterSettings {
    /// An ingester at `tcp://host:port` with defaults; the fields document them.
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

    /// The address for workers: exactly `tcp://host:port`.
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
    /// Values for the source's parameters, without a controller.
    pub parameters: BTreeMap<String, String>,
}

impl StreamSettings {
    /// A stream fed by `source`, with the source's own settings.
    #[must_use]
    pub fn new(name: StreamName, source: &str, settings: Value) -> Self {
        Self { name, source: source.to_owned(), settings, when_full: WhenFull::default(), parameters: BTreeMap::new() }
    }
}

/// The log level of the command, with the names of LOG_LEVEL (dranspose 0.2.0, `cli.py`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum LogLevel {
    /// For developers.
    Debug,
    /// Changes of state, for the operator.
    #[default]
    Info,
    /// Something is unusual, and was handled.
    Warning,
    /// Something is broken.
    Error,
}

/// What a stream does when its share of memory is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// Stop reading: the detector's own back-pressure applies, nothing is lost.
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
    /// Close the capture, and report it.
    Close,
    /// Pause forwarding.
    Block,
}
