//! The number of connections that an ingester serves.

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
