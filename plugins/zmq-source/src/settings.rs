//! The settings that all ZeroMQ sources share, checked when they are read.
//!
//! A protocol without own settings uses [`ZmqSettings`] directly. A protocol with own settings writes
//! `#[serde(flatten)] zmq: ZmqSettings` beside its own fields, and `#[serde(deny_unknown_fields)]` on the struct, which
//! then applies to both.

use std::{num::NonZeroU16, path::PathBuf, time::Duration};

use framegate_plugin_api::SourceError;
use framegate_source_kit::{Bytes, Millis};
use serde::{Deserialize, Deserializer, de};

use crate::endpoint::{Attach, Endpoints};

/// How the detector sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// The detector has a PUSH socket: it waits for the receiver and loses nothing.
    Pull,
    /// The detector has a PUB socket: receives everything it publishes once connected, unless settings name prefixes.
    #[serde(rename = "sub")]
    SubscribeAll,
}

/// Where the detector is, and how to connect to it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZmqSettings {
    /// The detector's address: `tcp://host:port` or `ipc://path`; or a list of several, which are read in turn, for
    /// runs over several connections. Required.
    pub upstream_url: Endpoints,

    /// Whether the source connects to this address, where the detector listens, or binds it, so that the detector
    /// connects.
    #[serde(default)]
    pub attach: Attach,

    /// The detector's socket type; the default depends on the protocol.
    #[serde(default)]
    pub pattern: Option<Pattern>,

    /// With SUB: receive only messages whose first part starts with one of these prefixes. By default all.
    #[serde(default = "subscribe", deserialize_with = "at_least_one")]
    pub subscribe: Vec<String>,

    /// How long opening a run waits for the detector's handshake; after that it continues to connect in the background.
    #[serde(default = "connect_wait")]
    pub connect_wait: Millis,

    /// How long opening a run waits after the handshake so that the subscription reaches the detector: ZeroMQ has no
    /// acknowledgement of it. Only for SUB.
    #[serde(default = "subscribe_settle")]
    pub subscribe_settle: Millis,

    /// What happens between the end of a run and the next scan.
    #[serde(default)]
    pub between_scans: BetweenScans,

    /// Who speaks ZeroMQ's protocol with the detector: `native`, which is this plugin, or `libzmq`.
    #[serde(default)]
    pub transport: Transport,

    /// About how many bytes are kept for the frames to come, in buffers that are used again. With libzmq: how many bytes it
    /// may read ahead, which determines the number of messages it may hold (2 to 1000).
    #[serde(default = "receive_budget")]
    pub receive_budget: Bytes,

    /// With libzmq: how many messages it may read ahead; overrides `receive_budget`.
    #[serde(default)]
    pub receive_high_water_mark: Option<NonZeroU16>,

    /// The detector's public key for CURVE, in Z85. Needs `curve_secret_key_file`, and libzmq with CURVE.
    #[serde(default)]
    pub curve_server_key: Option<String>,

    /// A file that holds our own secret key for CURVE and nothing else, in Z85. Read anew for each run.
    #[serde(default)]
    pub curve_secret_key_file: Option<PathBuf>,

    /// Messages with more parts are skipped and counted.
    #[serde(default = "max_parts")]
    pub max_parts: usize,

    /// Messages of several parts with a longer first part are skipped and counted, because this part has to be parsed.
    /// The only part of a message also has its data, so it may be as long as `max_part`.
    #[serde(default = "max_header")]
    pub max_header: Bytes,

    /// A detector that announces a longer part is disconnected before memory is allocated for it.
    #[serde(default = "max_part")]
    pub max_part: Bytes,

    /// A longer message is skipped and counted. All messages that have not come completely hold at most this together. Not
    /// with libzmq.
    #[serde(default = "max_message")]
    pub max_message: Bytes,
}

/// Who speaks ZeroMQ's protocol with the detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// This plugin itself.
    #[default]
    Native,
    /// libzmq, in a file that is built with the feature `libzmq`.
    Libzmq,
}

/// What happens between the end of a run and the next scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BetweenScans {
    /// Stay connected. Messages are read, dropped and counted, so that a detector that sends between scans neither
    /// blocks nor leaves a stale run for the next scan.
    #[default]
    Stay,
    /// Close the connection; a PUSH detector then keeps its messages for the next scan.
    Disconnect,
}

impl ZmqSettings {
    /// The defaults for an address.
    #[must_use]
    pub fn new(upstream_url: impl Into<Endpoints>) -> Self {
        Self {
            upstream_url: upstream_url.into(),
            attach: Attach::default(),
            pattern: None,
            subscribe: subscribe(),
            connect_wait: connect_wait(),
            subscribe_settle: subscribe_settle(),
            between_scans: BetweenScans::default(),
            transport: Transport::default(),
            receive_budget: receive_budget(),
            receive_high_water_mark: None,
            curve_server_key: None,
            curve_secret_key_file: None,
            max_parts: max_parts(),
            max_header: max_header(),
            max_part: max_part(),
            max_message: max_message(),
        }
    }

