//! Source plugin for Contrast, the acquisition program of MAX IV's NanoMAX: a pickled dictionary for each step of a
//! scan, over ZeroMQ PUB.
//!
//! The same crate is a plugin to load (`cdylib`) and a source to link into a program that embeds the host (`rlib`). The
//! protocol is in [`messages`], what it means for a run in [`run`]; connecting and receiving are in
//! `framegate-zmq-source`. [`pickle`] reads pickles without executing anything.
#![forbid(unsafe_code)]

pub mod messages;
pub mod pickle;
pub mod run;
#[cfg(test)]
mod tests;

use framegate_plugin_api::{HostContext, Source, SourceError, export_source};
use framegate_zmq_source::{Pattern, Upstream, ZmqRun, ZmqSettings};

use crate::run::ContrastRun;

/// One publisher, connected anew for each scan.
#[derive(Debug)]
pub struct Contrast {
    upstream: Upstream,
}

impl Source for Contrast {
    /// `upstream_url`, and what all ZeroMQ sources have.
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
