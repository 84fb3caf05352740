//! The source of a stream, across its instances. Runs on the reader thread, like every call of a source.
//!
//! An instance that panicked, answered garbage or could not open is replaced by a new one. That is created when the
//! next scan opens, after the old one was dropped: two of them would share the detector. Repeated faults back off,
//! because an instance that is no longer called keeps its resources.
//!
//! An exclusive source that replaces another is created when it takes over, after the other one was dropped. If that
//! fails, the other one is created again, so that the stream has a source in any case. Only if both fail it has none;
//! then each scan tries again, or reports the reason.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Weak},
    time::Duration,
};

use framegate_plugin_api::SourceError;

use super::{
    Fault, Feed, NotCreated, RunStatus,
    instance::Instance,
    parameter::Parameter,
    row::Row,
    shared::{InstanceServices, Shared},
};

/// See the module.
pub(super) struct StreamSource {
    shared: Arc<Shared>,
    /// The instance, or why there is none.
    instance: Result<Instance, String>,
    /// It is created when it takes over.
    is_late: bool,
    /// The host services of the instance: dropped when the instance has released them.
    lent: Weak<InstanceServices>,
    /// The host services of earlier instances that could not be ended.
    left: Vec<Weak<InstanceServices>>,
    parameters: Vec<Parameter>,
    /// The last accepted values, and those that came while there was no instance.
    values: BTreeMap<String, Arc<[u8]>>,
    /// Why it could not open.
    not_opened: Option<String>,
    /// Faults without a good run in between.
    row: Row,
}

/// An exclusive source could not be created after the old one was dropped.
#[derive(Debug)]
pub(crate) struct NotMade {
    /// Name, version and file of the new source.
    pub(crate) source: String,
    pub(crate) problem: NotCreated,
    /// Why the stream has no source, because the old one was not created again.
    pub(crate) nothing: Option<String>,
}

/// Maximum delay before a new instance, after faults without a good run in between.
const LONGEST_DELAY: Duration = Duration::from_secs(10);
const LATER: &str = "in a later scan, within 10 s";

