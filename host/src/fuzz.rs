//! The parsers of external input, as functions of bytes: `tests/fuzz` calls them with random data.
//!
//! Nothing else calls them; they are not part of the API for programs that embed the host.

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Instant, SystemTime},
};

use crate::{
    capture::{Capture, Item},
    ingester::workers::Workers,
    plugin::inspect,
    zmtp::Parser,
};

pub use crate::control::redis::fuzz::{assignments, updates};

/// Bytes received at the workers' port, in pieces of a non-zero size. Returns the parsed items, and whether the input was refused.
#[must_use]
pub fn connection(bytes: &[u8], size: usize) -> (Vec<String>, bool) {
    let (mut out, mut all) = (Vec::new(), Vec::new());
    let mut parser = Parser::begin(Instant::now(), &mut out);
    let mut feed = |piece| parser.feed(piece, &mut out, |item, _| all.push(format!("{item:?}")));
    let is_refused = bytes.chunks(size).any(|piece| feed(piece).is_err());
    (all, is_refused)
}

/// Pings: each with identity and payload. Returns the number of connected workers, and the number of invalid pings.
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

/// The example of a configuration.
#[must_use]
pub fn example() -> String {
    crate::settings::example()
}

/// The note of a plugin file. Returns whether there is one.
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
