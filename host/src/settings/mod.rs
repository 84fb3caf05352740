//! The settings of a host: checked, final, typed.
//!
//! A program builds them in code (`new`, then sets fields) or from TOML text ([`Settings::from_toml`]). `keys` says what
//! is known of each key; the keys stand here, in `ingester`, `stream`, `standalone` and `redis_settings`. `layers` merges
//! files, environment and flags, `check` reports problems; a value knows its origin (`given`), so that every message can
//! name it. `built` checks settings that a program built. `dranspose` knows the names that the peer's users have.

mod built;
mod check;
pub mod dranspose;
mod example;
pub(crate) mod feature;
mod given;
mod ingester;
pub(crate) mod keys;
pub mod layers;
#[cfg(test)]
mod page;
pub(crate) mod problem;
mod problems;
mod read;
#[cfg(feature = "redis")]
mod redis_address;
#[cfg(not(feature = "redis"))]
#[path = "no_redis_address.rs"]
mod redis_address;
mod redis_settings;
mod standalone;
mod stream;
mod tables;
#[cfg(test)]
#[cfg(all(feature = "admin", feature = "capture", feature = "plugins", feature = "redis"))]
mod tests;
pub mod variables;
mod workers;

use std::{fmt, net::SocketAddr, ops::RangeInclusive, path::PathBuf, time::Duration};

pub use self::{
    example::example,
    ingester::{CaptureWhenFull, IngesterSettings},
    problem::SettingProblem,
    redis_settings::{RedisPassword, RedisSettings},
    standalone::Standalone,
    stream::{COMMAND, Isolation, StreamSettings, WhenFull},
    workers::AllowedWorkers,
};
use self::{
    keys::{Key, TakesEffect, key, settings},
    read::{HOUR, MILLISECOND, admin, folder, generations_given, one_of, paths, some, time, truth},
};

