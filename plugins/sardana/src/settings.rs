//! The settings, with their defaults and why.

use std::time::Duration;

use framegate_source_kit::{Bytes, Millis};
use serde::Deserialize;

/// Where to listen, and how much to take.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SardanaSettings {
    /// The address or name of this machine on which to listen; `*` for all of IPv4 and IPv6.
    #[serde(default = "host")]
    pub host: String,

    /// The port; 0 for any that is free.
    #[serde(default = "port")]
    pub port: u16,

    /// Posts with a longer body are refused (413).
    #[serde(default = "max_body")]
    pub max_body: Bytes,

    /// More connections wait until others are closed.
    #[serde(default = "max_connections")]
    pub max_connections: usize,

    /// A connection on which nothing was asked for so long is closed.
    #[serde(default = "idle_timeout")]
    pub idle_timeout: Millis,

    /// A body that does not come within this time is refused (408).
    #[serde(default = "body_timeout")]
    pub body_timeout: Millis,

    /// How many bytes may wait for the reader; then posts are answered late.
    #[serde(default = "queue_limit")]
    pub queue_limit: Bytes,
}

/// Whoever reaches the port can feed the stream, so others than this machine are asked for by name. `framegate http_ingester` does, as dranspose's.
fn host() -> String {
    "127.0.0.1".to_owned()
}

/// As dranspose's `http_ingester`.
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

/// Longer than the pauses between the points of most scans.
fn idle_timeout() -> Millis {
    Millis(Duration::from_secs(60))
}

/// Several times what the largest body takes on a slow network.
fn body_timeout() -> Millis {
    Millis(Duration::from_secs(30))
}

/// Some ten thousand records; it stands beside the host's `memory_limit`.
fn queue_limit() -> Bytes {
    Bytes(16 << 20)
}
