//! A group as a table: a line for each side of a row, ratios to the row's first side, and the results of the goals
//! below.

use comfy_table::{CellAlignment, Table, presets};
use framegate_tests::bench::spread::Spread;

use crate::{
    compare::Rounds,
    goals::{Figure, Verdict},
    measure::Measured,
    sides::Side,
};

/// Prints a group.
pub(crate) fn print(group: &str, all: &[Rounds]) {
    let is_paced = all.iter().any(|rounds| rounds.row.rate.is_some());
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let mut heads = vec![group, "", "events/s", "ratio", "CPU µs", "ratio", "MiB"];
    heads.extend(["threads", "switches", "delay µs", "faults"]);
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
    print_aligned(table, 2);
}

/// Prints a table; the figures begin after `words` columns.
fn print_aligned(mut table: Table, words: usize) {
    for column in table.column_iter_mut().skip(words) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("\n{table}");
}

/// Prints the results of the goals. Returns how many are missed.
pub(crate) fn judge(all: &[Rounds]) -> usize {
    let of_row = |rounds: &Rounds| {
        let name = rounds.row.name.clone();
        rounds.verdicts(all).into_iter().map(move |verdict| (name.clone(), verdict)).collect::<Vec<_>>()
    };
    let verdicts: Vec<(String, Verdict)> = all.iter().flat_map(of_row).collect();
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["goal", "", "measured", "must", "", "stretch", ""]);
    let word = |is_reached: bool| if is_reached { "reached" } else { "MISSED" };
    for (row, verdict) in &verdicts {
        let Verdict { what, value, must, stretch } = verdict;
        let mut cells = vec![row.clone(), what.clone(), value.to_string()];
        for bound in [Some(must), stretch.as_ref()] {
            cells.push(bound.map_or(NOTHING.to_owned(), |bound| bound.bound.to_string()));
            cells.push(bound.map_or(String::new(), |bound| word(bound.is_reached).to_owned()));
        }
        table.add_row(cells);
    }
    if !verdicts.is_empty() {
        print_aligned(table, 2);
    }
    verdicts.iter().filter(|(_, verdict)| !verdict.must.is_reached).count()
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
        figure(|measured| measured.threads as f64, 0),
        figure(|measured| measured.switches, 3),
        figure(|measured| measured.delay_us, 2),
        figure(|measured| measured.faults, 3),
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
