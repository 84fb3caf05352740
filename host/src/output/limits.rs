//! The number of connections that an ingester serves, and the counts of refused and ended ones.

use crate::counter::Counter;

/// Outcomes of connections, since the start.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    /// Connections without a valid ZeroMQ handshake in time.
    pub(crate) no_handshake: u64,
    /// Connections without a place, ended because there were too many.
    pub(crate) strangers: u64,
    /// Connections ended because of a message without an end.
    pub(crate) endless: u64,
    /// Connections ended because of invalid data.
    pub(crate) nonsense: u64,
    /// Connections ended because their worker has another one, or was evicted.
    pub(crate) dead: u64,
    /// Connections refused because another live worker keeps their name.
    pub(crate) rivals: u64,
    /// How often a connection could not be accepted.
    pub(crate) not_accepted: u64,
}

impl Counts {
    /// Each count with its name for people.
    pub(crate) fn named(&self) -> [(Counter, u64); 7] {
        [
            (Counter::ConnectionsWithoutZeroMq, self.no_handshake),
            (Counter::ConnectionsWithoutWorker, self.strangers),
            (Counter::ConnectionsEndless, self.endless),
            (Counter::ConnectionsInvalid, self.nonsense),
            (Counter::ConnectionsOfLostWorkers, self.dead),
            (Counter::ConnectionsOfRivals, self.rivals),
            (Counter::ConnectionsNotAccepted, self.not_accepted),
        ]
    }
}

/// Maximum numbers of connections of an ingester.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimits {
    /// Workers.
    pub(crate) workers: usize,
    /// Connections without a ping.
    pub(crate) strangers: usize,
}

/// Divides the process's descriptors (RLIMIT_NOFILE): 64 are for the process itself; half of the rest is for workers, a
/// quarter for strangers. The remainder is for sources, files and Redis.
pub(crate) fn connection_limits() -> ConnectionLimits {
    use nix::sys::resource::{Resource, getrlimit};
    let (most, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    let most = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(OWN_DESCRIPTORS);
    ConnectionLimits { workers: (most / 2).clamp(1, MOST_WORKERS), strangers: (most / 4).clamp(1, MOST_STRANGERS) }
}

const OWN_DESCRIPTORS: usize = 64;
/// Each worker is published, and has six metrics.
const MOST_WORKERS: usize = 1000;
const MOST_STRANGERS: usize = 256;
