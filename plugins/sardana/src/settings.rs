//! The settings, with the reasons for their defaults.

use std::time::Duration;

use framegate_source_kit::{Bytes, Millis};
use serde::Deserialize;

/// Where to listen, and the limits.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SardanaSettings {
    /// The address or name of this machine to listen on; `*` for all of IPv4 and IPv6.
    #[serde(default = "host")]
    pub host: String,

    /// The port; 0 for any free port.
    #[serde(default = "port")]
    pub port: u16,

    /// Posts with a longer body are refused (413).
    #[serde(default = "max_body")]
    pub max_body: Bytes,

    /// Further connections wait until others are closed.
    #[serde(default = "max_connections")]
    pub max_connections: usize,

    /// A connection without requests is closed after this time.
    #[serde(default = "idle_timeout")]
    pub idle_timeout: Millis,

    /// A body that takes longer than this is refused (408).
    #[serde(default = "body_timeout")]
    pub body_timeout: Millis,

    /// How many bytes may wait for the reader; above this, answers to posts are delayed.
    #[serde(default = "queue_limit")]
    pub queue_limit: Bytes,
}

/// Every client that reaches the port can add data to the stream, so only this machine is allowed by default.
/// `framegate http_ingester` listens as dranspose's does.
fn host() -> String {
    "127.0.0.1".to_owned()
}

/// The port of dranspose's `http_ingester`.
fn port() -> u16 {
    5000
}

/// Real descriptions have a few kilobytes; some scans record a thousand counters.
fn max_body() -> Bytes {
    Bytes(16 << 20)
}

/// Sardana uses one, or one for each post.
fn max_connections() -> usize {
    256
}

/// Longer than the pause between points in most scans.
fn idle_timeout() -> Millis {
    Millis(Duration::from_secs(60))
}

/// Several times longer than the largest body takes on a slow network.
fn body_timeout() -> Millis {
    Millis(Duration::from_secs(30))
}

/// Some ten thousand records. This memory is not part of the host's `memory_limit`.
fn queue_limit() -> Bytes {
    Bytes(16 << 20)
}
