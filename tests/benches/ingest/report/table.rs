//! A group as a table: a line for each side of a row, ratios to the row's first side, and the results of the limits
//! below.

use comfy_table::{CellAlignment, Table, presets};
use framegate_tests::bench::spread::Spread;

use crate::{
    compare::Rounds,
    limits::{Figure, Verdict},
    measure::Measured,
    sides::Side,
};

/// Prints a group.
pub(crate) fn print(group: &str, all: &[Rounds]) {
    let is_paced = all.iter().any(|rounds| rounds.row.rate.is_some());
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let mut heads = vec![group, "", "events/s", "ratio", "CPU µs", "ratio", "MiB", "switches"];
    heads.extend(if is_paced { &["p50 µs", "p99", "p99.9", "most"][..] } else { &[] });
    heads.extend(["generator", "workers", "control", "Redis"]);
    table.set_header(heads);
    for rounds in all {
        for side in &rounds.row.sides {
            if rounds.sides.contains_key(side) {
                table.add_row(line(rounds, *side, is_paced));
            }
        }
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("\n{table}");
}

/// Prints the results of the limits. Returns how many are missed.
pub(crate) fn judge(all: &[Rounds]) -> usize {
    let verdicts: Vec<(&str, Verdict)> = all
        .iter()
        .flat_map(|rounds| rounds.verdicts(all).into_iter().map(|verdict| (rounds.row.name.as_str(), verdict)))
        .collect();
    for (row, verdict) in &verdicts {
        let word = if verdict.is_held { "holds" } else { "MISSES" };
        println!("{row} {word} {}: {}", verdict.what, verdict.value);
    }
    verdicts.iter().filter(|(_, verdict)| !verdict.is_held).count()
}

fn line(rounds: &Rounds, side: Side, is_paced: bool) -> Vec<String> {
    let figure = |figure: fn(&Measured) -> f64, digits: usize| {
        let spread = rounds.spread(side, |measured| Some(figure(measured)));
        spread.map_or(NOTHING.to_owned(), |spread| format!("{:.digits$}", spread.median))
    };
    let ratio = |figure: Figure| {
        let of = |measured: &Measured| figure.of(measured, rounds.row.streams);
        let ratio = rounds.ratio(side, of).filter(|_| side != rounds.row.sides[0]);
        ratio.map_or(NOTHING.to_owned(), |ratio: Spread| ratio.to_string())
    };
    let percent = |share: fn(&Measured) -> f64| format!("{} %", figure(share, 0));
    let mut cells = vec![
        rounds.row.name.clone(),
        side.name().to_owned(),
        figure(|measured| measured.rate, 0),
        ratio(Figure::Rate),
        figure(|measured| measured.cpu_us, 2),
        ratio(Figure::Cpu),
        figure(|measured| measured.peak_mib, 0),
        figure(|measured| measured.switches, 3),
    ];
    if is_paced {
        for latency in [
            |measured: &Measured| measured.latency.map(|latency| latency.p50),
            |measured: &Measured| measured.latency.map(|latency| latency.p99),
            |measured: &Measured| measured.latency.map(|latency| latency.p999),
            |measured: &Measured| measured.latency.map(|latency| latency.max),
        ] {
            let spread = rounds.spread(side, latency);
            cells.push(spread.map_or(NOTHING.to_owned(), |spread| format!("{:.0}", spread.median)));
        }
    }
    cells.extend([
        percent(|measured| measured.shares.generator * 100.0),
        percent(|measured| measured.shares.workers * 100.0),
        percent(|measured| measured.shares.controller * 100.0),
        percent(|measured| measured.shares.redis * 100.0),
    ]);
    cells
}

const NOTHING: &str = "–";
