//! How scans and events are handled without a controller.

use super::{
    keys::{key, settings},
    read::{count, number, some, truth},
};

settings! {
    /// How scans and events are handled without a controller.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Standalone {}
    keys {
        key("broadcast") =>
            /// Send every event to every worker, instead of to the workers in turn.
            broadcast: bool, truth, default "false";
        key("scans").example("2") =>
            /// End after this many scans.
            scans: Option<u64>, some(count), otherwise "it does not end by itself";
        key("min_workers") =>
            /// A scan's first event waits until this many workers are connected.
            min_workers: usize, number, default "1";
    }
}

impl Default for Standalone {
    fn default() -> Self {
        Self::defaults()
    }
}
