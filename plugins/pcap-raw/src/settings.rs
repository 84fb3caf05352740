//! The settings, checked when they are read.
//!
//! Pure: no name lookups, no connections.

use std::time::Duration;

use framegate_plugin_api::Address;
use framegate_source_kit::{Bytes, Millis};
use serde::Deserialize;

/// Where the PandABox is, and the time limits.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PcapRawSettings {
    /// The data port: `tcp://host:port`. Required.
    pub upstream_url: Address,

    /// How long opening a run waits for the connection; after that it continues in the background.
    #[serde(default = "connect_wait")]
    pub connect_wait: Millis,

    /// Time limit for the connection, and again for the answer to the greeting; then framegate tries again.
    #[serde(default = "handshake_timeout")]
    pub handshake_timeout: Millis,

    /// How long framegate waits before reconnecting to a server that closed the connection between two arms. If the
    /// connection breaks elsewhere, it reconnects at once.
    #[serde(default = "pause_after_end")]
    pub pause_after_end: Millis,

    /// A longer line gives no event and is counted.
    #[serde(default = "max_line")]
    pub max_line: Bytes,

    /// An arm with a longer header gives no events and is counted.
    #[serde(default = "max_header")]
    pub max_header: Bytes,
}

/// Connecting in a LAN takes a millisecond; an absent PandABox delays the start of a scan by this time.
fn connect_wait() -> Millis {
    Millis(Duration::from_millis(250))
}

/// A PandABox answers at once, even while it captures.
fn handshake_timeout() -> Millis {
    Millis(Duration::from_secs(2))
}

/// A server that closes after a complete arm has nothing more, for example a simulator; a PandABox takes longer than
/// this to restart.
fn pause_after_end() -> Millis {
    Millis(Duration::from_secs(10))
}

/// Real lines have some 100 bytes.
fn max_line() -> Bytes {
    Bytes(64 << 10)
}

/// Real headers have a few kilobytes, a line for each captured field.
fn max_header() -> Bytes {
    Bytes(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_defaults_and_refuse_what_they_do_not_know() {
        let settings: PcapRawSettings =
            serde_json::from_str(r#"{"upstream_url": "tcp://h:1", "max_line": "1 KiB"}"#).unwrap();
        assert_eq!((settings.max_line.0, settings.max_header.0), (1024, 1 << 20));
        assert_eq!(settings.handshake_timeout.0, Duration::from_secs(2));
        for (text, says) in [
            ("{}", "upstream_url"),
            (r#"{"upstream_url": "tcp://h"}"#, "tcp://HOST:PORT"),
            (r#"{"upstream_url": "tcp://*:1"}"#, "`*` is not a machine to connect to"),
            (r#"{"upstream_url": "tcp://h:1", "max_lines": 5}"#, "max_line"),
            (r#"{"upstream_url": "tcp://h:1", "max_line": 0}"#, "at least 1"),
        ] {
            let error = serde_json::from_str::<PcapRawSettings>(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
