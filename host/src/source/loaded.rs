//! The code of a source in a plugin file: found, inspected, tried out if that is wanted, loaded.
//!
//! Runs on the reader thread, except where it says otherwise.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use framegate_plugin_abi::caller::Plugin;
use framegate_plugin_api::SourceError;
use serde_json::Value;

use super::{Fault, Ledger, NotCreated, StrayCalls, Traits};
use crate::{
    names::PluginReference,
    plugin::{
        self, Refusal, SourceIdentity, Trust,
        generation::{self, Generation},
        inspect,
        probe::{Probe, ProbeOutcome},
        report::GenerationReport,
    },
    settings::{Settings, StreamSettings},
};

/// See the module.
#[derive(Debug)]
pub(super) struct PluginCode {
    identity: SourceIdentity,
    generation: Arc<Generation>,
    /// `None`: not probed before it enters this process.
    probe: Option<Probe>,
    /// Whether it was probed with the requested settings.
    tried_out: AtomicBool,
}

/// SHA-256 of the file that a name or a path refers to. [any thread]
pub(crate) fn hash_of(source: &str, plugin_dirs: &[PathBuf]) -> Result<String, Refusal> {
    inspect::hash(&plugin::find(&PluginReference::parse(source), plugin_dirs)?)
}

/// All plugin files that this process has loaded, or is about to load. [any thread]
pub(crate) fn generations() -> Vec<GenerationReport> {
    generation::reports()
}

impl PluginCode {
    /// Finds and inspects the file of a stream's source; runs no code of it. `from_outside`: see [`Trust`]. [any thread]
    pub(super) fn find(stream: &StreamSettings, settings: &Settings, from_outside: bool) -> Result<Self, Refusal> {
        let Settings { plugin_dirs, allow_writable_plugins, max_generations, .. } = settings;
        let probe = settings.probe.clone().map(|command| Probe { command, limit: settings.source_timeout });
        let reference = PluginReference::parse(&stream.source);
        let trust = Trust { allow_writable: *allow_writable_plugins, from_outside, pin: reference.pin };
        let inspected = plugin::inspect(&plugin::find(&reference, plugin_dirs)?, trust)?;
        // The same content may come from a different file than the last time.
        let identity = inspected.identity();
        let generation = Generation::of(stream.name.as_str(), inspected, *max_generations)?;
        Ok(Self { identity, generation, probe, tried_out: AtomicBool::new(false) })
    }

    /// The loaded code, for a new instance. A replacement instance counts its frames in the ledger of the instance before
    /// it.
    pub(super) fn plugin(
        &self,
        stream: &str,
        settings: &Value,
        ledger: Option<&'static Ledger>,
    ) -> Result<Plugin, NotCreated> {
        // With a ledger there was an instance already. Relaxed: the thread that probes it also creates it.
        if ledger.is_none() && !self.tried_out.load(Ordering::Relaxed) {
            self.try_out(stream, settings, false)?;
        }
        let plugin = self.generation.plugin().map_err(NotCreated::Refused)?;
        Ok(plugin.with_ledger(ledger.unwrap_or_else(|| self.generation.new_ledger())))
    }

    /// See [`Factory::traits`](super::factory::Factory::traits).
    pub(super) fn traits(&self, stream: &str, settings: &Value) -> Result<Traits, NotCreated> {
        if !self.generation.is_loaded() {
            self.try_out(stream, settings, true)?;
        }
        let plugin = self.generation.plugin().map_err(NotCreated::Refused)?;
        Ok(Traits { exclusive: plugin.is_exclusive(), on_demand: plugin.on_demand() })
    }

    /// Like [`Probe::try_out`], if probing is enabled.
    fn try_out(&self, stream: &str, settings: &Value, beside: bool) -> Result<(), NotCreated> {
        let Some(probe) = &self.probe else { return Ok(()) };
        match probe.try_out(&self.identity, stream, settings, beside).map_err(NotCreated::Refused)? {
            ProbeOutcome::Passed => self.tried_out.store(true, Ordering::Relaxed), // see `plugin`
            ProbeOutcome::Loaded => {}
            ProbeOutcome::WrongSettings(message) => return Err(Fault::Source(SourceError::settings(message)).into()),
        }
        Ok(())
    }

    /// The identity of the code. [any thread]
    pub(super) fn identity(&self) -> SourceIdentity {
        self.identity.clone()
    }

    /// Whether the code is already in the process. [any thread]
    pub(super) fn is_loaded(&self) -> bool {
        self.generation.is_loaded()
    }

    /// See [`Factory::write_off`](super::factory::Factory::write_off). [any thread]
    pub(super) fn write_off(&self) {
        self.generation.write_off();
    }

    /// The callback for calls that an instance makes after it has released the host's services.
    pub(super) fn stray_calls(&self, stream: &str) -> StrayCalls {
        let generation = self.generation.clone();
        let (source, stream) = (self.identity.to_string(), stream.to_owned());
        let told = AtomicBool::new(false);
        Arc::new(move |call| {
            generation.count_stray_call();
            // Once: an abandoned thread may call for ever. Relaxed: nothing else depends on it.
            if !told.swap(true, Ordering::Relaxed) {
                tracing::error!(
                    stream,
                    "{source} calls the host ({call}) after it has released the host's context: this is a fault of \
                     the plugin; further calls are counted (stray_calls in the status)"
                );
            }
        })
    }
}
