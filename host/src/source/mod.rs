//! Event input. A reader cannot tell a linked source from one in a plugin file.

#[cfg(feature = "plugins")]
mod apart;
pub(crate) mod factory;
mod instance;
#[cfg(feature = "plugins")]
pub(crate) mod loaded;
#[cfg(not(feature = "plugins"))]
#[path = "not_loaded.rs"]
pub(crate) mod loaded;
mod orders;
pub(crate) mod parameter;
pub(crate) mod queue;
pub(crate) mod reader;
pub(crate) mod renewal;
pub(crate) mod replacement;
pub(crate) mod row;
mod shared;

use std::sync::Arc;

use framegate_plugin_abi::caller;
pub(crate) use framegate_plugin_abi::{caller::Fault, frame::Ledger, host::StrayCalls};

use self::factory::Factory;
use crate::{plugin::refusal::Refusal, settings::StreamSettings};

/// The code of a stream's source, and its configuration.
#[derive(Debug, Clone)]
pub(crate) struct Feed {
    pub(crate) settings: StreamSettings,
    pub(crate) factory: Arc<Factory>,
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

/// What a run tells about itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct RunStatus {
    pub(crate) told: caller::RunStatus,
    /// Since when `told.connected` holds.
    pub(crate) since: Option<jiff::Timestamp>,
}

/// Why an instance could not be created.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum NotCreated {
    /// The plugin was refused.
    #[cfg_attr(not(feature = "plugins"), allow(dead_code, reason = "nothing is loaded"))]
    #[error(transparent)]
    Refused(Refusal),
    /// Its `create` failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A host takes at most this number of events from one call of a source: above some 32, the cost of a call is negligible.
pub const BATCH_EVENTS: usize = 64;
/// A host takes no further event from a call of a source that has given this number of bytes. It is the maximum that a
/// stream reads beyond its limits, besides one event.
pub const BATCH_BYTES: usize = 4 << 20;
