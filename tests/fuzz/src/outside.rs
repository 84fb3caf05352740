//! The host's own input: Redis, the workers' port, files.

use framegate::{fuzz, settings::Settings};

use crate::packed::unpack;

/// The controller's updates: a reply of Redis, or the text of one entry.
pub(crate) fn updates(bytes: &[u8]) {
    fuzz::updates(bytes);
}

/// A controller's assignments, in the same form.
pub(crate) fn assignments(bytes: &[u8]) {
    fuzz::assignments(bytes);
}

/// All bytes on a connection at the workers' port.
pub(crate) fn connection(bytes: &[u8]) {
    let whole = fuzz::connection(bytes, bytes.len().max(1));
    for size in [1, 7, 64] {
        assert_eq!(fuzz::connection(bytes, size), whole, "how it is cut does not matter");
    }
}

/// Pairs of identity and payload.
pub(crate) fn pings(bytes: &[u8]) {
    let pieces = unpack(bytes);
    let pings: Vec<_> = pieces.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    let (workers, junk) = fuzz::pings(&pings);
    assert!(workers as u64 + junk <= pings.len() as u64, "a ping is a worker's or junk, and not both");
}

pub(crate) fn capture(bytes: &[u8]) {
    fuzz::capture(bytes);
}

pub(crate) fn settings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(wrong) = Settings::from_toml(text) {
        assert!(!wrong.problems().is_empty(), "what is refused has a reason");
    }
}

pub(crate) fn note(bytes: &[u8]) {
    fuzz::note(bytes);
}
