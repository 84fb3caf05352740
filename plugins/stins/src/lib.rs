//! Source plugin for detectors that speak STINS: JSON headers and image bytes over ZeroMQ PUSH.
//!
//! The same crate is a loadable plugin (`cdylib`) and a source that a program embedding the host can link (`rlib`).
//! [`messages`] has the protocol, [`run`] maps messages to the states of a run; `framegate-zmq-source` connects and
//! receives.
#![forbid(unsafe_code)]

pub mod messages;
pub mod run;
#[cfg(test)]
mod tests;

use framegate_plugin_api::{HostContext, Source, SourceError, export_source};
use framegate_zmq_source::{Pattern, PerMessage, Upstream, ZmqRun, ZmqSettings};

use crate::run::StinsProtocol;

/// One detector. Each scan makes a new connection.
#[derive(Debug)]
pub struct Stins {
    upstream: Upstream,
}

impl Source for Stins {
    /// `upstream_url` and the settings that all ZeroMQ sources share.
    type Settings = ZmqSettings;
    type Run = ZmqRun<PerMessage<StinsProtocol>>;

    const PROTOCOL: &'static str = "stins";

    fn create(settings: ZmqSettings, host: HostContext) -> Result<Self, SourceError> {
        Ok(Self { upstream: Upstream::new(settings, Pattern::Pull, host)? })
    }

    fn open(&mut self) -> Result<Self::Run, SourceError> {
        self.upstream.open(PerMessage::default())
    }
}

export_source!(Stins);
