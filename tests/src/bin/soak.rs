//! Runs framegate for a long time with random faults; started by `tests/soak` or directly.
//!
//! Exit status: 0 when nothing was lost and nothing grew, 1 otherwise.

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use framegate_tests::soak::{Wish, run};

/// Plays random scans with random faults, and accounts for every event. Every scan follows from the seed and its number.
#[derive(Debug, Parser)]
struct Arguments {
    /// How long.
    #[arg(long, default_value = "60")]
    minutes: f64,
    /// The seed; a new one unless told.
    #[arg(long)]
    seed: Option<u64>,
    /// The first scan.
    #[arg(long, default_value = "0")]
    first: u32,
    /// How many scans at most.
    #[arg(long, default_value = "4294967295")]
    scans: u32,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    let time = Duration::from_secs_f64(arguments.minutes.max(0.0) * 60.0);
    println!("seed {seed}");
    let wish = Wish { seed, first: arguments.first, scans: arguments.scans, time };
    match run(&wish, |plan| println!("{plan}")) {
        Ok(report) => {
            println!("\n{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("\nWRONG (seed {seed}): {error:#}");
            ExitCode::FAILURE
        }
    }
}
