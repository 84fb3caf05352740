//! The goals as data. BENCHMARKING.md has the same tables.

use framegate_tests::bench::ends::Kind;

use super::{Beside, Bound, Figure, Goal};
use crate::sides::Side;

/// All goals.
pub(crate) const GOALS: &[Goal] = &[
    // Full load, relative to the relay: must, stretch.
    rate("64B", 1.15).stretch(1.5),
    cpu("64B", 0.82).stretch(0.5),
    rate("1K", 1.5).stretch(1.8),
    cpu("1K", 0.62).stretch(0.5),
    rate("16K", 2.8).stretch(3.2),
    cpu("16K", 0.33).stretch(0.28),
    rate("64K", 1.5).stretch(1.7),
    cpu("64K", 0.65).stretch(0.55),
    rate("1M", 1.2).stretch(1.35),
    cpu("1M", 0.82).stretch(0.7),
    rate("4M", 1.15).stretch(1.3),
    cpu("4M", 0.85).stretch(0.75),
    rate("4M-to-8", 1.05).stretch(1.1),
    cpu("4M-to-8", 0.95).stretch(0.85),
    // The same with detectors and workers on libzmq.
    cpu("64B", 1.0).with_libzmq(),
    cpu("1K", 0.75).with_libzmq(),
    cpu("16K", 0.6).with_libzmq(),
    cpu("1M", 0.75).with_libzmq(),
    cpu("4M-to-8", 1.0).with_libzmq(),
    // Times less CPU than Python.
    framegate("64B", Figure::Cpu, Beside::TimesLess(Side::Python), Bound::Least(80.0)),
    framegate("16K", Figure::Cpu, Beside::TimesLess(Side::Python), Bound::Least(10.0)),
    framegate("64B", Figure::Memory, Beside::Nothing, Bound::Most(50.0)),
    // Paced.
    cpu("1kHz", 0.65),
    cpu("5kHz", 0.55),
    cpu("20kHz", 0.75),
    cpu("1M-200Hz", 1.2).stretch(1.0),
    cpu("5kHz-libzmq", 0.75).with_libzmq(),
    cpu("1M-200Hz-libzmq", 1.35).stretch(1.0).with_libzmq(),
    cpu_of_one_thread("1kHz", 1.8),
    cpu_of_one_thread("5kHz", 1.8),
    cpu_of_one_thread("20kHz", 1.4),
    cpu_of_one_thread("1M-200Hz", 1.15),
    latency("1kHz", 0.0),
    latency("5kHz", 0.0),
    latency("20kHz", 0.0),
    latency("1M-200Hz", 60.0).stretch(0.0),
    latency("5kHz-libzmq", 0.0).with_libzmq(),
    framegate("5kHz", Figure::Switches, Beside::Nothing, Bound::Most(1.7)),
    // Eight streams.
    cpu("8-in-one", 0.75),
    framegate("8-in-one", Figure::CpuPerFrame, Beside::Row("1-in-one"), Bound::Most(1.05)),
    framegate("8-in-one", Figure::Memory, Beside::Nothing, Bound::Most(130.0)),
    // With 32 workers the ratio is no worse than with 2.
    no_worse("1K-to-32", Figure::Rate, "1K-to-2", Bound::LeastOfMost(1.0)),
    no_worse("1K-to-32", Figure::Cpu, "1K-to-2", Bound::MostOfMost(1.0)),
    no_worse("1K-to-32-all", Figure::Rate, "1K-to-2-all", Bound::LeastOfMost(1.0)),
    no_worse("1K-to-32-all", Figure::Cpu, "1K-to-2-all", Bound::MostOfMost(1.0)),
    no_worse("64K-to-32", Figure::Rate, "64K-to-2", Bound::LeastOfMost(1.0)),
    no_worse("64K-to-32", Figure::Cpu, "64K-to-2", Bound::MostOfMost(1.0)),
    no_worse("64K-to-32-all", Figure::Rate, "64K-to-2-all", Bound::LeastOfMost(1.0)),
    no_worse("64K-to-32-all", Figure::Cpu, "64K-to-2-all", Bound::MostOfMost(1.0)),
    captured(Side::CaptureTmpfs, 0.8),
    captured(Side::CaptureDisk, 0.8),
    // A source in a process of its own, with one copy more, relative to the same in this one.
    isolated("64B-isolated", Figure::Cpu, Bound::Most(1.25)),
    isolated("1K-isolated", Figure::Cpu, Bound::Most(1.15)),
    isolated("16K-isolated", Figure::Cpu, Bound::Most(1.1)),
    isolated("64K-isolated", Figure::Cpu, Bound::Most(1.25)),
    isolated("1M-isolated", Figure::Cpu, Bound::Most(1.2)),
    isolated("4M-isolated", Figure::Cpu, Bound::Most(1.2)),
    isolated("64B-isolated", Figure::Rate, Bound::Least(0.85)),
    isolated("1K-isolated", Figure::Rate, Bound::Least(0.85)),
    isolated("16K-isolated", Figure::Rate, Bound::Least(0.85)),
    isolated("64K-isolated", Figure::Rate, Bound::Least(0.85)),
    isolated("1M-isolated", Figure::Rate, Bound::Least(0.85)),
    isolated("4M-isolated", Figure::Rate, Bound::Least(0.85)),
    Goal {
        side: Side::Isolated,
        ..framegate("1kHz-isolated", Figure::Latency, Beside::MoreThan(Side::Framegate), Bound::Most(12.0))
    },
    // A worker that stalls. The row's `memory_limit` is 1 GiB.
    stalled(Figure::Memory, Beside::Nothing, Bound::Most(1024.0 + 100.0)),
    stalled(Figure::RateUntilFull, Beside::RateOf(Side::Framegate), Bound::Least(0.9)),
    stalled(Figure::RateAfter, Beside::RateOf(Side::Framegate), Bound::LeastOfMost(1.0)),
];

