//! The settings, checked when they are read.
//!
//! Pure: asks no name server and connects to nothing.

use std::{fmt, time::Duration};

use framegate_source_kit::{Bytes, Millis};
use serde::{Deserialize, Deserializer, de};

/// Where the PandABox is, and how long to wait for what.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PcapRawSettings {
    /// The data port: `tcp://host:port`. Required.
    pub upstream_url: TcpAddress,

    /// How long opening a run waits for the connection before it goes on connecting in the background.
    #[serde(default = "connect_wait")]
    pub connect_wait: Millis,

    /// Within this time the connection must be made, and within as much again the greeting be answered; then another is tried.
    #[serde(default = "handshake_timeout")]
    pub handshake_timeout: Millis,

    /// How long framegate stays away from a server that closed the connection between two arms. One that breaks off elsewhere is asked
    /// again at once.
    #[serde(default = "pause_after_end")]
    pub pause_after_end: Millis,

    /// A longer line gives no event and is counted.
    #[serde(default = "max_line")]
    pub max_line: Bytes,

    /// An arm with a longer header gives no events and is counted.
    #[serde(default = "max_header")]
    pub max_header: Bytes,
}

/// A checked TCP address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpAddress {
    host: String,
    port: u16,
}

impl TcpAddress {
    /// Checks the form of an address.
    ///
    /// # Errors
    /// What is wrong with it, and an example of a right one.
    pub fn parse(url: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("{url:?}: {what}; expected tcp://HOST:PORT");
        let address = url.strip_prefix("tcp://").ok_or_else(|| wrong("unknown scheme"))?;
        let (host, port) =
            address.trim_end_matches('/').rsplit_once(':').ok_or_else(|| wrong("the port is missing"))?;
        let inside = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let odd = |c: char| c.is_whitespace() || c.is_control() || "/@[]?#".contains(c);
        let name = inside.unwrap_or(host);
        if name.is_empty() || name.contains(odd) || (inside.is_none() && name.contains(':')) {
            return Err(wrong("the host is missing or malformed"));
        }
        match port.parse() {
            Ok(port @ 1..) if !url.contains('+') => Ok(Self { host: name.to_owned(), port }),
            _ => Err(wrong("the port must be 1 to 65535")),
        }
    }

    /// Host and port, for those who resolve them.
    pub(crate) fn parts(&self) -> (&str, u16) {
        (&self.host, self.port)
    }
}

impl fmt::Display for TcpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "tcp://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "tcp://{}:{}", self.host, self.port)
        }
    }
}

impl<'de> Deserialize<'de> for TcpAddress {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(from)?).map_err(de::Error::custom)
    }
}

/// A LAN's connection takes a millisecond; an absent PandABox delays the start of a scan by this much.
fn connect_wait() -> Millis {
    Millis(Duration::from_millis(250))
}

/// A PandABox answers at once, also when it is busy capturing.
fn handshake_timeout() -> Millis {
    Millis(Duration::from_secs(2))
}

/// A server that closes after a whole arm has nothing more, as simulators do; a PandABox that restarts takes longer than this.
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
    fn addresses_are_checked_by_their_form() {
        for (url, same) in [
            ("tcp://localhost:8889", "tcp://localhost:8889"),
            ("tcp://10.0.0.1:1/", "tcp://10.0.0.1:1"),
            ("tcp://[::1]:65535", "tcp://[::1]:65535"),
        ] {
            assert_eq!(TcpAddress::parse(url).unwrap().to_string(), same);
        }
        for url in [
            "",
            "localhost:1",
            "http://h:1",
            "tcp://",
            "tcp://h",
            "tcp://:1",
            "tcp://h:0",
            "tcp://h:65536",
            "tcp://h:+1",
            "tcp://h:x",
            "tcp://::1:5",
            "tcp://[]:1",
            "tcp://a b:1",
            "tcp://u@h:1",
            "tcp://h/x:1",
            "tcp://h\0:1",
        ] {
            assert!(TcpAddress::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn settings_have_defaults_and_refuse_what_they_do_not_know() {
        let settings: PcapRawSettings =
            serde_json::from_str(r#"{"upstream_url": "tcp://h:1", "max_line": "1 KiB"}"#).unwrap();
        assert_eq!((settings.max_line.0, settings.max_header.0), (1024, 1 << 20));
        assert_eq!(settings.handshake_timeout.0, Duration::from_secs(2));
        for (text, says) in [
            ("{}", "upstream_url"),
            (r#"{"upstream_url": "tcp://h"}"#, "tcp://HOST:PORT"),
            (r#"{"upstream_url": "tcp://h:1", "max_lines": 5}"#, "max_line"),
            (r#"{"upstream_url": "tcp://h:1", "max_line": 0}"#, "at least 1"),
        ] {
            let error = serde_json::from_str::<PcapRawSettings>(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
