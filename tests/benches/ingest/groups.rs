//! The rows, in groups: one for each dimension of framegate's load.

use crate::{
    deal::Dealing,
    limits::{Beside, Bound, Figure, Limit},
    rows::Row,
    sides::Side,
};

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
        group("latency", latency()),
        group("stalled", stalled()),
    ]
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// The goal with libzmq on both sides: minimum events per second, maximum CPU per event, both relative to the relay.
fn goal(rate: f64, cpu: f64) -> Vec<Limit> {
    let beside = |figure, bound| Limit::of(Side::Framegate, figure, Beside::Side(Side::Relay), bound);
    vec![beside(Figure::Rate, Bound::Least(rate)), beside(Figure::Cpu, Bound::Most(cpu))]
}

fn sizes() -> Vec<Row> {
    let row = |name, payload, limits| Row {
        sides: vec![Side::Relay, Side::Framegate, Side::Python],
        limits,
        ..Row::new(name, payload)
    };
    let python = |times| Limit::of(Side::Framegate, Figure::Cpu, Beside::TimesLess(Side::Python), Bound::Least(times));
    let mut rows = vec![
        row("64B", 64, goal(0.9, 1.6)),
        row("1K", KIB, goal(1.0, 1.0)),
        row("16K", 16 * KIB, goal(1.2, 0.75)),
        row("64K", 64 * KIB, goal(1.1, 0.9)),
        row("1M", MIB, goal(1.05, 1.0)),
        row("4M", 4 * MIB, goal(1.0, 1.05)),
        row("16M", 16 * MIB, Vec::new()),
        Row {
            workers: 8,
            broadcast: true,
            // Long enough that the first touch of its memory, a GiB that happens once per process, does not distort the
            // result: with 400 images it was a sixth of it.
            images: Some(1500),
            sides: vec![Side::Relay, Side::Framegate],
            ..row("4M-to-8", 4 * MIB, goal(0.95, 1.0))
        },
    ];
    rows[0].sides = vec![Side::Relay, Side::Framegate, Side::Linked, Side::Standalone, Side::Python];
    rows[0].limits.push(Limit::of(Side::Standalone, Figure::Cpu, Beside::Side(Side::Relay), Bound::Most(1.25)));
    rows[0].limits.push(python(40.0));
    rows[1].sides = vec![Side::Relay, Side::Framegate, Side::Linked, Side::Python];
    rows[2].limits.push(python(6.0));
    rows
}

/// How the cost grows with workers: compared with a relay with the same number, not at all.
fn workers() -> Vec<Row> {
    let mut rows = Vec::new();
    for (size, payload) in [("1K", KIB), ("64K", 64 * KIB)] {
        for (way, broadcast) in [("", false), ("-all", true)] {
            for workers in [1, 2, 8, 32] {
                let mut row = Row { workers, broadcast, ..Row::new(format!("{size}-to-{workers}{way}"), payload) };
                if workers == 32 {
                    let two = Beside::SideInRow(Side::Relay, format!("{size}-to-2{way}"));
                    let no_worse = |figure, bound| Limit::of(Side::Framegate, figure, two.clone(), bound);
                    row.limits = vec![
                        no_worse(Figure::Rate, Bound::LeastOfMost(1.0)),
                        no_worse(Figure::Cpu, Bound::MostOfMost(1.0)),
                    ];
                }
                rows.push(row);
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
    let mut rows: Vec<_> = in_one.into_iter().chain(several).collect();
    rows[3].limits =
        vec![Limit::of(Side::Framegate, Figure::CpuPerFrame, Beside::Row("1-in-one".to_owned()), Bound::Most(1.15))];
    rows
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
    let row = |name, payload, bound: Option<Bound>| Row {
        sides: vec![Side::Framegate, Side::CaptureTmpfs, Side::CaptureDisk, Side::Disk],
        limits: bound.map_or(Vec::new(), |bound| {
            let limit = |side| Limit::of(side, Figure::Rate, Beside::Side(Side::Framegate), bound);
            vec![limit(Side::CaptureTmpfs), limit(Side::CaptureDisk)]
        }),
        ..Row::new(name, payload)
    };
    vec![row("1K-captured", KIB, Some(Bound::Least(0.8))), row("1M-captured", MIB, None)]
}

fn latency() -> Vec<Row> {
    let row = |name, payload, rate| Row { rate: Some(rate), ..Row::new(name, payload) };
    let mut rows = vec![
        row("1kHz", KIB, 1_000.0),
        row("5kHz", KIB, 5_000.0),
        row("20kHz", KIB, 20_000.0),
        row("1M-200Hz", MIB, 200.0),
    ];
    rows[1].limits =
        vec![Limit::of(Side::Framegate, Figure::Latency, Beside::MoreThan(Side::Relay), Bound::Most(35.0))];
    rows
}

/// Three workers in turn; two of them are measured.
fn stalled() -> Vec<Row> {
    let limit = |figure, beside, bound| Limit::of(Side::Stalled, figure, beside, bound);
    let undisturbed = || Beside::RateOf(Side::Framegate);
    vec![Row {
        workers: 3,
        apart: true,
        images: Some(3_000),
        // Long compared with the time in which the memory fills, so that a stall is visible.
        keys: "memory_limit = \"1 GiB\"\nworker_timeout = \"4 s\"\n",
        sides: vec![Side::Framegate, Side::Stalled],
        limits: vec![
            limit(Figure::Memory, Beside::Nothing, Bound::Most(1024.0 + 100.0)),
            limit(Figure::RateUntilFull, undisturbed(), Bound::Least(0.9)),
            limit(Figure::RateAfter, undisturbed(), Bound::LeastOfMost(1.0)),
        ],
        ..Row::new("one-of-three", 4 * MIB)
    }]
}
