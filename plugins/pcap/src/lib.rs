//! Source plugin for PandABox position capture over ZeroMQ PUB, as the *pcap-zmq* service publishes it: one message carries
//! many samples, and each sample is an event.
//!
//! The same crate is a loadable plugin (`cdylib`) and a source that a program embedding the host can link (`rlib`).
//! [`messages`] has the protocol, [`split`] splits a message into samples, [`run`] maps messages to the states of a
//! run. `framegate-zmq-source` connects and receives; `framegate-source-kit` reads and writes Python's JSON.
#![forbid(unsafe_code)]

pub mod messages;
pub mod run;
pub mod split;
#[cfg(test)]
mod tests;

use framegate_plugin_api::{HostContext, Source, SourceError, export_source};
use framegate_zmq_source::{Bytes, Pattern, Upstream, ZmqRun, ZmqSettings};
use serde::Deserialize;

use crate::run::PcapAssembler;

/// One detector. Each scan makes a new connection.
#[derive(Debug)]
pub struct Pcap {
    upstream: Upstream,
    max_split: u64,
}

/// The settings that all ZeroMQ sources share, and one limit.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PcapSettings {
    /// Where the detector is, and how to connect to it.
    #[serde(flatten)]
    pub zmq: ZmqSettings,

    /// A message whose samples have more bytes than this in total is skipped and counted: each sample repeats every
    /// field that is not a list, so the samples can be many times larger than the message.
    #[serde(default = "max_split")]
    pub max_split: Bytes,
}

impl Source for Pcap {
    type Settings = PcapSettings;
    type Run = ZmqRun<PcapAssembler>;

    const PROTOCOL: &'static str = "pcap";

    fn create(settings: PcapSettings, host: HostContext) -> Result<Self, SourceError> {
        let max_split = settings.max_split.0;
        Ok(Self { upstream: Upstream::new(settings.zmq, Pattern::SubscribeAll, host)?, max_split })
    }

    fn open(&mut self) -> Result<Self::Run, SourceError> {
        self.upstream.open(PcapAssembler::new(self.max_split))
    }
}

/// Samples of a real message have 4 KiB in total; they are made one by one and are never in memory together.
fn max_split() -> Bytes {
    Bytes(1 << 30)
}

export_source!(Pcap);
