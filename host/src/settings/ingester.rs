//! One ingester: a name, a port, its streams, its limits.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use super::{
    AllowedWorkers, StreamSettings,
    keys::{Key, key, settings},
    read::{MILLISECOND, YEAR, bind, one_of, path, size, some, time, time_or_off, workers},
};
use crate::names::IngesterName;

settings! {
    /// One ingester: a name, a port, its streams.
    #[derive(Debug, Clone, PartialEq)]
    pub struct IngesterSettings {
        /// Its name, unique in this host.
        pub name: IngesterName,
        /// The host in `tcp://host:port`, which workers connect to.
        pub host: String,
        /// The port that is bound. 0, which no file can say: any free one; [`Host::urls`](crate::Host::urls) has it then.
        pub port: u16,
        /// Its streams.
        pub streams: Vec<StreamSettings>,
    }
    keys {
        key("name").variables(&["INGESTER_NAME"]).example(r#""detectors-ingester""#)
            .otherwise("its streams joined by `_`, then `-ingester`")
            .about(&["The name of the ingester, unique at the controller."]);
        URL.about(&["The address that workers connect to; its port is bound."]);
        key("bind").variables(&["FRAMEGATE_BIND"]) =>
            /// The address of this machine on which the port is bound. "*" means all, IPv4 and IPv6; another example is
            /// "127.0.0.1".
            bind: Option<IpAddr>, bind, default r#""*""#;
        key("workers").variables(&["FRAMEGATE_WORKERS"]) =>
            /// Names of the allowed workers, such as ["daq-*", "w1"]. "*" stands for any text; in the variable, names are
            /// separated by commas.
            workers: AllowedWorkers, workers, default r#"["*"]"#;
        key("memory_limit") =>
            /// Maximum number of bytes in memory: half for events, half for messages. The streams of a scan have equal
            /// shares of the half for events.
            memory_limit: u64, size, default r#""1 GiB""#;
        key("worker_timeout") =>
            /// A worker that is not connected for so long loses its messages.
            worker_timeout: Duration, time(MILLISECOND, YEAR), default r#""10 s""#;
        key("stall_timeout") =>
            /// A worker that pings, but reads nothing for so long, loses its messages. "30 s" by default in standalone.
            stall_timeout: Option<Duration>, time_or_off, default r#""off""#;
        key("dump_path").variables(&["DUMP_PATH"]).example(r#""/data/capture.cbors""#) =>
            /// The file that every event of every scan is captured to.
            dump_path: Option<PathBuf>, some(path), otherwise "what the parameter `dump_prefix` says";
        key("capture_limit") =>
            /// Maximum number of bytes in memory that wait for the disk.
            capture_limit: u64, size, default r#""256 MiB""#;
        key("capture_when_full") =>
            /// When the disk is too slow: "thin" leaves out events and counts them, "close" ends the capture, "block" makes
            /// the workers wait.
            capture_when_full: CaptureWhenFull, one_of(&CAPTURE_WHEN_FULL), default r#""thin""#;
        key("stream").about(&["One stream of the ingester, and its source."]);
    }
}

/// Read by hand into `host` and `port`. The default is that of dranspose 0.2.0, `ingester.py`.
pub(super) const URL: Key = key("url").variables(&["INGESTER_URL"]).default(r#""tcp://localhost:10000""#);

impl IngesterSettings {
    /// An ingester at `tcp://host:port` with defaults; the fields document them.
    #[must_use]
    pub fn new(name: IngesterName, host: &str, port: u16, streams: Vec<StreamSettings>) -> Self {
        Self::defaults(name, host.to_owned(), port, streams)
    }

    /// The address for workers: exactly `tcp://host:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("tcp://{}:{}", self.host, self.port)
    }
}

/// What a capture does when its disk is too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum CaptureWhenFull {
    /// Skip events and count them.
    #[default]
    Thin,
    /// Close the capture, and report it.
    Close,
    /// Pause forwarding.
    Block,
}

const CAPTURE_WHEN_FULL: [(&str, CaptureWhenFull); 3] =
    [("thin", CaptureWhenFull::Thin), ("close", CaptureWhenFull::Close), ("block", CaptureWhenFull::Block)];
