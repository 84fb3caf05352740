//! The limits of a row: a figure of one side, alone or compared with another side, and its bound. Pure.

use framegate_tests::bench::spread::Spread;
use serde::Serialize;

use crate::{compare::Rounds, measure::Measured, sides::Side};

/// One limit.
#[derive(Debug, Clone)]
pub(crate) struct Limit {
    /// The side of the figure.
    pub(crate) side: Side,
    pub(crate) figure: Figure,
    pub(crate) beside: Beside,
    pub(crate) bound: Bound,
}

/// A figure of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    /// Events per second.
    Rate,
    /// CPU per event.
    Cpu,
    /// CPU per event and stream.
    CpuPerFrame,
    /// The median latency.
    Latency,
    /// Peak memory, MiB.
    Memory,
    /// Events per second of the other workers until a stalled worker stops everything.
    RateUntilFull,
    /// The same after the stalled worker was given up.
    RateAfter,
}

/// What the figure is compared with, in the same round.
#[derive(Debug, Clone)]
pub(crate) enum Beside {
    Nothing,
    /// Ratio to another side's figure.
    Side(Side),
    /// Ratio to another side's events per second, over its whole run.
    RateOf(Side),
    /// Difference to another side's figure.
    MoreThan(Side),
    /// Ratio of another side's figure to this one.
    TimesLess(Side),
    /// Ratio to the same side's figure in another row.
    Row(String),
    /// The ratio to a side, relative to the same ratio in another row.
    SideInRow(Side, String),
}

/// The bound.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    /// The median is at least, or at most, this.
    Least(f64),
    Most(f64),
    /// The same where the two differ only by noise: missed only if most rounds miss it.
    LeastOfMost(f64),
    MostOfMost(f64),
}

/// The result of a limit.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Verdict {
    /// Description, with the limit.
    pub(crate) what: String,
    pub(crate) value: Spread,
    pub(crate) is_held: bool,
}

impl Limit {
    pub(crate) fn of(side: Side, figure: Figure, beside: Beside, bound: Bound) -> Self {
        Self { side, figure, beside, bound }
    }

    /// `None` if not everything it needs was measured.
    pub(crate) fn judge(&self, own: &Rounds, others: &[Rounds]) -> Option<Verdict> {
        let measured = |rounds: &Rounds, side: Side, round: usize, figure: Figure| {
            let measured = rounds.sides.get(&side)?.get(round)?;
            figure.of(measured, rounds.row.streams)
        };
        let of = |rounds: &Rounds, side: Side, round: usize| measured(rounds, side, round, self.figure);
        let in_row = |name: &str| others.iter().find(|rounds| rounds.row.name == name);
        let value = |round: usize| {
            let figure = of(own, self.side, round)?;
            Some(match &self.beside {
                Beside::Nothing => figure,
                Beside::Side(side) => figure / of(own, *side, round)?,
                Beside::RateOf(side) => figure / measured(own, *side, round, Figure::Rate)?,
                Beside::MoreThan(side) => figure - of(own, *side, round)?,
                Beside::TimesLess(side) => of(own, *side, round)? / figure,
                Beside::Row(row) => figure / of(in_row(row)?, self.side, round)?,
                Beside::SideInRow(side, row) => {
                    let other = in_row(row)?;
                    (figure / of(own, *side, round)?) / (of(other, self.side, round)? / of(other, *side, round)?)
                }
            })
        };
        let value = Spread::of((0..own.count()).filter_map(value))?;
        let is_held = match self.bound {
            Bound::Least(least) => value.median >= least,
            Bound::Most(most) => value.median <= most,
            Bound::LeastOfMost(least) => value.high >= least,
            Bound::MostOfMost(most) => value.low <= most,
        };
        Some(Verdict { what: self.words(), value, is_held })
    }

    fn words(&self) -> String {
        let figure = match self.figure {
            Figure::Rate => "events/s",
            Figure::Cpu => "CPU",
            Figure::CpuPerFrame => "CPU per frame",
            Figure::Latency => "p50 µs",
            Figure::Memory => "peak MiB",
            Figure::RateUntilFull => "events/s until the limit",
            Figure::RateAfter => "events/s after the timeout",
        };
        let beside = match &self.beside {
            Beside::Nothing => String::new(),
            Beside::Side(side) | Beside::RateOf(side) => format!(" : {}", side.name()),
            Beside::MoreThan(side) => format!(" − {}", side.name()),
            Beside::TimesLess(side) => format!(", times less than {}", side.name()),
            Beside::Row(row) => format!(" : {row}"),
            Beside::SideInRow(side, row) => format!(" : {} : the same in {row}", side.name()),
        };
        let bound = match self.bound {
            Bound::Least(least) | Bound::LeastOfMost(least) => format!("≥ {least}"),
            Bound::Most(most) | Bound::MostOfMost(most) => format!("≤ {most}"),
        };
        format!("{figure} of {}{beside} {bound}", self.side.name())
    }
}

impl Figure {
    pub(crate) fn of(self, measured: &Measured, streams: usize) -> Option<f64> {
        match self {
            Self::Rate => Some(measured.rate),
            Self::Cpu => Some(measured.cpu_us),
            Self::CpuPerFrame => Some(measured.cpu_us / streams as f64),
            Self::Latency => measured.latency.map(|latency| latency.p50),
            Self::Memory => Some(measured.peak_mib),
            Self::RateUntilFull => measured.stall.map(|stall| stall.rate_before),
            Self::RateAfter => measured.stall.map(|stall| stall.rate_after),
        }
    }
}
