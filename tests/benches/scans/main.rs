//! Measures the time of starts, scans and swaps, and the memory of streams, workers and generations.
//!
//!     cargo bench -p framegate-tests --bench scans              1000 scans, compared with the limits below
//!     cargo bench -p framegate-tests --bench scans -- --smoke   a few seconds, no limits: shows that it works
//!
//! Runs the real command with a real Redis and the STINS plugin loaded from its file; this program simulates
//! controller, detector and worker. Times are measured by the waiting side: from the request in Redis to its answer
//! there, or to the message at the worker.

mod facility;
mod memory;
mod swaps;
mod turnover;

use std::{process::ExitCode, time::Instant};

use clap::Parser as _;
use framegate_tests::bench::{Flags, Options, spread::median};

/// One row of the table.
#[derive(Debug)]
struct Row {
    name: &'static str,
    unit: &'static str,
    values: Vec<f64>,
    /// Maximum for the median.
    most: Option<f64>,
}

/// A row of milliseconds.
fn row(name: &'static str, most: Option<f64>) -> Row {
    Row { name, unit: "ms", values: Vec::new(), most }
}

impl Row {
    fn add(&mut self, began: Instant) {
        self.values.push(began.elapsed().as_secs_f64() * 1e3);
    }
}

fn main() -> ExitCode {
    if std::env::args().len() == 1 {
        // `cargo test --all-targets` starts benchmarks too, without `--bench`.
        println!("run with: cargo bench -p framegate-tests --bench scans");
        return ExitCode::SUCCESS;
    }
    match run(&Flags::parse().options) {
        Ok(exit) => exit,
        Err(error) => {
            eprintln!("scans: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<ExitCode> {
    println!(
        "{:>12} | {:>9} {:>9} {:>9} {:>9} {:>9} | {:<6}| what",
        "", "median", "p99", "longest", "most", "samples", "unit"
    );
    let mut rows = turnover::rows(options.smoke)?;
    rows.extend(swaps::rows(options.smoke)?);
    rows.extend(memory::rows(options.smoke)?);
    let mut missed = 0;
    for row in &mut rows {
        row.values.sort_by(f64::total_cmp);
        let (middle, count) = (median(row.values.clone()), row.values.len());
        let p99 = row.values[(count - 1) * 99 / 100];
        let limit = row.most.map_or_else(|| "-".to_owned(), |most| most.to_string());
        let (name, unit, longest) = (row.name, row.unit, row.values[count - 1]);
        println!(
            "{name:>12} | {middle:>9.2} {p99:>9.2} {longest:>9.2} {limit:>9} {count:>9} | {unit:<6}| {}",
            what(name)
        );
        missed += usize::from(row.most.is_some_and(|most| middle > most));
    }
    if options.smoke || missed == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    println!("{missed} rows miss a limit");
    Ok(ExitCode::FAILURE)
}

fn what(name: &str) -> &'static str {
    match name {
        "start" => "from the start of the process to its published state",
        "uuid" => "from a scan's update to its published uuid",
        "first-event" => "from the detector's first message, after that, to the worker",
        "finish" => "from the finish to its notice",
        "scan" => "a scan of three events, whole",
        "scans" => "scans a second, one after the other",
        "growth" => "memory of its own that it has more after all scans than after a tenth of them",
        "swap" => "from the word of `framegate swap`, between scans, until the new source is made",
        "swap-uuid" => "from the update of the scan in which it takes over to the published uuid",
        "swap-in-scan" => "as swap, while a scan is under way",
        "swap-after" => "as swap-uuid, right after that scan's end",
        "generation" => "memory for each further plugin file that was loaded, its mapped parts included",
        "stream" => "memory for each idle stream, with its plugin",
        "worker" => "memory for each connected worker",
        _ => "",
    }
}
