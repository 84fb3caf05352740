//! Event input. A reader cannot tell a linked source from one in a plugin file.

pub(crate) mod linked;
pub(crate) mod loaded;
mod orders;
pub(crate) mod parameter;
pub(crate) mod queue;
pub(crate) mod reader;
pub(crate) mod renewal;
pub(crate) mod replacement;
pub(crate) mod row;
mod shared;

use std::{fmt, sync::Arc};

pub(crate) use framegate_plugin_abi::{caller::Fault, frame::Ledger, host::StrayCalls};
use framegate_plugin_api::{Deadline, HostServices, Progress};
use serde_json::Value;

use crate::event::Event;
use crate::plugin::{identity::SourceIdentity, refusal::Refusal};
use crate::settings::StreamSettings;
use crate::source::parameter::Parameter;

/// Creates instances of one source, loaded or linked.
pub(crate) trait Factory: Send + Sync + fmt::Debug {
    /// Creates an instance. A replacement instance counts its frames in the ledger of the instance before it. [reader
    /// thread: the thread that will run it]
    fn create(
        &self,
        stream: &str,
        settings: &Value,
        services: Arc<dyn HostServices>,
        ledger: Option<&'static Ledger>,
    ) -> Result<Box<dyn Instance>, NotCreated>;
    /// The properties of the source. [reader thread: a plugin is first probed with these settings and loaded, if it is not yet]
    fn traits(&self, stream: &str, settings: &Value) -> Result<Traits, NotCreated>;
    /// The identity of the code.
    fn identity(&self) -> SourceIdentity;
    /// Whether the code is already in the process.
    fn is_loaded(&self) -> bool {
        true
    }
    /// A call of an instance has not returned in time, and its thread is abandoned. [any thread]
    fn write_off(&self) {}
    /// The callback for calls that an instance makes after it has released the host's services; `None` if there can be
    /// no such calls.
    fn stray_calls(&self, stream: &str) -> Option<StrayCalls> {
        let _ = stream;
        None
    }
}

/// The code of a stream's source, and its configuration.
#[derive(Debug, Clone)]
pub(crate) struct Feed {
    pub(crate) settings: StreamSettings,
    pub(crate) factory: Arc<dyn Factory>,
}

impl Feed {
    /// The properties of the source. [reader thread, see [`Factory::traits`]]
    fn traits(&self) -> Result<Traits, NotCreated> {
        self.factory.traits(self.settings.name.as_str(), &self.settings.settings)
    }
}

/// The properties of a factory's source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Traits {
    /// Only one instance can hold the source's resources.
    pub(crate) exclusive: bool,
    /// The source answers `trigger` instead of `next`.
    pub(crate) on_demand: bool,
}

/// One instance of a source that feeds one stream. [reader thread, all of it; it is not `Send`]
pub(crate) trait Instance {
    /// Whether the source answers `trigger` instead of `next`.
    fn on_demand(&self) -> bool;
    /// Counts the frames that it gave and that were returned; `None` without a count.
    fn ledger(&self) -> Option<&'static Ledger>;
    /// The fault after which it is no longer called.
    fn poison(&self) -> Option<String>;
    /// Descriptions of its run-time parameters.
    fn parameters(&mut self) -> Result<Vec<Parameter>, Fault>;
    /// A new value of a parameter.
    fn set_parameter(&mut self, name: &str, value: &[u8]) -> Result<(), Fault>;
    /// Opens the run of a scan; an earlier one is dropped first.
    fn open(&mut self) -> Result<(), Fault>;
    /// Appends events to `out`. They stay valid if an error follows.
    fn next(&mut self, out: &mut Vec<Event>, deadline: Deadline) -> Result<Progress, Fault>;
    /// Gives the event for `event_number`.
    fn trigger(&mut self, event_number: u64, out: &mut Vec<Event>) -> Result<(), Fault>;
    /// What the run tells about itself.
    fn status(&mut self) -> RunStatus;
    /// Drops the run, if one is open.
    fn close(&mut self);
}

/// What a run tells about itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct RunStatus {
    /// What it has received, in counters that the source defines.
    pub(crate) counters: Vec<(String, u64)>,
    /// Messages that gave no event, by reason.
    pub(crate) skipped: Vec<(String, u64)>,
    /// Why the last invalid message was invalid.
    pub(crate) last_invalid: Option<String>,
    /// Bytes that it has received and not yet delivered.
    pub(crate) bytes_waiting: u64,
    /// Whether a detector is connected; `None` if the source cannot tell.
    pub(crate) connection: Option<Connection>,
}

/// Whether a detector is connected.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Connection {
    pub(crate) connected: bool,
    pub(crate) since: jiff::Timestamp,
    /// The detector's address, or the one that the source uses.
    pub(crate) address: Option<String>,
}

/// Why an instance could not be created.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum NotCreated {
    /// The plugin was refused.
    #[error(transparent)]
    Refused(Refusal),
    /// Its `create` failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A batch is full at this number of events: above some 32, the cost of a call is negligible.
pub(crate) const BATCH_EVENTS: usize = 64;
/// … or at this number of bytes: the maximum that a stream reads beyond its limits, besides one event.
pub(crate) const BATCH_BYTES: usize = 4 << 20;
