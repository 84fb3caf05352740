//! A source in a process of its own: its file is found and inspected here, and loaded there.
//!
//! Runs on the reader thread, except where it says otherwise. The crate `framegate-isolation` starts the child and speaks
//! with it.

use std::{
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::net::UnixStream,
    },
    process::Command,
    sync::{Arc, OnceLock},
    time::Duration,
};

use framegate_isolation::{Apart, Launch};
use framegate_plugin_api::{HostServices, LogLevel};
use serde_json::Value;

use super::{Fault, Ledger, NotCreated, Traits, instance::Instance};
use crate::{
    budget::COPY_BELOW,
    names::PluginReference,
    plugin::{self, Refusal, SourceIdentity, Trust, serve},
    settings::{Isolation, Settings, StreamSettings},
};

/// See the module.
#[derive(Debug)]
pub(super) struct ApartCode {
    identity: SourceIdentity,
    isolation: Isolation,
    limit: Duration,
    traits: OnceLock<Traits>,
}

impl ApartCode {
    /// Finds and inspects the file of a stream's source; runs no code of it. `from_outside`: see [`Trust`]. [any thread]
    pub(super) fn find(
        stream: &StreamSettings,
        isolation: &Isolation,
        settings: &Settings,
        from_outside: bool,
    ) -> Result<Self, Refusal> {
        let reference = PluginReference::parse(&stream.source);
        let trust = Trust { allow_writable: settings.allow_writable_plugins, from_outside, pin: reference.pin };
        let inspected = plugin::inspect(&plugin::find(&reference, &settings.plugin_dirs)?, trust)?;
        Ok(Self {
            identity: inspected.identity(),
            isolation: isolation.clone(),
            limit: settings.source_timeout,
            traits: OnceLock::new(),
        })
    }

    /// Starts a child, and creates the source there. A replacement instance counts its frames in the ledger of the
    /// instance before it.
    pub(super) fn create(
        &self,
        stream: &str,
        settings: &Value,
        services: Arc<dyn HostServices>,
        ledger: Option<&'static Ledger>,
    ) -> Result<Instance, NotCreated> {
        let mut apart = self.start(services, ledger)?;
        apart.create(stream, settings.clone())?;
        Ok(Instance::apart(apart))
    }

    /// The properties of the source. The first time a child is started for them, which creates no source.
    pub(super) fn traits(&self) -> Result<Traits, NotCreated> {
        if let Some(traits) = self.traits.get() {
            return Ok(*traits);
        }
        let never = UnixStream::pair().map_err(|problem| Fault::Source(problem.into()))?;
        let apart = self.start(Arc::new(Nobody(never)), None)?;
        Ok(self.learn(&apart))
    }

    fn start(&self, services: Arc<dyn HostServices>, ledger: Option<&'static Ledger>) -> Result<Apart, NotCreated> {
        let mut command = Command::new(&self.isolation.program);
        command.args(serve::arguments(&self.identity, &self.isolation));
        let launch = Launch { limit: self.limit, shared_memory: self.isolation.shared_memory, copy_below: COPY_BELOW };
        // Lives for ever, as for a plugin in this process: status reads it.
        let ledger = ledger.unwrap_or_else(|| Box::leak(Box::default()));
        let apart = Apart::start(&mut command, launch, services, ledger)?;
        self.learn(&apart);
        Ok(apart)
    }

    fn learn(&self, apart: &Apart) -> Traits {
        let hello = apart.hello();
        *self.traits.get_or_init(|| Traits { exclusive: hello.exclusive, on_demand: hello.on_demand })
    }

    /// The identity of the code. [any thread]
    pub(super) fn identity(&self) -> SourceIdentity {
        self.identity.clone()
    }
}

/// For a child that creates no source.
struct Nobody((UnixStream, UnixStream));

impl HostServices for Nobody {
    fn log(&self, _: LogLevel, _: &str) {}
    fn stop_requested(&self) -> bool {
        false
    }
    fn stop_descriptor(&self) -> BorrowedFd<'_> {
        self.0.0.as_fd()
    }
}
