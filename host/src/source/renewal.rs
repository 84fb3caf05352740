//! The source of a stream, across its instances: an instance that panicked, answered garbage or could not open is
//! replaced by a new one.
//!
//! Runs on the reader thread, like every call of a source. The next instance is created when the next scan opens, after
//! the old one was dropped: two of them would share the detector. Repeated faults back off, because an instance that is
//! no longer called keeps its resources.

use std::{
    collections::BTreeMap,
    fmt, mem,
    sync::{Arc, Weak},
    time::Duration,
};

use serde_json::Value;

use super::{
    Created, Factory, Instance, Ledger, NotCreated,
    nobody::Nobody,
    row::Row,
    token::{Lent, Token},
};

/// See the module.
pub(super) struct StreamSource {
    factory: Arc<dyn Factory>,
    settings: Value,
    token: Arc<Token>,
    instance: Box<dyn Instance>,
    /// The host services of the instance: dropped when the instance has released them.
    lent: Weak<Lent>,
    /// The host services of earlier instances that could not be ended.
    left: Vec<Weak<Lent>>,
    /// Counts the frames of all instances.
    ledger: Option<&'static Ledger>,
    /// The names of its parameters.
    described: Vec<String>,
    /// The last accepted values, for the next instance.
    values: BTreeMap<String, Arc<[u8]>>,
    /// Why it could not open.
    not_opened: Option<String>,
    /// Faults without a good run in between.
    row: Row,
}

/// Maximum delay before a new instance, after faults without a good run in between.
const LONGEST_DELAY: Duration = Duration::from_secs(10);
const LATER: &str = "in a later scan, within 10 s";

impl StreamSource {
    /// Creates the source with its first instance.
    pub(super) fn make(
        token: &Arc<Token>,
        factory: Arc<dyn Factory>,
        settings: Value,
    ) -> Result<(Created, Self), NotCreated> {
        let mut source = Self::without(token, factory, settings, String::new());
        let created = source.make_instance()?;
        Ok((created, source))
    }

    /// Creates the source without an instance, for the reason `why`. The first scan tries to create one.
    pub(super) fn without(token: &Arc<Token>, factory: Arc<dyn Factory>, settings: Value, why: String) -> Self {
        Self {
            factory,
            settings,
            token: token.clone(),
            instance: Box::new(Nobody(why)),
            lent: Weak::new(),
            left: Vec::new(),
            ledger: None,
            described: Vec::new(),
            values: BTreeMap::new(),
            not_opened: None,
            row: Row::new(LONGEST_DELAY),
        }
    }

    /// Opens a run; creates a new instance first if this one is unusable. On failure returns the reason.
    pub(super) fn open(&mut self) -> Result<(), String> {
        self.renew()?;
        let opened = self.call(|instance| instance.open()).map_err(|fault| fault.to_string());
        self.not_opened = opened.clone().err();
        opened
    }

    /// A run has ended without a fault.
    pub(super) fn has_done_well(&mut self) {
        if self.instance.poison().is_none() {
            self.row.end();
        }
    }

    /// Sets a parameter, if the source has it.
    pub(super) fn set_parameter(&mut self, name: String, value: Arc<[u8]>) {
        if self.instance.poison().is_some() {
            // For the next instance, which ignores parameters that it does not have.
            self.values.insert(name, value);
            return;
        }
        if !self.described.contains(&name) {
            return;
        }
        let refused = self.call(|instance| instance.set_parameter(&name, &value)).err();
        if let Some(fault) = &refused {
            tracing::error!(parameter = name, "the source refuses a value: {fault}");
        } else {
            self.values.insert(name.clone(), value);
        }
        self.token.judged(name, refused.map(|fault| fault.to_string()));
    }

    /// Calls the source, and records the start of the call for the forwarder.
    pub(super) fn call<T>(&mut self, what: impl FnOnce(&mut dyn Instance) -> T) -> T {
        self.token.begin_call();
        let answer = what(&mut *self.instance);
        self.token.end_call();
        answer
    }

    pub(super) fn on_demand(&self) -> bool {
        self.instance.on_demand()
    }

    /// Creates a new instance, if this one is unusable.
    fn renew(&mut self) -> Result<(), String> {
        let poison = self.instance.poison();
        let Some(why) = poison.clone().or_else(|| self.not_opened.clone()) else { return Ok(()) };
        // An instance that could not open is dropped normally, and leaves nothing behind: no need to wait.
        if let (Some(_), Some(_)) = (self.row.left(), poison) {
            return Err(format!("{why}; as the one before it failed too, another instance is made {LATER}"));
        }
        let is_first = self.row.count();
        self.end_instance(&why);
        match self.make_instance() {
            Ok(_) => {
                let source = &self.token.source;
                self.token.renewed(true);
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
                for (name, value) in mem::take(&mut self.values) {
                    self.set_parameter(name, value);
                }
                Ok(())
            }
            Err(problem) => {
                self.token.renewed(false);
                let held = match self.left.is_empty() {
                    true => "",
                    false => {
                        ", and an instance before it could not be ended and may hold what this one needs: restart framegate"
                    }
                };
                let why =
                    format!("no other instance can be made: {problem}{held}; it was needed because {}", first(&why));
                self.instance = Box::new(Nobody(why.clone()));
                Err(why)
            }
        }
    }

    fn make_instance(&mut self) -> Result<Created, NotCreated> {
        self.token.begin_call();
        let stream = self.token.stream.as_str();
        let lent = Arc::new(Lent { token: self.token.clone(), stray_calls: self.factory.stray_calls(stream) });
        let kept = Arc::downgrade(&lent);
        let made = self.factory.create(stream, &self.settings, lent, self.ledger).and_then(|mut instance| {
            let (on_demand, ledger) = (instance.on_demand(), instance.ledger());
            let parameters = instance.parameters()?;
            Ok((Created { parameters, on_demand, ledger, waits: false }, instance))
        });
        self.token.end_call();
        let (created, instance) = made?;
        (self.instance, self.lent, self.ledger) = (instance, kept, created.ledger);
        self.described = created.parameters.iter().map(|parameter| parameter.name.clone()).collect();
        Ok(created)
    }

    /// Drops the instance.
    fn end_instance(&mut self, why: &str) {
        let is_poisoned = self.instance.poison().is_some();
        let instance = mem::replace(&mut self.instance, Box::new(Nobody(why.to_owned())));
        self.token.begin_call();
        drop(instance);
        self.token.end_call();
        self.left.retain(|left| left.strong_count() > 0);
        if self.lent.strong_count() > 0 {
            if !is_poisoned {
                tracing::error!(
                    "{}: it has ended without releasing the host's context: a thread of it is still running, or it \
                     forgot to",
                    self.token.source
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

impl fmt::Debug for StreamSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamSource").field("factory", &self.factory).finish_non_exhaustive()
    }
}

/// The first fault of a row.
fn first(why: &str) -> &str {
    why.rsplit_once("it was needed because ").map_or(why, |(_, first)| first)
}
