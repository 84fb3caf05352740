//! Source plugin for Xspress3 detectors: JSON headers, histograms and pickled metadata, over ZeroMQ PUB.
//!
//! The same crate is a loadable plugin (`cdylib`) and a source that a program embedding the host can link (`rlib`).
//! [`messages`] has the protocol, [`run`] builds events from messages; `framegate-zmq-source` connects and receives.
#![forbid(unsafe_code)]

pub mod messages;
pub mod run;
#[cfg(test)]
mod tests;

use framegate_plugin_api::{HostContext, Source, SourceError, export_source};
use framegate_zmq_source::{Bytes, Pattern, Upstream, ZmqRun, ZmqSettings};
use serde::Deserialize;

use crate::run::{Limits, XspressRun};

/// One detector. Each scan makes a new connection.
#[derive(Debug)]
pub struct Xspress {
    upstream: Upstream,
    limits: Limits,
}

/// `upstream_url`, the settings that all ZeroMQ sources share, and a limit for images that arrive in three messages.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct XspressSettings {
    /// A longer image in three messages is dropped and counted.
    #[serde(default = "max_image")]
    pub max_image: Bytes,

    /// Where the detector is, and how to connect to it.
    #[serde(flatten)]
    pub zmq: ZmqSettings,
}

impl Source for Xspress {
    type Settings = XspressSettings;
    type Run = ZmqRun<XspressRun>;

    const PROTOCOL: &'static str = "xspress";

    fn create(settings: XspressSettings, host: HostContext) -> Result<Self, SourceError> {
        let XspressSettings { max_image, mut zmq } = settings;
        zmq.one_address()?;
        let limits = Limits { json: length(zmq.max_header), image: length(max_image) };
        // The array of an image may be the first part of its own message; `max_header` limits only JSON.
        zmq.max_header = Bytes(zmq.max_header.0.max(max_image.0));
        Ok(Self { upstream: Upstream::new(zmq, Pattern::SubscribeAll, host)?, limits })
    }

    fn open(&mut self) -> Result<Self::Run, SourceError> {
        self.upstream.open(XspressRun::new(self.limits))
    }
}

export_source!(Xspress);

fn length(bytes: Bytes) -> usize {
    usize::try_from(bytes.0).unwrap_or(usize::MAX)
}

/// Real images have some 64 KiB: a histogram of 4096 bins for each of a few channels.
fn max_image() -> Bytes {
    Bytes(256 << 20)
}
