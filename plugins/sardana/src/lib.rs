//! Source plugin for Sardana scans: Sardana posts its records over HTTP, and each post is an event.
//!
//! The same crate is a loadable plugin (`cdylib`) and a source that a program embedding the host can link (`rlib`).
//! [`messages`] has the protocol, [`run`] maps posts to the states of a run; between them are `server` and `inbox`.
//!
//! ```text
//!   Sardana ── HTTP ──> server (its own threads) ──> inbox (bounded in bytes) ──> run (reader thread) ──> events
//! ```
#![forbid(unsafe_code)]

mod inbox;
mod listen;
pub mod messages;
pub mod run;
mod server;
mod settings;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, rc::Rc, sync::Arc};

use framegate_plugin_api::{HostContext, LogLevel, Source, SourceError, export_source};
use framegate_source_kit::{Reactor, Runs};
use tokio::runtime;

pub use crate::settings::SardanaSettings;
use crate::{inbox::Inbox, run::SardanaRun, server::Server};

/// A port that listens for Sardana's posts, also between scans.
#[derive(Debug)]
pub struct Sardana {
    /// Dropping it closes the port before returning, so that the next source can bind it.
    server: Server,
    inbox: Arc<Inbox>,
    /// Waits for the inbox on the reader thread.
    reactor: Rc<Reactor>,
    runs: Runs,
    host: HostContext,
}

impl Sardana {
    /// The addresses it listens on, one for each address of the host's name.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        self.server.addresses()
    }
}

impl Source for Sardana {
    type Settings = SardanaSettings;
    type Run = SardanaRun;

    const PROTOCOL: &'static str = "sardana";
    const EXCLUSIVE: bool = true;

    fn create(settings: SardanaSettings, host: HostContext) -> Result<Self, SourceError> {
        let inbox = Arc::new(Inbox::new(settings.queue_limit.0));
        let server = Server::start(&settings, inbox.clone(), &host)?;
        let runtime = runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|error| SourceError::internal(format!("the machine refuses what waiting needs: {error}")))?;
        let reactor = Rc::new(Reactor::new(runtime, &host)?);
        Ok(Self { server, inbox, reactor, runs: Runs::default(), host })
    }

    fn open(&mut self) -> Result<SardanaRun, SourceError> {
        let run = SardanaRun::new(self.inbox.clone(), &self.runs, self.reactor.clone(), self.host.clone());
        let early = run.early();
        if early > 0 {
            self.host.log(LogLevel::Info, format!("skipped {early} posts that came while no scan was active"));
        }
        Ok(run)
    }
}

export_source!(Sardana);
