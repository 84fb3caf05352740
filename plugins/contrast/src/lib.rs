//! Source plugin for Contrast, the acquisition program of MAX IV's NanoMAX: a pickled dictionary for each step of a
//! scan, over ZeroMQ PUB.
//!
//! The same crate is a loadable plugin (`cdylib`) and a source that a program embedding the host can link (`rlib`).
//! [`messages`] has the protocol, [`run`] maps messages to the states of a run; `framegate-zmq-source` connects and
//! receives. [`pickle`] reads pickles without executing anything.
#![forbid(unsafe_code)]

pub mod messages;
pub mod pickle;
pub mod run;
#[cfg(test)]
mod tests;

use framegate_plugin_api::{HostContext, Source, SourceError, export_source};
use framegate_zmq_source::{Pattern, Upstream, ZmqRun, ZmqSettings};

use crate::run::ContrastRun;

/// One publisher. Each scan makes a new connection.
#[derive(Debug)]
pub struct Contrast {
    upstream: Upstream,
}

impl Source for Contrast {
    /// `upstream_url` and the settings that all ZeroMQ sources share.
    type Settings = ZmqSettings;
    type Run = ZmqRun<ContrastRun>;

    const PROTOCOL: &'static str = "contrast";

    fn create(settings: ZmqSettings, host: HostContext) -> Result<Self, SourceError> {
        Ok(Self { upstream: Upstream::new(settings, Pattern::SubscribeAll, host)? })
    }

    fn open(&mut self) -> Result<Self::Run, SourceError> {
        self.upstream.open(ContrastRun::default())
    }
}

export_source!(Contrast);
