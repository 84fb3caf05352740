//! Runs rounds: each round runs every row of a group with each of its sides, one after the other. The order alternates,
//! so a machine that slows down slows all of them.

use std::collections::BTreeMap;

use framegate_tests::bench::{Options, ends::Kind, spread::Spread};

use crate::{
    goals::{Verdict, list::GOALS},
    groups::Group,
    measure::{Measured, measure},
    rows::Row,
    sides::Side,
};

/// A row and the results of its rounds; the k-th results of all sides are from the same round.
#[derive(Debug)]
pub(crate) struct Rounds {
    pub(crate) row: Row,
    /// What its ends were made of.
    pub(crate) ends: Kind,
    pub(crate) sides: BTreeMap<Side, Vec<Measured>>,
}

impl Rounds {
    /// The number of rounds.
    pub(crate) fn count(&self) -> usize {
        self.sides.values().map(Vec::len).max().unwrap_or(0)
    }

    /// A figure of a side, over all rounds.
    pub(crate) fn spread(&self, side: Side, figure: impl Fn(&Measured) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.sides.get(&side)?.iter().filter_map(figure))
    }

    /// A figure of a side as a ratio to the first side's, round by round.
    pub(crate) fn ratio(&self, side: Side, figure: impl Fn(&Measured) -> Option<f64>) -> Option<Spread> {
        let first = self.row.sides[0];
        let pairs = self.sides.get(&side)?.iter().zip(self.sides.get(&first)?);
        Spread::of(pairs.filter_map(|(own, first)| Some(figure(own)? / figure(first)?)))
    }

    /// The results of the row's goals.
    pub(crate) fn verdicts(&self, all: &[Self]) -> Vec<Verdict> {
        let own = GOALS.iter().filter(|goal| goal.row == self.row.name && goal.ends == self.ends);
        own.filter_map(|goal| goal.judge(self, all)).collect()
    }
}

/// Runs the selected rows of a group.
pub(crate) fn compare(group: Group, options: &Options, kind: Kind) -> anyhow::Result<Vec<Rounds>> {
    let wanted = group.rows.into_iter().filter(|row| options.wants(&row.name));
    let rounds = |row: Row| Rounds { ends: row.ends.unwrap_or(kind), row, sides: BTreeMap::new() };
    let mut all: Vec<_> = wanted.map(rounds).collect();
    let count = options.rounds();
    for round in 0..count {
        for Rounds { row, ends, sides } in &mut all {
            let mut order = row.sides.clone();
            // Python takes seconds to start.
            order.retain(|side| !(options.smoke && *side == Side::Python && row.payload > 64));
            if round % 2 == 1 {
                order.reverse();
            }
            for side in order {
                let measured = measure(row, side, *ends, options.smoke)?;
                eprintln!(
                    "{} of {count}: {}, {}: {:.0} events/s, {:.2} µs",
                    round + 1,
                    row.name,
                    side.name(),
                    measured.rate,
                    measured.cpu_us
                );
                sides.entry(side).or_default().push(measured);
            }
        }
    }
    Ok(all)
}
