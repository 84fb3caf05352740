//! Events in. A reader cannot tell a source that is linked into the program from one in a plugin file.

pub(crate) mod beginning;
pub(crate) mod linked;
pub(crate) mod loaded;
mod nobody;
mod orders;
pub(crate) mod queue;
pub(crate) mod reader;
mod renewal;
pub(crate) mod replacement;
pub(crate) mod row;
mod token;

use std::{fmt, sync::Arc};

pub(crate) use framegate_plugin_abi::{caller::Fault, frame::Ledger, host::StrayCalls};
use framegate_plugin_api::{Deadline, Event, HostServices, Parameter, Progress};
use serde_json::Value;

use crate::plugin::{identity::SourceIdentity, refusal::Refusal};

/// Makes instances of one source. A loaded plugin and a linked source both are one of these.
pub(crate) trait Factory: Send + Sync + fmt::Debug {
    /// Makes an instance. One that takes the place of another counts its frames where that one did. [reader thread: the thread that will
    /// run it]
    fn create(
        &self,
        stream: &str,
        settings: &Value,
        services: Arc<dyn HostServices>,
        ledger: Option<&'static Ledger>,
    ) -> Result<Box<dyn Instance>, NotCreated>;
    /// What kind of source it is. [reader thread: a plugin is loaded if it is not, and tried out with these settings before]
    fn traits(&self, stream: &str, settings: &Value) -> Result<Traits, NotCreated>;
    /// Which code it is, and where it comes from.
    fn identity(&self) -> SourceIdentity;
    /// Whether the code is in the process already.
    fn is_loaded(&self) -> bool {
        true
    }
    /// A call of an instance has not returned in time, and its thread is left behind. [any thread]
    fn write_off(&self) {}
    /// Who is told of calls that an instance makes after it has given the host's services back; nobody if that cannot be.
    fn stray_calls(&self, stream: &str) -> Option<StrayCalls> {
        let _ = stream;
        None
    }
}

/// What kind of source there is behind a factory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Traits {
    /// Only one instance can hold what the source holds.
    pub(crate) exclusive: bool,
    /// The source answers `trigger` instead of `next`.
    pub(crate) on_demand: bool,
}

/// One source that feeds one stream. [reader thread, all of it; it is not `Send`]
pub(crate) trait Instance {
    /// Whether the source answers `trigger` instead of `next`.
    fn on_demand(&self) -> bool;
    /// Frames that it gave and that came back; none if nobody counts them.
    fn ledger(&self) -> Option<&'static Ledger>;
    /// What it did, after which it is not called any more.
    fn poison(&self) -> Option<String>;
    /// Descriptions of its run-time parameters.
    fn parameters(&mut self) -> Result<Vec<Parameter>, Fault>;
    /// A new value of a parameter.
    fn set_parameter(&mut self, name: &str, value: &[u8]) -> Result<(), Fault>;
    /// Opens the run of a scan; an earlier one is dropped first.
    fn open(&mut self) -> Result<(), Fault>;
    /// Appends events to `out`. What was appended counts also when an error follows.
    fn next(&mut self, out: &mut Vec<Event>, deadline: Deadline) -> Result<Progress, Fault>;
    /// Produces the event for `event_number`.
    fn trigger(&mut self, event_number: u64, out: &mut Vec<Event>) -> Result<(), Fault>;
    /// What the source has counted in this run.
    fn counts(&mut self) -> Counts;
    /// Drops the run, if one is open.
    fn close(&mut self);
}

/// What a source counts itself in a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    /// Messages that gave no event, by reason.
    pub(crate) skipped: Vec<(String, u64)>,
    /// Why the last message that was invalid was so.
    pub(crate) last_invalid: Option<String>,
    /// What it has received, in numbers of its own.
    pub(crate) received: Vec<(String, u64)>,
    /// Bytes that it has received and not given yet.
    pub(crate) bytes_waiting: u64,
}

/// Why there is no instance.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum NotCreated {
    /// The plugin was not accepted.
    #[error(transparent)]
    Refused(Refusal),
    /// Its `create` failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A batch is large enough at this many events: above some 32 a batch, the price of a call no longer shows.
pub(crate) const BATCH_EVENTS: usize = 64;
/// … or at this many bytes: what a stream reads beyond its limits at most, besides one event.
pub(crate) const BATCH_BYTES: usize = 4 << 20;
