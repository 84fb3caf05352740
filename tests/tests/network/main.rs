//! Real networks: simulated machines (network namespaces) with cables that are unplugged, slow, or lead to a machine
//! that has lost power. The tests run in parallel, so that they take no longer than the longest one, some 60 s.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod admin;
mod detectors;
mod redis;
mod workers;

use std::time::Duration;

use framegate_tests::worker::{Message, Worker};

/// A short outage that TCP hardly notices, and a long one: after 15 s the kernel retries about every 13 s.
const SHORT: Duration = Duration::from_secs(4);
const LONG: Duration = Duration::from_secs(15);
/// How long a recovery may take after a cable is plugged in again: the kernel's next retry, and a busy machine.
const BACK: Duration = Duration::from_secs(50);

/// A worker's next message after an outage of its network.
fn next(worker: &Worker) -> Message {
    worker.within(BACK).unwrap_or_else(|| panic!("nothing comes for worker {}", worker.name()))
}
