//! Creates the instances of one source: from a plugin file, or linked into the program.
//!
//! Runs on the reader thread, except where it says otherwise. A linked source takes the same path through the binary
//! interface, without a file, so that a source behaves the same in both cases.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use framegate_plugin_abi::caller::Plugin;
use framegate_plugin_api::{HostServices, Run as _, Source, SourceError, export::Exported};
use serde_json::Value;

use super::{Fault, Ledger, NotCreated, StrayCalls, Traits, instance::Instance};
use crate::{
    names::PluginReference,
    plugin::{
        generation::Generation,
        identity::SourceIdentity,
        inspect::{self, Trust},
        locate,
        open::open,
        probe::{Probe, ProbeOutcome},
        refusal::Refusal,
    },
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Factory {
    identity: SourceIdentity,
    code: Code,
}

#[derive(Debug)]
enum Code {
    /// Compiled into the program.
    Linked { plugin: fn(&'static Ledger) -> Result<Plugin, Fault>, traits: Traits },
    /// In a plugin file.
    File {
        generation: Arc<Generation>,
        /// `None`: not probed before it enters this process.
        probe: Option<Probe>,
        /// Whether it was probed with the requested settings.
        tried_out: AtomicBool,
    },
}

/// The factory of a source that is linked into the program.
pub(crate) fn linked<S: Source>() -> Arc<Factory> {
    let traits = Traits { exclusive: S::EXCLUSIVE, on_demand: S::Run::ON_DEMAND };
    let code = Code::Linked { plugin: Plugin::linked::<Exported<S>>, traits };
    Arc::new(Factory { identity: SourceIdentity::linked(S::PROTOCOL), code })
}

/// The factory of a stream whose source is in a plugin file: a name or a path. Checks the gates that run no code of the file.
pub(crate) fn loaded(
    stream: &str,
    source: &str,
    plugin_dirs: &[PathBuf],
    trust: Trust<'_>,
    max_generations: usize,
    probe: Option<Probe>,
) -> Result<Arc<Factory>, Refusal> {
    let plugin = PluginReference::parse(source);
    let path = locate::find(&plugin, plugin_dirs)?;
    let inspected = inspect::inspect(&path, Trust { pin: plugin.pin, ..trust })?;
    // The same content may come from a different file than the last time.
    let identity = SourceIdentity::loaded(&inspected);
    let generation = Generation::of(stream, inspected, max_generations)?;
    Ok(Arc::new(Factory { identity, code: Code::File { generation, probe, tried_out: AtomicBool::new(false) } }))
}

/// SHA-256 of the file that a name or a path refers to.
pub(crate) fn hash_of(source: &str, plugin_dirs: &[PathBuf]) -> Result<String, Refusal> {
    let path = locate::find(&PluginReference::parse(source), plugin_dirs)?;
    Ok(inspect::sha256(&open(&path)?.read()?))
}

impl Factory {
    /// Creates an instance, on the thread that will run it. A replacement instance counts its frames in the ledger of the
    /// instance before it.
    pub(super) fn create(
        &self,
        stream: &str,
        settings: &Value,
        services: Arc<dyn HostServices>,
        ledger: Option<&'static Ledger>,
    ) -> Result<Instance, NotCreated> {
        let plugin = match &self.code {
            // Lives for ever, as for a plugin file: its frames point to it.
            Code::Linked { plugin, .. } => plugin(ledger.unwrap_or_else(|| Box::leak(Box::default())))?,
            Code::File { generation, tried_out, .. } => {
                // With a ledger there was an instance already. Relaxed: the thread that probes it also creates it.
                if ledger.is_none() && !tried_out.load(Ordering::Relaxed) {
                    self.try_out(stream, settings, false)?;
                }
                let plugin = generation.plugin().map_err(NotCreated::Refused)?;
                plugin.with_ledger(ledger.unwrap_or_else(|| generation.new_ledger()))
            }
        };
        Ok(Instance::new(plugin.create(stream, &settings.to_string(), services)?))
    }

    /// The properties of the source. A plugin is first probed with these settings and loaded, if it is not yet.
    pub(super) fn traits(&self, stream: &str, settings: &Value) -> Result<Traits, NotCreated> {
        match &self.code {
            Code::Linked { traits, .. } => Ok(*traits),
            Code::File { generation, .. } => {
                if !generation.is_loaded() {
                    self.try_out(stream, settings, true)?;
                }
                let plugin = generation.plugin().map_err(NotCreated::Refused)?;
                Ok(Traits { exclusive: plugin.is_exclusive(), on_demand: plugin.on_demand() })
            }
        }
    }

    /// Like [`Probe::try_out`], if probing is enabled.
    fn try_out(&self, stream: &str, settings: &Value, beside: bool) -> Result<(), NotCreated> {
        let Code::File { probe: Some(probe), tried_out, .. } = &self.code else { return Ok(()) };
        match probe.try_out(&self.identity, stream, settings, beside).map_err(NotCreated::Refused)? {
            ProbeOutcome::Passed => tried_out.store(true, Ordering::Relaxed), // see `create`
            ProbeOutcome::Loaded => {}
            ProbeOutcome::WrongSettings(message) => return Err(Fault::Source(SourceError::settings(message)).into()),
        }
        Ok(())
    }

    fn generation(&self) -> Option<&Arc<Generation>> {
        if let Code::File { generation, .. } = &self.code { Some(generation) } else { None }
    }

    /// The identity of the code. [any thread]
    pub(crate) fn identity(&self) -> SourceIdentity {
        self.identity.clone()
    }

    /// Whether the code is already in the process. [any thread]
    pub(crate) fn is_loaded(&self) -> bool {
        self.generation().is_none_or(|generation| generation.is_loaded())
    }

    /// A call of an instance has not returned in time, and its thread is abandoned. [any thread]
    pub(crate) fn write_off(&self) {
        if let Some(generation) = self.generation() {
            generation.write_off();
        }
    }

    /// The callback for calls that an instance makes after it has released the host's services; `None` for linked code,
    /// which cannot make such calls.
    pub(super) fn stray_calls(&self, stream: &str) -> Option<StrayCalls> {
        let generation = self.generation()?.clone();
        let (source, stream) = (self.identity.to_string(), stream.to_owned());
        let told = AtomicBool::new(false);
        Some(Arc::new(move |call| {
            generation.count_stray_call();
            // Once: an abandoned thread may call for ever. Relaxed: nothing else depends on it.
            if !told.swap(true, Ordering::Relaxed) {
                tracing::error!(
                    stream,
                    "{source} calls the host ({call}) after it has released the host's context: this is a fault of \
                     the plugin; further calls are counted (stray_calls in the status)"
                );
            }
        }))
    }
}
