//! Measures framegate's cost, compared with bare relays, other variants of framegate, and dranspose's ingester.
//!
//!     cargo bench-ingest                     the group `sizes`, seven rounds, compared with its goals
//!     cargo bench-ingest --group paced       another group
//!     cargo bench-ingest --all --json FILE   everything
//!
//! BENCHMARKING.md describes it. `groups` has the rows, `compare` the order, `measure` does one run: a generator, a
//! forwarder and workers, each a process (`sides`, and `framegate_tests::bench::ends`), and between them Redis and a
//! simulated controller (`deal`). `goals` and `report` evaluate the results. It builds and sets up everything it needs.

mod compare;
mod deal;
mod goals;
mod groups;
mod measure;
mod one_thread;
mod raw;
mod relay;
mod report;
mod roles;
mod rows;
mod sides;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{bail, ensure};
use clap::Parser;
use framegate_tests::{
    bench::{Options, ends},
    python,
};

use goals::list::GOALS;
use groups::Group;
use sides::Side;

/// What framegate costs, beside a bare relay of libzmq
#[derive(Debug, Parser)]
#[command(bin_name = "cargo bench-ingest")]
struct Flags {
    #[command(flatten)]
    options: Options,
    /// This group of rows: sizes, workers, parts, streams, assignments, capture, paced, stalled
    #[arg(long, value_name = "NAME", default_value = "sizes")]
    group: String,
    /// All groups
    #[arg(long)]
    all: bool,
    /// What generator and workers are made of, in rows that do not say it themselves
    #[arg(long, value_enum, default_value = "tcp")]
    ends: ends::Kind,
    /// Write everything that was measured to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the ratios by payload to this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// What cargo says to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.is_empty() {
        // `cargo test --all-targets` starts benchmarks too, without `--bench`.
        println!("run with: cargo bench-ingest");
        return ExitCode::SUCCESS;
    }
    let result = match args.first().map(String::as_str) {
        Some("role") => roles::run(&args[1..]).map(|()| ExitCode::SUCCESS),
        _ => run(&Flags::parse()),
    };
    result.unwrap_or_else(|error| {
        eprintln!("bench-ingest: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(flags: &Flags) -> anyhow::Result<ExitCode> {
    let options = &flags.options;
    // To select one row, its group is not necessary.
    let is_wanted = |group: &Group| match &options.only {
        Some(only) => group.rows.iter().any(|row| row.name == *only),
        None => flags.all || options.smoke || group.name == flags.group,
    };
    let groups = groups::all();
    let rows: Vec<_> = groups.iter().flat_map(|group| &group.rows).collect();
    if let Some(goal) = GOALS.iter().find(|goal| !goal.is_measurable(&rows)) {
        bail!("a goal names a row or a side that does not exist: {goal:?}");
    }
    let wanted: Vec<_> = groups.into_iter().filter(is_wanted).collect();
    ensure!(!wanted.is_empty(), "no such group or row: see --help");
    if wanted.iter().flat_map(|group| &group.rows).any(|row| row.sides.contains(&Side::Python)) {
        python::set_up();
    }
    let mut missed = 0;
    let mut measured = Vec::new();
    for group in wanted {
        let name = group.name;
        let rounds = compare::compare(group, options, flags.ends)?;
        report::table::print(name, &rounds);
        // A smoke run is too short for goals.
        missed += if options.smoke { 0 } else { report::table::judge(&rounds) };
        measured.push((name, rounds));
    }
    if let Some(path) = &flags.json {
        report::json::write(path, &measured)?;
    }
    if let Some(path) = &flags.svg {
        let Some((_, sizes)) = measured.iter().find(|(name, _)| *name == "sizes") else {
            bail!("the picture is of the group sizes, which was not measured");
        };
        report::plot::write(path, sizes)?;
    }
    if !options.smoke && options.rounds() < goals::ROUNDS {
        println!("goals are for medians of {} rounds or more, not of {}", goals::ROUNDS, options.rounds());
    }
    if missed == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    println!("{missed} goals are missed");
    Ok(ExitCode::FAILURE)
}
