//! A source behind the binary interface: from a plugin file, or linked into the program.
//!
//! Runs on the reader thread. `framegate_plugin_abi::caller` makes the calls and checks of the interface; this module adapts
//! them for a reader. A linked source takes the same path, without a file, so that a source behaves the same in both cases.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use framegate_plugin_abi::caller::{self, Limits, Plugin};
use framegate_plugin_api::{Deadline, Frame, HostServices, Progress};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    BATCH_BYTES, BATCH_EVENTS, Connection, Factory, Fault, Instance, Ledger, NotCreated, RunStatus, StrayCalls, Traits,
};
use crate::event::{Event, Frames};
use crate::source::parameter::Parameter;
use crate::{
    budget::COPY_BELOW,
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

/// The factory of a stream whose source is in a plugin file: a name or a path. Checks the gates that run no code of the file.
pub(crate) fn loaded(
    stream: &str,
    source: &str,
    plugin_dirs: &[PathBuf],
    trust: Trust<'_>,
    max_generations: usize,
    probe: Option<Probe>,
) -> Result<Arc<dyn Factory>, Refusal> {
    let plugin = PluginReference::parse(source);
    let path = locate::find(&plugin, plugin_dirs)?;
    let inspected = inspect::inspect(&path, Trust { pin: plugin.pin, ..trust })?;
    // The same content may come from a different file than the last time.
    let identity = SourceIdentity::loaded(&inspected);
    let generation = Generation::of(stream, inspected, max_generations)?;
    Ok(Arc::new(LoadedFactory { identity, generation, probe, tried_out: AtomicBool::new(false) }))
}

/// SHA-256 of the file that a name or a path refers to.
pub(crate) fn hash_of(source: &str, plugin_dirs: &[PathBuf]) -> Result<String, Refusal> {
    let path = locate::find(&PluginReference::parse(source), plugin_dirs)?;
    Ok(inspect::sha256(&open(&path)?.read()?))
}

#[derive(Debug)]
struct LoadedFactory {
    identity: SourceIdentity,
    generation: Arc<Generation>,
    /// `None`: not probed before it enters this process.
    probe: Option<Probe>,
    /// Whether it was probed with the requested settings.
    tried_out: AtomicBool,
}

impl LoadedFactory {
    /// Like [`Probe::try_out`], if probing is enabled.
    fn try_out(&self, stream: &str, settings: &Value, beside: bool) -> Result<(), NotCreated> {
        let Some(probe) = &self.probe else { return Ok(()) };
        match probe.try_out(&self.identity, stream, settings, beside).map_err(NotCreated::Refused)? {
            ProbeOutcome::Passed => self.tried_out.store(true, Ordering::Relaxed), // see `create`
            ProbeOutcome::Loaded => {}
            ProbeOutcome::WrongSettings(error) => return Err(Fault::Source(error).into()),
        }
        Ok(())
    }
}

impl Factory for LoadedFactory {
    fn create(
        &self,
        stream: &str,
        settings: &Value,
        services: Arc<dyn HostServices>,
        ledger: Option<&'static Ledger>,
    ) -> Result<Box<dyn Instance>, NotCreated> {
        // With a ledger there was an instance already. Relaxed: the thread that probes it also creates it.
        if ledger.is_none() && !self.tried_out.load(Ordering::Relaxed) {
            self.try_out(stream, settings, false)?;
        }
        let plugin = self.generation.plugin().map_err(NotCreated::Refused)?;
        let plugin = plugin.with_ledger(ledger.unwrap_or_else(|| self.generation.new_ledger()));
        create(plugin, stream, settings, services)
    }

    fn traits(&self, stream: &str, settings: &Value) -> Result<Traits, NotCreated> {
        if !self.generation.is_loaded() {
            self.try_out(stream, settings, true)?;
        }
        let plugin = self.generation.plugin().map_err(NotCreated::Refused)?;
        Ok(Traits { exclusive: plugin.is_exclusive(), on_demand: plugin.on_demand() })
    }

    fn identity(&self) -> SourceIdentity {
        self.identity.clone()
    }

    fn is_loaded(&self) -> bool {
        self.generation.is_loaded()
    }

    fn write_off(&self) {
        self.generation.write_off();
    }

    fn stray_calls(&self, stream: &str) -> Option<StrayCalls> {
        let (generation, source, stream) = (self.generation.clone(), self.identity.to_string(), stream.to_owned());
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

/// Creates an instance of a plugin, loaded or linked.
pub(super) fn create(
    plugin: Plugin,
    stream: &str,
    settings: &Value,
    services: Arc<dyn HostServices>,
) -> Result<Box<dyn Instance>, NotCreated> {
    let instance = plugin.create(stream, &settings.to_string(), services)?;
    Ok(Box::new(Behind { instance, connection: None }))
}

/// An instance that implements our trait through the binary interface.
struct Behind {
    instance: caller::Instance,
    /// The last one that it told: a time that is the same must not differ by milliseconds from answer to answer.
    connection: Option<Connection>,
}

impl Instance for Behind {
    fn on_demand(&self) -> bool {
        self.instance.on_demand()
    }

    fn ledger(&self) -> Option<&'static Ledger> {
        Some(self.instance.ledger())
    }

    fn poison(&self) -> Option<String> {
        self.instance.poison().map(str::to_owned)
    }

    fn parameters(&mut self) -> Result<Vec<Parameter>, Fault> {
        let Some(json) = self.instance.parameters()? else { return Ok(Vec::new()) };
        serde_json::from_str(&json)
            .map_err(|problem| Fault::Garbage { call: "parameters", answer: format!("{json:.100} ({problem})") })
    }

    fn set_parameter(&mut self, name: &str, value: &[u8]) -> Result<(), Fault> {
        self.instance.set_parameter(name, value)
    }

    fn open(&mut self) -> Result<(), Fault> {
        self.instance.open()
    }

    fn next(&mut self, out: &mut Vec<Event>, deadline: Deadline) -> Result<Progress, Fault> {
        self.instance.next(LIMITS, deadline.left(), |typ, kind, frames| {
            out.push(Event { typ, kind, frames: gather(frames) });
        })
    }

    fn trigger(&mut self, event_number: u64, out: &mut Vec<Event>) -> Result<(), Fault> {
        self.instance.trigger(event_number, LIMITS, |typ, kind, frames| {
            out.push(Event { typ, kind, frames: gather(frames) });
        })
    }

    fn status(&mut self) -> RunStatus {
        // A source that fails here also fails in its next call, which reports the error.
        let told = self.instance.status().unwrap_or_default();
        let connection = told.connected.map(|(connected, lasted)| {
            let address = (!told.peer.is_empty()).then_some(told.peer);
            Connection { connected, since: Timestamp::now().saturating_sub(lasted).unwrap_or(Timestamp::MIN), address }
        });
        let is_the_same = |new: &Connection, old: &Connection| {
            (new.connected, &new.address) == (old.connected, &old.address)
                && new.since.duration_since(old.since).abs() < SignedDuration::from_secs(1)
        };
        match (&connection, &self.connection) {
            (Some(new), Some(old)) if is_the_same(new, old) => {}
            _ => self.connection = connection,
        }
        RunStatus {
            counters: told.counters,
            skipped: told.skipped,
            last_invalid: Some(told.last_invalid).filter(|reason| !reason.is_empty()),
            bytes_waiting: told.bytes_waiting,
            connection: self.connection.clone(),
        }
    }

    fn close(&mut self) {
        match self.instance.close() {
            Ok(()) | Err(Fault::Poisoned(_)) => {}
            Err(fault) => tracing::error!("closing a run: {fault}"),
        }
    }
}

/// The frames of one event. Frames of a small event are copied: the plugin's memory is released on the thread that
/// received it, and a waiting small frame does not pin a large buffer of the plugin.
fn gather(frames: caller::Frames<'_>) -> Frames {
    if frames.bytes() < COPY_BELOW {
        frames.map(|frame| Frame::copy(frame.as_slice())).collect()
    } else {
        frames.collect()
    }
}

const LIMITS: Limits = Limits { events: BATCH_EVENTS, bytes: BATCH_BYTES };