const fn framegate(row: &'static str, figure: Figure, beside: Beside, must: Bound) -> Goal {
    Goal { row, ends: Kind::Tcp, side: Side::Framegate, figure, beside, must, stretch: None }
}

/// Minimum events per second, relative to the relay.
const fn rate(row: &'static str, least: f64) -> Goal {
    framegate(row, Figure::Rate, Beside::Side(Side::Relay), Bound::Least(least))
}

/// Maximum CPU per event, relative to the relay.
const fn cpu(row: &'static str, most: f64) -> Goal {
    framegate(row, Figure::Cpu, Beside::Side(Side::Relay), Bound::Most(most))
}

const fn cpu_of_one_thread(row: &'static str, most: f64) -> Goal {
    framegate(row, Figure::Cpu, Beside::Side(Side::OneThread), Bound::Most(most))
}

/// How much longer than with the relay an event may take, as a median in µs.
const fn latency(row: &'static str, most: f64) -> Goal {
    framegate(row, Figure::Latency, Beside::MoreThan(Side::Relay), Bound::Most(most))
}

const fn no_worse(row: &'static str, figure: Figure, than: &'static str, must: Bound) -> Goal {
    framegate(row, figure, Beside::SideInRow(Side::Relay, than), must)
}

const fn captured(side: Side, least: f64) -> Goal {
    let beside = Beside::Side(Side::Framegate);
    Goal { side, ..framegate("1K-captured", Figure::Rate, beside, Bound::Least(least)) }
}

const fn stalled(figure: Figure, beside: Beside, must: Bound) -> Goal {
    Goal { side: Side::Stalled, ..framegate("one-of-three", figure, beside, must) }
}

const fn isolated(row: &'static str, figure: Figure, must: Bound) -> Goal {
    Goal { side: Side::Isolated, ..framegate(row, figure, Beside::Side(Side::Framegate), must) }
}