impl StreamSource {
    /// A source without an instance.
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            instance: Err("it was not created yet".to_owned()),
            is_late: false,
            lent: Weak::new(),
            left: Vec::new(),
            parameters: Vec::new(),
            values: BTreeMap::new(),
            not_opened: None,
            row: Row::new(LONGEST_DELAY),
        }
    }

    /// Creates the first instance, except if it can exist only after the sources `before` have ended: the running one, and
    /// one that waits. Returns its parameters; `None`: it is created when it takes over.
    pub(super) fn begin(&mut self, before: &[Feed]) -> Result<Option<Vec<Parameter>>, NotCreated> {
        if let Some(on_demand) = self.must_wait(before)? {
            self.is_late = true;
            self.shared.set_on_demand(on_demand);
            return Ok(None);
        }
        self.make()?;
        Ok(Some(self.parameters.clone()))
    }

    /// If this source and one of those before are exclusive, whether it is on-demand.
    fn must_wait(&self, before: &[Feed]) -> Result<Option<bool>, NotCreated> {
        let before = before.iter().map(Feed::traits).collect::<Result<Vec<_>, _>>()?;
        let Some(running) = before.first() else { return Ok(None) };
        let new = self.shared.feed().traits()?;
        if !(new.exclusive && before.iter().any(|source| source.exclusive)) {
            return Ok(None);
        }
        if new.on_demand != running.on_demand {
            let why = "only one of the old and the new source can exist at a time, and only one of them is triggered for \
                       each event, so a swap that fails could not be undone; restart framegate with the new one";
            return Err(Fault::Source(SourceError::internal(why)).into());
        }
        Ok(Some(new.on_demand))
    }

    /// The old source of the stream has ended, or is not waited for any more. If this one is created only now and that
    /// fails, `old` is created again; `None`: it hangs. Returns what failed.
    pub(super) fn take_over(&mut self, old: Option<Feed>) -> Option<NotMade> {
        if !mem::take(&mut self.is_late) {
            return None;
        }
        let source = self.shared.source();
        let problem = self.make_with_values().err()?;
        let nothing = match old {
            Some(old) => {
                self.shared.set_feed(old);
                let again = self.make_with_values().err();
                again.map(|again| format!("{} cannot be created again: {again}", self.shared.source()))
            }
            None => Some("the old one hangs, and its code is not used again".to_owned()),
        };
        if let Some(nothing) = &nothing {
            self.instance = Err(format!("the stream has no source. The new one failed: {problem}; {nothing}"));
        }
        Some(NotMade { source, problem, nothing })
    }

    /// Opens a run; creates a new instance first if this one is unusable. On failure returns the reason.
    pub(super) fn open(&mut self) -> Result<(), String> {
        self.renew()?;
        let opened = self.call(Instance::open).map_err(|fault| fault.to_string());
        self.not_opened = opened.clone().err();
        opened
    }

    /// A run has ended without a fault.
    pub(super) fn has_done_well(&mut self) {
        if self.poison().is_none() {
            self.row.end();
        }
    }

    /// Sets a parameter, if the source has it.
    pub(super) fn set_parameter(&mut self, name: String, value: Arc<[u8]>) {
        if self.poison().is_some() {
            // For the next instance, which ignores parameters that it does not have.
            self.values.insert(name, value);
            return;
        }
        if !self.parameters.iter().any(|parameter| parameter.name == name) {
            return;
        }
        let refused = self.call(|instance| instance.set_parameter(&name, &value)).err();
        if let Some(fault) = &refused {
            tracing::error!(parameter = name, "the source refuses a value: {fault}");
        } else {
            self.values.insert(name.clone(), value);
        }
        self.shared.judged(name, refused.map(|fault| fault.to_string()));
    }

    /// Calls the source, and records the start of the call for the forwarder. Without an instance returns the reason.
    pub(super) fn call<T>(&mut self, what: impl FnOnce(&mut Instance) -> Result<T, Fault>) -> Result<T, Fault> {
        let instance = self.instance.as_mut().map_err(|why| Fault::Poisoned(why.clone()))?;
        self.shared.begin_call();
        let answer = what(instance);
        self.shared.end_call();
        answer
    }

    /// Nothing is taken from the source now, and it may keep its connections alive.
    pub(super) fn held_back(&mut self) {
        let _ = self.call(|instance| {
            instance.held_back();
            Ok(())
        });
    }

    /// What the run tells about itself.
    pub(super) fn status(&mut self) -> RunStatus {
        self.call(|instance| Ok(instance.status())).unwrap_or_default()
    }

    /// Closes the run, if one is open.
    pub(super) fn close(&mut self) {
        // Without an instance there is no run.
        let _ = self.call(|instance| {
            instance.close();
            Ok(())
        });
    }

    /// Why there is no instance, or why it is no longer called.
    fn poison(&self) -> Option<String> {
        match &self.instance {
            Ok(instance) => instance.poison().map(str::to_owned),
            Err(why) => Some(why.clone()),
        }
    }

    /// Gives the instance the configured values, and in place of them those that were set later.
    pub(super) fn set_values(&mut self) {
        let configured = self.shared.feed().settings.parameters;
        let fits = |name: &str, value: &str| {
            self.parameters.iter().any(|known| known.name == name && known.mismatch(value).is_none())
        };
        let configured = configured.into_iter().filter(|(name, value)| fits(name, value));
        let mut values: BTreeMap<_, _> =
            configured.map(|(name, value)| (name, Arc::from(value.into_bytes()))).collect();
        values.append(&mut self.values);
        for (name, value) in values {
            self.set_parameter(name, value);
        }
    }

    /// Descriptions of its run-time parameters.
    pub(super) fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Creates a new instance, if this one is unusable.
    fn renew(&mut self) -> Result<(), String> {
        if let Ok(instance) = &mut self.instance {
            instance.look();
        }
        let poison = self.poison();
        let Some(why) = poison.clone().or_else(|| self.not_opened.clone()) else { return Ok(()) };
        // An instance that could not open is dropped normally, and leaves nothing behind: no need to wait.
        if let (Some(_), Some(_)) = (self.row.left(), poison) {
            return Err(format!("{why}; as the one before it failed too, another instance is made {LATER}"));
        }
        let is_first = self.row.count();
        self.end_instance(&why);
        match self.make_with_values() {
            Ok(()) => {
                let source = self.shared.source();
                self.shared.renewed(true);
                self.not_opened = None;
                let held = if self.left.is_empty() { "" } else { "; what the one before it holds is not free" };
                match is_first {
                    true => {
                        tracing::warn!("{source}: another instance is made, because {why}{held}")
                    }
                    false => {
                        tracing::debug!("{source}: another instance is made, because {why}{held}")
                    }
                }
                Ok(())
            }
            Err(problem) => {
                self.shared.renewed(false);
                let held = match self.left.is_empty() {
                    true => "",
                    false => {
                        ", and an instance before it could not be ended and may hold what this one needs: restart framegate"
                    }
                };
                let why =
                    format!("no other instance can be made: {problem}{held}; it was needed because {}", first(&why));
                self.instance = Err(why.clone());
                Err(why)
            }
        }
    }

    fn make_with_values(&mut self) -> Result<(), NotCreated> {
        self.make()?;
        self.set_values();
        Ok(())
    }

    /// Creates an instance.
    fn make(&mut self) -> Result<(), NotCreated> {
        let Feed { settings, factory } = self.shared.feed();
        let stream = settings.name.as_str();
        self.shared.begin_call();
        let lent = Arc::new(InstanceServices { shared: self.shared.clone(), stray_calls: factory.stray_calls(stream) });
        let kept = Arc::downgrade(&lent);
        let made = factory.create(stream, &settings.settings, lent, self.shared.ledger()).and_then(|mut instance| {
            let parameters = instance.parameters()?;
            Ok((instance, parameters))
        });
        self.shared.end_call();
        let (instance, parameters) = made?;
        self.shared.set_ledger(instance.ledger());
        self.shared.set_on_demand(instance.on_demand());
        (self.instance, self.lent, self.parameters) = (Ok(instance), kept, parameters);
        Ok(())
    }

    /// Drops the instance.
    fn end_instance(&mut self, why: &str) {
        let is_poisoned = self.poison().is_some();
        let instance = mem::replace(&mut self.instance, Err(why.to_owned()));
        self.shared.begin_call();
        drop(instance);
        self.shared.end_call();
        self.left.retain(|left| left.strong_count() > 0);
        if self.lent.strong_count() > 0 {
            if !is_poisoned {
                tracing::error!(
                    "{}: it has ended without releasing the host's context: a thread of it is still running, or it \
                     forgot to",
                    self.shared.source()
                );
            }
            // A poisoned instance was not asked to release anything.
            self.left.push(mem::take(&mut self.lent));
        }
    }
}

impl Drop for StreamSource {
    fn drop(&mut self) {
        self.end_instance("it has ended");
    }
}

/// The first fault of a row.
fn first(why: &str) -> &str {
    why.rsplit_once("it was needed because ").map_or(why, |(_, first)| first)
}
