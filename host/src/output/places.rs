//! How many connections an ingester serves, and what became of those that it does not.

/// What became of connections, since the start.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    /// Those that did not introduce themselves as ZeroMQ does, or not in time.
    pub(crate) no_handshake: u64,
    /// Those without a worker that has a place, which were ended, because there were too many.
    pub(crate) strangers: u64,
    /// Those that were ended because they sent a message without an end.
    pub(crate) endless: u64,
    /// Those that were ended because they said something that has no meaning.
    pub(crate) nonsense: u64,
    /// Those that were ended because their worker has another, or was given up.
    pub(crate) dead: u64,
    /// Those that were turned away, because another live worker keeps their name.
    pub(crate) rivals: u64,
    /// How often a connection could not be accepted.
    pub(crate) not_accepted: u64,
}

impl Counts {
    /// Each with the words that people see.
    pub(crate) fn named(&self) -> [(&'static str, u64); 7] {
        [
            ("connections that were no ZeroMQ", self.no_handshake),
            ("connections ended because too many had no worker", self.strangers),
            ("connections ended because of a message without an end", self.endless),
            ("connections ended because of nonsense", self.nonsense),
            ("connections ended because their worker has another, or was evicted", self.dead),
            ("connections turned away because another worker keeps their name", self.rivals),
            ("connections that could not be accepted", self.not_accepted),
        ]
    }
}

/// How many connections an ingester serves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places {
    /// Workers.
    pub(crate) workers: usize,
    /// Connections on which no worker has pinged.
    pub(crate) strangers: usize,
}

/// What the process may have open (RLIMIT_NOFILE) is shared out: 64 are its own; of the rest a half is for workers and a quarter for
/// strangers. What is left is for sources, files and Redis.
pub(crate) fn places() -> Places {
    use nix::sys::resource::{Resource, getrlimit};
    let (most, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    let most = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(OWN_DESCRIPTORS);
    Places { workers: (most / 2).clamp(1, MOST_WORKERS), strangers: (most / 4).clamp(1, MOST_STRANGERS) }
}

const OWN_DESCRIPTORS: usize = 64;
/// Each is published, and is six metrics.
const MOST_WORKERS: usize = 1000;
const MOST_STRANGERS: usize = 256;