    /// For a protocol whose events have several messages: these must come over one connection, because messages of
    /// several are read in turn.
    ///
    /// # Errors
    /// There are several addresses.
    pub fn one_address(&self) -> Result<(), SourceError> {
        match self.upstream_url.as_slice() {
            [_] => Ok(()),
            _ => Err(SourceError::settings(
                "upstream_url: a list is not possible here: the messages of one event must come over one connection",
            )),
        }
    }
}

/// The empty prefix matches everything.
fn subscribe() -> Vec<String> {
    vec![String::new()]
}

fn at_least_one<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let prefixes = Vec::<String>::deserialize(from)?;
    if prefixes.is_empty() {
        Err(de::Error::custom("without a prefix nothing would arrive; \"\" is all"))
    } else {
        Ok(prefixes)
    }
}

/// A LAN's handshake takes 1 to 5 ms; an absent detector delays the start of a scan by this time.
fn connect_wait() -> Millis {
    Millis(Duration::from_millis(250))
}

/// The subscription is the first message after the handshake, on the same connection: a few network round trips.
fn subscribe_settle() -> Millis {
    Millis(Duration::from_millis(10))
}

/// Not part of the host's `memory_limit`, so it is small; 16 frames of 4 MiB still hide the network's latency.
fn receive_budget() -> Bytes {
    Bytes(64 << 20)
}

/// Real detectors send up to 9 parts.
fn max_parts() -> usize {
    1024
}

/// Real headers have a few kilobytes; parsing 16 MiB takes about 20 ms, well inside a call's 100 ms.
fn max_header() -> Bytes {
    Bytes(16 << 20)
}

/// The largest images of today's detectors are some 100 MiB.
fn max_part() -> Bytes {
    Bytes(512 << 20)
}

/// As the host's default `memory_limit`: a larger event would not fit into it.
fn max_message() -> Bytes {
    Bytes(1 << 30)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ZmqSettings, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn quantities_have_units_and_defaults() {
        let settings = read(r#"{"upstream_url": "tcp://h:1"}"#).unwrap();
        assert_eq!(settings.connect_wait.0, Duration::from_millis(250));
        assert_eq!(settings.subscribe_settle.0, Duration::from_millis(10));
        assert_eq!(settings.between_scans, BetweenScans::Stay);
        let settings = read(
            r#"{"upstream_url": "tcp://h:1", "connect_wait": "1 s", "subscribe_settle": 5, "receive_budget": "1 MiB",
                "max_header": 1000, "between_scans": "disconnect"}"#,
        )
        .unwrap();
        assert_eq!(settings.connect_wait.0, Duration::from_secs(1));
        assert_eq!(settings.subscribe_settle.0, Duration::from_millis(5));
        assert_eq!((settings.receive_budget.0, settings.max_header.0), (1 << 20, 1000));
        assert_eq!(settings.between_scans, BetweenScans::Disconnect);
    }

    #[test]
    fn a_wrong_setting_is_refused_with_what_would_be_right() {
        for (text, says) in [
            (r"{}", "upstream_url"),
            (r#"{"upstream_url": "tcp://h"}"#, "tcp://HOST:PORT"),
            (r#"{"upstream_url": "tcp://h:1", "conect_wait": 1}"#, "connect_wait"),
            (r#"{"upstream_url": "tcp://h:1", "connect_wait": "soon"}"#, "250 ms"),
            (r#"{"upstream_url": "tcp://h:1", "connect_wait": "2 h"}"#, "60 s"),
            (r#"{"upstream_url": "tcp://h:1", "receive_budget": 0}"#, "at least 1"),
            (r#"{"upstream_url": "tcp://h:1", "max_parts": -1}"#, "usize"),
            (r#"{"upstream_url": "tcp://h:1", "between_scans": "close"}"#, "disconnect"),
            (r#"{"upstream_url": "tcp://h:1", "pattern": "req"}"#, "`pull` or `sub`"),
            (r#"{"upstream_url": "tcp://h:1", "attach": "listen"}"#, "`connect` or `bind`"),
            (r#"{"upstream_url": "tcp://h:1", "subscribe": []}"#, "nothing would arrive"),
            (r#"{"upstream_url": "tcp://h:1", "receive_high_water_mark": 0}"#, "nonzero"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_protocol_can_have_settings_of_its_own_beside_these() {
        #[derive(Deserialize, Debug)]
        #[serde(deny_unknown_fields)]
        struct Own {
            limit: u32,
            #[serde(flatten)]
            zmq: ZmqSettings,
        }
        let own: Own =
            serde_json::from_str(r#"{"limit": 3, "upstream_url": "tcp://h:1", "connect_wait": "1 s"}"#).unwrap();
        assert_eq!((own.limit, own.zmq.connect_wait.0), (3, Duration::from_secs(1)));
        let error = serde_json::from_str::<Own>(r#"{"limit": 3, "upstream_url": "tcp://h:1", "conect_wait": 1}"#);
        assert!(error.unwrap_err().to_string().contains("conect_wait"));
    }
}
