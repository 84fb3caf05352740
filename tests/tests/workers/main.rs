//! Faulty workers, and unrelated clients at their port: the real program, with real processes and sockets.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod admission;
mod masses;
mod peer;
mod restarts;
mod rivals;
mod scans;
mod sockets;
mod stopped;
mod strangers;

use serde_json::Value;

/// A counter in an ingester's status.
fn count(ingester: &Value, what: &str) -> u64 {
    ingester["counters"][what].as_u64().unwrap_or_else(|| panic!("{what:?} is not counted: {ingester:#}"))
}

/// The status of one worker.
fn of_worker<'a>(ingester: &'a Value, name: &str) -> &'a Value {
    let workers = ingester["workers"].as_array().unwrap();
    workers.iter().find(|worker| worker["name"] == name).unwrap_or_else(|| panic!("no {name}: {ingester:#}"))
}