settings! {
    /// Everything that a host needs to start.
    #[derive(Debug, Clone)]
    pub struct Settings {
        /// The controller, which starts scans and assigns work.
        pub control: Control,
        /// The ingesters of this process.
        pub ingesters: Vec<IngesterSettings>,
        /// If the port of `admin` is taken, bind the next free one of the nine after it instead; status shows the port.
        /// Default false; the command `framegate run` does so unless an address is given.
        pub admin_search: bool,
    }
    keys {
        key("plugin_dirs").takes_effect(TakesEffect::NextSwap).example(r#"["/opt/framegate/plugins"]"#) =>
            /// Folders in which plugins are looked up by name. They come before FRAMEGATE_PLUGIN_PATH, the folder of the
            /// executable, and ../lib/framegate beside it.
            plugin_dirs: Vec<PathBuf>, paths, default "[]";
        key("allow_writable_plugins").takes_effect(TakesEffect::NextSwap).variables(&[ALLOW_WRITABLE]) =>
            /// Accept plugin files and folders that other users own or may write to.
            allow_writable_plugins: bool, truth, default "false";
        key("probe").takes_effect(TakesEffect::NextSwap) =>
            /// Load and create each plugin in a child process first. A crash or hang then harms only the child. (A program
            /// that embeds the host names the command that is started for it, a path or a name in the PATH.)
            probe: Option<PathBuf>, |given| Ok(truth(given)?.then(|| PROGRAM.into())), default "false";
        key("shutdown_grace") =>
            /// How long queued events are delivered after a request to stop.
            shutdown_grace: Duration, time(Duration::ZERO, HOUR), default r#""1 s""#;
        key("source_timeout") =>
            /// How long a source may take to be created, and to open.
            source_timeout: Duration, time(MILLISECOND, HOUR), default r#""10 s""#;
        key("max_generations").takes_effect(TakesEffect::NextSwap) =>
            /// Maximum number of copies of plugin files that are loaded, refused ones included. They stay loaded until the
            /// process ends. At most 500.
            max_generations: usize, generations_given, default "500";
        key("capture_root").variables(&["FRAMEGATE_CAPTURE_ROOT"]).example(r#""/data/captures""#) =>
            /// The folder that all captures must be in. Neither `dump_path` nor the parameter `dump_prefix` leads out of it.
            /// An absolute path; relative paths of captures begin there.
            capture_root: Option<PathBuf>, some(folder), otherwise "captures may be wherever the process may write";
        key("admin").variables(&[ADMIN]).flag("--admin").example(r#""127.0.0.1:9180""#) =>
            /// The address that serves status and metrics over HTTP, or "off".
            admin: Option<SocketAddr>, admin,
            otherwise "`framegate run`: 127.0.0.1:9180, or the next free port up to 9189; else \"off\"";
        key("admin_swap") =>
            /// Who may swap sources through `admin`: "loopback" (programs on this machine), "anywhere" or "off".
            admin_swap: AdminSwap, one_of(&ADMIN_SWAP), default r#""loopback""#;
        LOG_LEVEL.about(&["The least serious level that is logged: DEBUG, INFO, WARNING or ERROR."]);
        key("standalone").about(&["Without a controller: scans follow each other, and events go to the workers in turn."]);
        key("ingester").about(&["One ingester: a name, a port, its streams."]);
    }
}

/// Not a setting of a host, but of the command.
const LOG_LEVEL: Key = key("log_level").variables(&["LOG_LEVEL"]).flag("--log-level").default(r#""INFO""#);

/// Variables that count also for commands without a configuration.
const ALLOW_WRITABLE: &str = "FRAMEGATE_ALLOW_WRITABLE_PLUGINS";
const ADMIN: &str = "FRAMEGATE_ADMIN";

/// The program that probes plugins; the command itself sets its own file.
const PROGRAM: &str = "framegate";
const ADMIN_SWAP: [(&str, AdminSwap); 3] =
    [("loopback", AdminSwap::Loopback), ("anywhere", AdminSwap::Anywhere), ("off", AdminSwap::Off)];

/// Loopback ports of a command's admin endpoint, unless an address is given.
pub const ADMIN_PORTS: RangeInclusive<u16> = 9180..=9189;

/// Invalid settings: all problems.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    problems: Vec<SettingProblem>,
}

impl SettingsError {
    /// All problems.
    #[must_use]
    pub fn problems(&self) -> &[SettingProblem] {
        &self.problems
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_lines(f, &self.problems)
    }
}

impl std::error::Error for SettingsError {}

/// Writes problems, each on lines of its own.
pub(crate) fn write_lines(f: &mut fmt::Formatter<'_>, problems: &[impl fmt::Display]) -> fmt::Result {
    problems.iter().enumerate().try_for_each(|(index, problem)| {
        f.write_str(if index == 0 { "" } else { "\n" })?;
        problem.fmt(f)
    })
}

impl Settings {
    /// Settings with defaults.
    ///
    /// ```
    /// use framegate::{
    ///     names::{IngesterName, StreamName},
    ///     settings::{Control, IngesterSettings, Settings, StreamSettings},
    /// };
    ///
    /// let stream = StreamSettings::new(StreamName::new("camera")?, "counter", serde_json::json!({ "events": 3 }));
    /// let mut ingester = IngesterSettings::new(IngesterName::new("one")?, "localhost", 0, vec![stream]);
    /// ingester.memory_limit = 512 << 20;
    /// let settings = Settings::new(Control::Program, vec![ingester]);
    /// settings.validate()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn new(control: Control, ingesters: Vec<IngesterSettings>) -> Self {
        Self::defaults(control, ingesters, false)
    }

    /// Time limit for creating a source: its own time, and the same again for probing it first.
    pub(crate) fn creation_timeout(&self) -> Duration {
        let is_apart = self.ingesters.iter().flat_map(|ingester| &ingester.streams).any(|one| one.isolate.is_some());
        // A process that does not answer is killed first.
        let kills = if is_apart { Duration::from_secs(2) } else { Duration::ZERO };
        self.source_timeout * if self.probe.is_some() { 2 } else { 1 } + kills
    }

    /// Reads the text of a configuration file. Accesses nothing else: neither the environment nor files.
    ///
    /// ```
    /// use framegate::settings::{Control, Settings};
    ///
    /// let text = r#"ingester = [{ stream = [{ name = "camera", source = "counter" }] }]"#;
    /// let mut settings = Settings::from_toml(text)?;
    /// settings.control = Control::Program; // without `[standalone]` a file means Redis
    /// settings.ingesters[0].port = 0; // any free port
    ///
    /// let error = Settings::from_toml("standalone.scans = 'two'").unwrap_err();
    /// println!("{error}"); // all problems, each with its line
    /// # Ok::<(), framegate::settings::SettingsError>(())
    /// ```
    ///
    /// # Errors
    /// All problems at once, each with its line.
    pub fn from_toml(text: &str) -> Result<Self, SettingsError> {
        let table = given::parse(text, None).map_err(|problems| SettingsError { problems })?;
        match check::check(&table, problems::Problems::default()) {
            Ok(checked) => Ok(checked.settings),
            Err(wrong) => Err(SettingsError { problems: wrong.problems }),
        }
    }
}

/// Who may swap sources through the admin endpoint: a swap makes this process load a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
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
#[non_exhaustive]
pub enum Control {
    /// A dranspose controller, through Redis.
    Redis(RedisSettings),
    /// No controller: scans follow each other, and events are sent to connected workers.
    Standalone(Standalone),
    /// The program that embeds the host: it begins scans with [`Host::scan`](crate::Host::scan). No file can say this.
    Program,
}

/// The least serious level that a program logs, with the names of LOG_LEVEL (dranspose 0.2.0, `cli.py`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
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

const LOG_LEVELS: [(&str, LogLevel); 4] =
    [("DEBUG", LogLevel::Debug), ("INFO", LogLevel::Info), ("WARNING", LogLevel::Warning), ("ERROR", LogLevel::Error)];
