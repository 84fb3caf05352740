//! Measures the cost of each source: compared with dranspose's own ingester of the same class, and with a bare relay of
//! libzmq.
//!
//!     cargo bench -p framegate-tests --bench sources              all sources, seven rounds, compared with the limits below
//!     cargo bench -p framegate-tests --bench sources -- --smoke   a few seconds for each, no limits: shows that it works
//!
//! Also `--rounds N` and `--only ROW`. Each source gets the capture of a real detector in a loop. framegate and
//! dranspose are started with the same command line, between the same Redis, a simulated controller that assigns every
//! event, and a worker; the relay only forwards the same messages. In a round all of them run one after the other.
//! Ratios are of CPU time per event within a round, and the median is over all rounds: a machine that slows down slows
//! all of them.

mod detector;
mod measure;
#[path = "../ingest/relay.rs"]
mod relay;
mod rows;
mod worker;

use std::process::ExitCode;

use anyhow::bail;
use clap::Parser as _;
use framegate_tests::bench::{Flags, Options, spread::median};

use measure::{Forwarder, Measured, measure};
use rows::{Detector, ROWS, Row};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.is_empty() {
        // `cargo test --all-targets` starts benchmarks too, without `--bench`.
        println!("run with: cargo bench -p framegate-tests --bench sources");
        return ExitCode::SUCCESS;
    }
    let result = match args.first().map(String::as_str) {
        Some("relay") => forward(&args[1..]).map(|()| ExitCode::SUCCESS),
        _ => compare(&Flags::parse().options),
    };
    result.unwrap_or_else(|error| {
        eprintln!("sources: {error:#}");
        ExitCode::FAILURE
    })
}

/// The relay's own process.
fn forward(args: &[String]) -> anyhow::Result<()> {
    match args {
        [pattern, upstream, port] => {
            let pattern = if pattern == "pull" { zmq::PULL } else { zmq::SUB };
            relay::run(pattern, &[upstream], port, 1, false)
        }
        other => bail!("the relay does not understand {other:?}"),
    }
}

/// The results of a round; not every row has a relay.
type Round = (Option<Measured>, Measured, Measured);

fn compare(options: &Options) -> anyhow::Result<ExitCode> {
    println!(
        "{:>18} | {:>7} | {:^29} | {:^29} | {:^15} | {:^15}",
        "", "bytes", "events/s", "CPU µs per event", "× less CPU", "× the relay's"
    );
    println!(
        "{:>18} | {:>7} | {:>9} {:>9} {:>9} | {:>9} {:>9} {:>9} | {:>8} {:>6} | {:>8} {:>6}",
        "source",
        "/event",
        "relay",
        "framegate",
        "Python",
        "relay",
        "framegate",
        "Python",
        "Python",
        "least",
        "CPU",
        "most"
    );
    let mut missed = 0;
    for row in ROWS {
        if !options.wants(row.name) {
            continue;
        }
        let traffic = row.traffic();
        let few = |loops: u64| if options.smoke { (loops / 50).max(2) } else { loops };
        let (many, fewer) = (few(row.loops.0), few(row.loops.1));
        let mut rounds = Vec::new();
        for round in 0..options.rounds() {
            let relay = || match row.detector {
                Detector::Push | Detector::Publish => measure(&row, &traffic, Forwarder::Relay, many).map(Some),
                Detector::Tcp | Detector::Http => Ok(None),
            };
            // The order alternates.
            let first = if round % 2 == 0 { relay()? } else { None };
            let framegate = measure(&row, &traffic, Forwarder::Framegate, many)?;
            let python = measure(&row, &traffic, Forwarder::Python, fewer)?;
            let relay = if round % 2 == 0 { first } else { relay()? };
            rounds.push((relay, framegate, python));
        }
        missed += usize::from(!show(&row, row.bytes(&traffic), &rounds));
    }
    if options.smoke || missed == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    println!("{missed} rows miss a limit");
    Ok(ExitCode::FAILURE)
}

/// Prints a row; returns whether it is within its limit.
fn show(row: &Row, bytes: u64, rounds: &[Round]) -> bool {
    let of = |value: &dyn Fn(&Round) -> Option<f64>| {
        let values: Vec<f64> = rounds.iter().filter_map(value).collect();
        (!values.is_empty()).then(|| median(values))
    };
    let less = of(&|(_, framegate, python)| Some(python.cpu_us / framegate.cpu_us)).unwrap_or(0.0);
    let more = of(&|(relay, framegate, _)| relay.map(|relay| framegate.cpu_us / relay.cpu_us));
    let (least, most) = if bytes < SMALL { (Some(LEAST), None) } else { (None, Some(MOST)) };
    let whole = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.0}"));
    let fine = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.2}"));
    println!(
        "{:>18} | {:>7} | {:>9} {:>9} {:>9} | {:>9} {:>9} {:>9} | {:>8.1} {:>6} | {:>8} {:>6}   {:>4.0} MiB, Python {:.0}",
        row.name,
        bytes,
        whole(of(&|(relay, ..)| relay.map(|relay| relay.rate))),
        whole(of(&|(_, framegate, _)| Some(framegate.rate))),
        whole(of(&|(.., python)| Some(python.rate))),
        fine(of(&|(relay, ..)| relay.map(|relay| relay.cpu_us))),
        fine(of(&|(_, framegate, _)| Some(framegate.cpu_us))),
        fine(of(&|(.., python)| Some(python.cpu_us))),
        less,
        whole(least),
        fine(more),
        fine(most),
        of(&|(_, framegate, _)| Some(framegate.peak_mib)).unwrap_or(0.0),
        of(&|(.., python)| Some(python.peak_mib)).unwrap_or(0.0),
    );
    least.is_none_or(|least| less >= least) && most.zip(more).is_none_or(|(most, more)| more <= most)
}

/// An event smaller than this is compared with Python, a larger one with the relay.
const SMALL: u64 = 4 << 10;
/// Minimum ratio of Python's CPU per event to framegate's.
const LEAST: f64 = 10.0;
/// CPU per event relative to the relay.
const MOST: f64 = 1.2;
