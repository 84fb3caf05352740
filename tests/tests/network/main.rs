//! Real networks: machines of their own (network namespaces) with cables between them, which are pulled, slow, or lead to a machine that has lost
//! its power. Tests run beside each other, so that they take no longer than the longest, some 60 s.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod admin;
mod detectors;
mod redis;
mod workers;

use std::time::Duration;

use framegate_tests::worker::{Message, Worker};

/// A pulled cable that TCP does not notice much, and one that it waits for: after 15 s the kernel tries every 13 s or so.
const SHORT: Duration = Duration::from_secs(4);
const LONG: Duration = Duration::from_secs(15);
/// How long something may take after a cable is in again: the kernel's next try, and a busy machine.
const BACK: Duration = Duration::from_secs(50);

/// A worker's next message, after its network was gone.
fn next(worker: &Worker) -> Message {
    worker.within(BACK).unwrap_or_else(|| panic!("nothing comes for worker {}", worker.name()))
}
