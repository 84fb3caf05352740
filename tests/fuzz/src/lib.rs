//! All parsers of external input in framegate, as functions of bytes.
//!
//! A [`Target`] is such a function with seeds: real captures, and the tables that the parsers are tested with. It
//! panics if the parser panics or gives a visibly wrong result: an impossible order of events, or bytes that are never
//! freed. Two programs call the targets: `tests/short.rs`, in every run of the tests, with [`mutate`]; and libFuzzer
//! (`libfuzzer/`), guided by coverage, with `tests/run fuzz`.
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
    /// The target's name.
    pub name: &'static str,
    /// Feeds it an input; panics if the result is wrong.
    pub feed: fn(&[u8]),
    /// Examples of its usual input.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub const TARGETS: [Target; 18] = [
    Target { name: "updates", feed: outside::updates, seeds: seeds::updates },
    Target { name: "assignments", feed: outside::assignments, seeds: seeds::assignments },
    Target { name: "connection", feed: outside::connection, seeds: seeds::connection },
    Target { name: "zmtp", feed: outside::zmtp, seeds: seeds::zmtp },
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

/// The target with this name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}
