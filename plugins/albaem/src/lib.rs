//! Source plugin for ALBA Em# electrometers: a JSON message for each sample, over ZeroMQ PUB.
//!
//! The same crate is a plugin to load (`cdylib`) and a source to link into a program that embeds the host (`rlib`). The
//! protocol is in [`messages`], what it means for a run in [`run`]; connecting and receiving are in `framegate-zmq-source`.
#![forbid(unsafe_code)]

pub mod messages;
pub mod run;
#[cfg(test)]
mod tests;

use framegate_plugin_api::{HostContext, Source, SourceError, export_source};
use framegate_zmq_source::{Pattern, PerMessage, Upstream, ZmqRun, ZmqSettings};

use crate::run::AlbaemProtocol;

/// One electrometer, connected anew for each scan.
#[derive(Debug)]
pub struct Albaem {
    upstream: Upstream,
}

impl Source for Albaem {
    /// `upstream_url`, and what all ZeroMQ sources have.
    type Settings = ZmqSettings;
    type Run = ZmqRun<PerMessage<AlbaemProtocol>>;

    const PROTOCOL: &'static str = "albaem";

    fn create(settings: ZmqSettings, host: HostContext) -> Result<Self, SourceError> {
        Ok(Self { upstream: Upstream::new(settings, Pattern::SubscribeAll, host)? })
    }

    fn open(&mut self) -> Result<Self::Run, SourceError> {
        self.upstream.open(PerMessage::default())
    }
}

export_source!(Albaem);
