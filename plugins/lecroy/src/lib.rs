//! Source plugin for LeCroy oscilloscopes over ZeroMQ PUB: each trace of a sequence is a message of its own, and all
//! messages of a sequence form one event.
//!
//! The same crate is a loadable plugin (`cdylib`) and a source that a program embedding the host can link (`rlib`).
//! [`messages`] has the protocol, [`run`] builds sequences from messages; `framegate-zmq-source` connects and receives.
#![forbid(unsafe_code)]

pub mod messages;
pub mod run;
#[cfg(test)]
mod tests;

use framegate_plugin_api::{HostContext, Source, SourceError, export_source};
use framegate_zmq_source::{Bytes, Pattern, Upstream, ZmqRun, ZmqSettings};
use serde::Deserialize;

use crate::run::LecroyAssembler;

/// One oscilloscope. Each scan makes a new connection.
#[derive(Debug)]
pub struct Lecroy {
    upstream: Upstream,
    max_sequence: u64,
}

/// The settings that all ZeroMQ sources share, and one limit.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LecroySettings {
    /// Where the oscilloscope's service is, and how to connect to it.
    #[serde(flatten)]
    pub zmq: ZmqSettings,

    /// A sequence is kept until its last message arrives; a sequence with more bytes than this is dropped and counted.
    /// Each part counts for at least 64 bytes.
    #[serde(default = "max_sequence")]
    pub max_sequence: Bytes,
}

impl Source for Lecroy {
    type Settings = LecroySettings;
    type Run = ZmqRun<LecroyAssembler>;

    const PROTOCOL: &'static str = "lecroy";

    fn create(settings: LecroySettings, host: HostContext) -> Result<Self, SourceError> {
        settings.zmq.one_address()?;
        let max_sequence = settings.max_sequence.0;
        Ok(Self { upstream: Upstream::new(settings.zmq, Pattern::SubscribeAll, host)?, max_sequence })
    }

    fn open(&mut self) -> Result<Self::Run, SourceError> {
        self.upstream.open(LecroyAssembler::new(self.max_sequence))
    }
}

/// Real sequences have 3 MiB (two channels, 20 triggers). This memory is not part of the host's `memory_limit`.
fn max_sequence() -> Bytes {
    Bytes(256 << 20)
}

export_source!(Lecroy);
