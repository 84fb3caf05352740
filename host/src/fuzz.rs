//! The parsers of what comes from outside, as functions of bytes: for `tests/fuzz`, which feeds them with nonsense.
//!
//! Nobody else calls these; they are not part of what a program that embeds the host may use.

use std::{
    path::Path,
    time::{Instant, SystemTime},
};

use crate::{
    capture::{Item, read::Capture, write},
    ingester::workers::Workers,
    plugin::inspect,
};

pub use crate::control::redis::fuzz::{assignments, updates};

/// Pings: each the identity and the payload. Answers how many workers are connected, and how many pings were none.
#[must_use]
pub fn pings(pings: &[(&[u8], &[u8])]) -> (usize, u64) {
    let (mut workers, now) = (Workers::default(), Instant::now());
    for (identity, payload) in pings {
        workers.ping(identity, payload, now, SystemTime::UNIX_EPOCH);
    }
    (workers.connected(now).count(), workers.junk)
}

/// A capture file. What is read of it, written again, is read as the same.
pub fn capture(bytes: &[u8]) {
    for item in Capture::read("fuzzed", bytes.to_vec()).map_while(Result::ok) {
        let mut written = Vec::new();
        match &item {
            Item::Message(parts) => write::write_message(&mut written, parts).expect("memory takes everything"),
            // It is written with names and a time that are checked; what other programs write may be anything.
            Item::Event(_) => continue,
        }
        let again = Capture::read("written", written).next().expect("an item").expect("what was written is read");
        assert_eq!(again, item);
    }
}

/// The note of a plugin's file. Answers whether it has one.
#[must_use]
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
