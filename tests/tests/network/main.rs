//! Real networks: simulated machines (network namespaces) with cables that are unplugged, slow, or lead to a machine
//! that has lost power. The tests run in parallel, so that they take no longer than the longest one, some 60 s.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod admin;
mod detectors;
mod redis;
mod workers;

use std::{fs, time::Duration};

use framegate_tests::{
    host::Host,
    network::FAR,
    worker::{Message, Worker},
};

/// A short outage that TCP hardly notices, and a long one: after 15 s the kernel retries about every 13 s.
const SHORT: Duration = Duration::from_secs(4);
const LONG: Duration = Duration::from_secs(15);
/// How long a recovery may take after a cable is plugged in again: the kernel's next retry, and a busy machine.
const BACK: Duration = Duration::from_secs(50);

/// A worker's next message after an outage of its network.
fn next(worker: &Worker) -> Message {
    worker.within(BACK).unwrap_or_else(|| panic!("nothing comes for worker {}", worker.name()))
}

/// The number of connections between the host's machine and the other one.
fn connections_to_far(host: &Host) -> usize {
    let far = format!("{:08X}", u32::from_le_bytes(FAR.octets()));
    // A socket of IPv6 has its connections of IPv4 there, as addresses that end like these.
    let table = |name| fs::read_to_string(format!("/proc/{}/net/{name}", host.id())).unwrap();
    let tables = [table("tcp"), table("tcp6")].concat();
    let fields = tables.lines().map(|line| line.split_whitespace().skip(2).take(2).collect::<Vec<_>>());
    // The remote address with its port, and the state 01: established.
    let is_far = |other: &str| other.split(':').next().is_some_and(|address| address.ends_with(&far));
    fields.filter(|fields| matches!(fields[..], [other, "01"] if is_far(other))).count()
}
