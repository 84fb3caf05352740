//! Source plugin for PandABox position capture over ZeroMQ PUB, as the *pcap-zmq* service publishes it: one message carries
//! many samples, and each sample is an event.
//!
//! The same crate is a plugin to load (`cdylib`) and a source to link into a program that embeds the host (`rlib`). The
//! protocol is in [`messages`], taking a message apart in [`split`], what it means for a run in [`run`]; connecting and
//! receiving are in `framegate-zmq-source`, reading and writing Python's JSON in `framegate-source-kit`.
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

/// One detector, connected anew for each scan.
#[derive(Debug)]
pub struct Pcap {
    upstream: Upstream,
    max_split: u64,
}

/// What all ZeroMQ sources have, and one limit.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PcapSettings {
    /// Where the detector is, and how to listen to it.
    #[serde(flatten)]
    pub zmq: ZmqSettings,

    /// A message whose samples would have more bytes than this in all is skipped and counted: each sample repeats what is not
    /// a list, so a message can be worth many times its own size.
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

/// Real messages are worth 4 KiB; the samples are made one after the other and never lie in memory together.
fn max_split() -> Bytes {
    Bytes(1 << 30)
}

export_source!(Pcap);
