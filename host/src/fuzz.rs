//! The parsers of what comes from outside, as functions of bytes: for `tests/fuzz`, which feeds them with nonsense.
//!
//! Nobody else calls these; they are not part of what a program that embeds the host may use.

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Instant, SystemTime},
};

use crate::{
    capture::{Item, read::Capture},
    ingester::workers::Workers,
    plugin::inspect,
    zmtp::Walk,
};

pub use crate::control::redis::fuzz::{assignments, updates};

/// What somebody says at the workers' port, in pieces of a size that is not zero. Answers what was understood, and whether it was refused.
#[must_use]
pub fn connection(bytes: &[u8], size: usize) -> (Vec<String>, bool) {
    let (mut walk, mut all) = (Walk::default(), Vec::new());
    let is_refused = bytes.chunks(size).any(|piece| walk.feed(piece, |said| all.push(format!("{said:?}"))).is_err());
    (all, is_refused)
}

/// Pings: each the identity and the payload. Answers how many workers are connected, and how many pings were none.
#[must_use]
pub fn pings(pings: &[(&[u8], &[u8])]) -> (usize, u64) {
    let (mut workers, now) = (Workers::default(), Instant::now());
    for (identity, payload) in pings {
        workers.ping(identity, payload, now, SystemTime::UNIX_EPOCH);
    }
    (workers.connected(now).count(), workers.strangers.junk + workers.strangers.without_place)
}

/// A capture file.
pub fn capture(bytes: &[u8]) {
    for item in Capture::read("fuzzed", bytes.to_vec()) {
        match item {
            Ok(Item::Message(parts)) => assert!(!parts.is_empty(), "a message has a part"),
            Ok(Item::Event(event)) => {
                let names: BTreeSet<_> = event.streams.iter().map(|stream| &stream.name).collect();
                assert_eq!(names.len(), event.streams.len(), "a stream occurs once");
            }
            Err(problem) => assert!(problem.to_string().contains("fuzzed"), "what is wrong is told with its place"),
        }
    }
}

/// The note of a plugin's file. Answers whether it has one.
pub fn note(bytes: &[u8]) -> bool {
    let path = Path::new("fuzzed.so");
    match inspect::read_note(path, bytes) {
        Ok(note) => {
            let _ = inspect::check_version(path, &note);
            true
        }
        Err(refusal) => {
            assert!(!refusal.to_string().is_empty(), "a refusal says why");
            false
        }
    }
}
