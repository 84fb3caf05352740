//! Everything in framegate that parses what comes from outside, as functions of bytes.
//!
//! A [`Target`] is such a function with the seeds from which nonsense is made: real captures, and the tables that the parsers are held
//! against. It panics when something is wrong that can be seen from outside: a panic inside, events that no order of a run can
//! have, bytes that do not come back. Two drive them: `tests/short.rs`, in every run of the tests, with [`mutate`]; and libFuzzer
//! (`libfuzzer/`), which finds its way by coverage, with `tests/run fuzz`.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod elf;
pub mod mutate;
mod outside;
mod packed;
pub mod seeds;
mod sources;

/// One parser under test.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// What people call it.
    pub name: &'static str,
    /// Feeds it; panics when something is wrong.
    pub feed: fn(&[u8]),
    /// What it normally gets.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: [Target; 17] = [
    Target { name: "updates", feed: outside::updates, seeds: seeds::updates },
    Target { name: "assignments", feed: outside::assignments, seeds: seeds::assignments },
    Target { name: "connection", feed: outside::connection, seeds: seeds::connection },
    Target { name: "pings", feed: outside::pings, seeds: seeds::pings },
    Target { name: "capture", feed: outside::capture, seeds: seeds::capture },
    Target { name: "settings", feed: outside::settings, seeds: seeds::settings },
    Target { name: "note", feed: outside::note, seeds: seeds::note },
    Target { name: "json", feed: sources::json, seeds: seeds::json },
    Target { name: "stins", feed: sources::stins, seeds: seeds::stins },
    Target { name: "eiger-legacy", feed: sources::eiger_legacy, seeds: seeds::eiger_legacy },
    Target { name: "albaem", feed: sources::albaem, seeds: seeds::albaem },
    Target { name: "contrast", feed: sources::contrast, seeds: seeds::contrast },
    Target { name: "lecroy", feed: sources::lecroy, seeds: seeds::lecroy },
    Target { name: "pcap", feed: sources::pcap, seeds: seeds::pcap },
    Target { name: "pcap-raw", feed: sources::pcap_raw, seeds: seeds::pcap_raw },
    Target { name: "sardana", feed: sources::sardana, seeds: seeds::sardana },
    Target { name: "xspress", feed: sources::xspress, seeds: seeds::xspress },
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}
