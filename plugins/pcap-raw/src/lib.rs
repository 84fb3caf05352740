//! Source plugin for PandABox position capture over its own TCP data port: one line of numbers is one event.
//!
//! The same crate is a loadable plugin (`cdylib`) and a source that a program embedding the host can link (`rlib`).
//! [`messages`] has the protocol, [`run`] maps lines to the states of a run, `lines` splits the byte stream into lines,
//! `link` connects.
#![forbid(unsafe_code)]

mod lines;
mod link;
pub mod messages;
pub mod run;
mod settings;
pub mod testing;
#[cfg(test)]
mod tests;

use std::rc::Rc;

use framegate_plugin_api::{Deadline, HostContext, LogLevel, Source, SourceError, export_source};
use framegate_source_kit::{Reactor, Runs};
use tokio::runtime;

pub use crate::settings::PcapRawSettings;
use crate::{link::Link, run::PcapRawRun};

/// One PandABox. Each scan makes a new connection.
#[derive(Debug)]
pub struct PcapRaw {
    settings: Rc<PcapRawSettings>,
    /// Waits for the network on the reader thread, inside the host's calls. Dropping it waits for a pending name
    /// lookup.
    reactor: Rc<Reactor>,
    runs: Runs,
    host: HostContext,
}

impl Source for PcapRaw {
    type Settings = PcapRawSettings;
    type Run = PcapRawRun;

    const PROTOCOL: &'static str = "pcap-raw";

    fn create(settings: PcapRawSettings, host: HostContext) -> Result<Self, SourceError> {
        let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build().map_err(|error| {
            SourceError::internal(format!("the machine refuses what waiting for a socket needs: {error}"))
        })?;
        let reactor = Rc::new(Reactor::new(runtime, &host)?);
        Ok(Self { settings: Rc::new(settings), reactor, runs: Runs::default(), host })
    }

    fn open(&mut self) -> Result<PcapRawRun, SourceError> {
        let mut link = Link::new(self.settings.clone(), self.host.clone());
        let connected = self.reactor.wait(link.ready(), Deadline::after(self.settings.connect_wait.0));
        if connected.is_none() {
            let url = &self.settings.upstream_url;
            self.host.log(LogLevel::Info, format!("waiting for the detector at {url} (nothing answers there yet)"));
        }
        Ok(PcapRawRun::new(link, &self.settings, &self.runs, self.reactor.clone(), self.host.clone()))
    }
}

export_source!(PcapRaw);
