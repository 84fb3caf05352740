//! Goals: a figure of one side in a row, alone or compared with another side, and its bounds. Pure. `list` has all of
//! them.

pub(crate) mod list;

use std::fmt;

use framegate_tests::bench::{ends::Kind, spread::Spread};
use serde::Serialize;

use crate::{compare::Rounds, measure::Measured, rows::Row, sides::Side};

/// A median of fewer rounds says too little.
pub(crate) const ROUNDS: usize = 5;

/// One goal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goal {
    pub(crate) row: &'static str,
    /// What the ends must be made of.
    pub(crate) ends: Kind,
    /// The side of the figure.
    pub(crate) side: Side,
    pub(crate) figure: Figure,
    pub(crate) beside: Beside,
    pub(crate) must: Bound,
    /// Only reported. The same kind of bound as `must`.
    pub(crate) stretch: Option<f64>,
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
    /// Context switches per event.
    Switches,
    /// Peak memory, MiB.
    Memory,
    /// Events per second of the other workers until a stalled worker stops everything.
    RateUntilFull,
    /// The same after the stalled worker was given up.
    RateAfter,
}

/// What the figure is compared with, in the same round.
#[derive(Debug, Clone, Copy)]
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
    Row(&'static str),
    /// The ratio to a side, relative to the same ratio in another row.
    SideInRow(Side, &'static str),
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

/// The result of a goal.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Verdict {
    /// What is measured.
    pub(crate) what: String,
    pub(crate) value: Spread,
    pub(crate) must: Judged,
    pub(crate) stretch: Option<Judged>,
}

/// A bound, and whether it is reached.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Judged {
    pub(crate) bound: String,
    pub(crate) is_reached: bool,
}

impl Goal {
    pub(crate) const fn stretch(self, bound: f64) -> Self {
        Self { stretch: Some(bound), ..self }
    }

    pub(crate) const fn with_libzmq(self) -> Self {
        Self { ends: Kind::Zmq, ..self }
    }

    /// Whether there is a row, and all that it is compared with. Otherwise it would never be judged.
    pub(crate) fn is_measurable(&self, rows: &[&Row]) -> bool {
        let has = |row: &str, side: Side| rows.iter().any(|one| one.name == row && one.sides.contains(&side));
        let beside = match self.beside {
            Beside::Nothing => true,
            Beside::Side(side) | Beside::RateOf(side) | Beside::MoreThan(side) | Beside::TimesLess(side) => {
                has(self.row, side)
            }
            Beside::Row(row) => has(row, self.side),
            Beside::SideInRow(side, row) => has(self.row, side) && has(row, side) && has(row, self.side),
        };
        has(self.row, self.side) && beside
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
            Some(match self.beside {
                Beside::Nothing => figure,
                Beside::Side(side) => figure / of(own, side, round)?,
                Beside::RateOf(side) => figure / measured(own, side, round, Figure::Rate)?,
                Beside::MoreThan(side) => figure - of(own, side, round)?,
                Beside::TimesLess(side) => of(own, side, round)? / figure,
                Beside::Row(row) => figure / of(in_row(row)?, self.side, round)?,
                Beside::SideInRow(side, row) => {
                    let other = in_row(row)?;
                    (figure / of(own, side, round)?) / (of(other, self.side, round)? / of(other, side, round)?)
                }
            })
        };
        let value = Spread::of((0..own.count()).filter_map(value))?;
        let stretch = self.stretch.map(|stretch| self.must.with(stretch).judge(&value));
        Some(Verdict { what: self.words(), value, must: self.must.judge(&value), stretch })
    }

    fn words(&self) -> String {
        let figure = match self.figure {
            Figure::Rate => "events/s",
            Figure::Cpu => "CPU",
            Figure::CpuPerFrame => "CPU per frame",
            Figure::Latency => "p50 µs",
            Figure::Switches => "switches per event",
            Figure::Memory => "peak MiB",
            Figure::RateUntilFull => "events/s until the limit",
            Figure::RateAfter => "events/s after the timeout",
        };
        let beside = match self.beside {
            Beside::Nothing => String::new(),
            Beside::Side(side) | Beside::RateOf(side) => format!(" : {}", side.name()),
            Beside::MoreThan(side) => format!(" − {}", side.name()),
            Beside::TimesLess(side) => format!(", times less than {}", side.name()),
            Beside::Row(row) => format!(" : {row}"),
            Beside::SideInRow(side, row) => format!(" : {} : the same in {row}", side.name()),
        };
        format!("{figure} of {}{beside}", self.side.name())
    }
}

impl Bound {
    /// The same kind of bound with another figure.
    fn with(self, bound: f64) -> Self {
        match self {
            Self::Least(_) => Self::Least(bound),
            Self::Most(_) => Self::Most(bound),
            Self::LeastOfMost(_) => Self::LeastOfMost(bound),
            Self::MostOfMost(_) => Self::MostOfMost(bound),
        }
    }

    fn judge(self, value: &Spread) -> Judged {
        let is_reached = match self {
            Self::Least(least) => value.median >= least,
            Self::Most(most) => value.median <= most,
            Self::LeastOfMost(least) => value.high >= least,
            Self::MostOfMost(most) => value.low <= most,
        };
        Judged { bound: self.to_string(), is_reached }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Least(least) | Self::LeastOfMost(least) => write!(f, "≥ {least}"),
            Self::Most(most) | Self::MostOfMost(most) => write!(f, "≤ {most}"),
        }
    }
}

impl Figure {
    pub(crate) fn of(self, measured: &Measured, streams: usize) -> Option<f64> {
        match self {
            Self::Rate => Some(measured.rate),
            Self::Cpu => Some(measured.cpu_us),
            Self::CpuPerFrame => Some(measured.cpu_us / streams as f64),
            Self::Latency => measured.latency.map(|latency| latency.p50),
            Self::Switches => Some(measured.switches),
            Self::Memory => Some(measured.peak_mib),
            Self::RateUntilFull => measured.stall.map(|stall| stall.rate_before),
            Self::RateAfter => measured.stall.map(|stall| stall.rate_after),
        }
    }
}
