//! The rows, in groups: one for each dimension of framegate's load.

use framegate_tests::bench::ends::Kind;

use crate::{deal::Dealing, rows::Row, sides::Side};

/// Rows that are measured and shown together.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) rows: Vec<Row>,
}

/// All groups; the first is the default.
pub(crate) fn all() -> Vec<Group> {
    let group = |name, rows| Group { name, rows };
    vec![
        group("sizes", sizes()),
        group("workers", workers()),
        group("parts", parts()),
        group("streams", streams()),
        group("assignments", assignments()),
        group("capture", capture()),
        group("paced", paced()),
        group("stalled", stalled()),
        group("isolated", isolated()),
    ]
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// The relays, and framegate.
const RELAYS: [Side; 4] = [Side::Relay, Side::OneThread, Side::Raw, Side::Framegate];

fn sizes() -> Vec<Row> {
    let row = |name, payload, others: &[Side]| Row {
        sides: RELAYS.into_iter().chain(others.iter().copied()).collect(),
        ..Row::new(name, payload)
    };
    vec![
        row("64B", 64, &[Side::Linked, Side::Standalone, Side::Python]),
        row("1K", KIB, &[Side::Linked, Side::Python]),
        row("16K", 16 * KIB, &[Side::Python]),
        row("64K", 64 * KIB, &[Side::Python]),
        row("1M", MIB, &[Side::Python]),
        row("4M", 4 * MIB, &[Side::Python]),
        row("16M", 16 * MIB, &[Side::Python]),
        Row {
            workers: 8,
            broadcast: true,
            // Long enough that the first touch of its memory, a GiB that happens once per process, does not distort the
            // result: with 400 images it was a sixth of it.
            images: Some(1500),
            sides: vec![Side::Relay, Side::OneThread, Side::Framegate],
            ..Row::new("4M-to-8", 4 * MIB)
        },
    ]
}

/// How the cost grows with workers: compared with a relay with the same number, not at all.
fn workers() -> Vec<Row> {
    let mut rows = Vec::new();
    for (size, payload) in [("1K", KIB), ("64K", 64 * KIB)] {
        for (way, broadcast) in [("", false), ("-all", true)] {
            for workers in [1, 2, 8, 32] {
                let name = format!("{size}-to-{workers}{way}");
                rows.push(Row { workers, broadcast, ..Row::new(name, payload) });
            }
        }
    }
    rows
}

/// One worker, because the relay recognizes the end of a run by its single part.
fn parts() -> Vec<Row> {
    let sizes = [("64B", 64), ("4K", 4 * KIB)];
    let of = |(size, payload)| {
        [1, 2, 9, 100].map(|parts| Row { parts, workers: 1, ..Row::new(format!("{parts}x{size}"), payload) })
    };
    sizes.into_iter().flat_map(of).collect()
}

/// Every event has all streams. For the relay, each stream's image is a separate message.
fn streams() -> Vec<Row> {
    // Long enough for a steady state, even where queues of many MiB fill first.
    let row = |name, streams, ingesters| Row { streams, ingesters, images: Some(400_000), ..Row::new(name, KIB) };
    let in_one = [1, 2, 4, 8].map(|streams| row(format!("{streams}-in-one"), streams, 1));
    let several = [2, 4, 8].map(|ingesters| row(format!("{ingesters}-ingesters"), ingesters, ingesters));
    in_one.into_iter().chain(several).collect()
}

fn assignments() -> Vec<Row> {
    let row = |name, list, lists_at_once, ahead| Row {
        dealing: Dealing { list, lists_at_once, ahead },
        ..Row::new(name, 64)
    };
    let usual = Dealing::USUAL.ahead;
    vec![
        row("lists-of-1", 1, 200, usual),
        row("lists-of-100", 100, 2, usual),
        row("lists-of-10000", 10_000, 1, usual),
        Row { images: Some(1_000_000), ..row("million-ahead", 10_000, 1, None) },
        // Each event waits until Redis has answered for the previous one.
        Row { images: Some(20_000), ..row("round-trips", 1, 1, usual) },
    ]
}

fn capture() -> Vec<Row> {
    let row = |name, payload| Row {
        sides: vec![Side::Framegate, Side::CaptureTmpfs, Side::CaptureDisk, Side::Disk],
        ..Row::new(name, payload)
    };
    vec![row("1K-captured", KIB), row("1M-captured", MIB)]
}

/// Events one by one, at rates that leave the machine idle between them.
fn paced() -> Vec<Row> {
    let row = |name, payload, rate| Row { rate: Some(rate), sides: RELAYS.to_vec(), ..Row::new(name, payload) };
    let libzmq = |row: Row| Row { ends: Some(Kind::Zmq), ..row };
    vec![
        row("1kHz", KIB, 1_000.0),
        row("5kHz", KIB, 5_000.0),
        row("20kHz", KIB, 20_000.0),
        row("1M-200Hz", MIB, 200.0),
        libzmq(row("5kHz-libzmq", KIB, 5_000.0)),
        libzmq(row("1M-200Hz-libzmq", MIB, 200.0)),
    ]
}

/// Three workers in turn; two of them are measured.
fn stalled() -> Vec<Row> {
    vec![Row {
        workers: 3,
        apart: true,
        images: Some(3_000),
        // Long compared with the time in which the memory fills, so that a stall is visible.
        keys: "memory_limit = \"1 GiB\"\nworker_timeout = \"4 s\"\n",
        sides: vec![Side::Framegate, Side::Stalled],
        ..Row::new("one-of-three", 4 * MIB)
    }]
}

/// A source in this process, and in one of its own.
fn isolated() -> Vec<Row> {
    let sizes = [("64B", 64), ("1K", KIB), ("16K", 16 * KIB), ("64K", 64 * KIB), ("1M", MIB), ("4M", 4 * MIB)];
    let sides = || vec![Side::Framegate, Side::Isolated];
    let full = sizes.map(|(size, payload)| Row { sides: sides(), ..Row::new(format!("{size}-isolated"), payload) });
    let paced = Row { rate: Some(1_000.0), sides: sides(), ..Row::new("1kHz-isolated", 64) };
    full.into_iter().chain([paced]).collect()
}
