//! What framegate costs, against a bare relay of libzmq.
//!
//!     cargo bench -p framegate-tests --bench ingest              all sizes, seven rounds, held against the limits below
//!     cargo bench -p framegate-tests --bench ingest -- --smoke   a few seconds, no limits: shows that it works
//!
//! Also `--rounds N` and `--only ROW` (as in the table's first column). Load, forwarder and workers are processes of
//! their own; framegate is the real command with the STINS plugin loaded from its file. Rounds alternate between relay and framegate, and ratios are medians over pairs of
//! neighbouring runs: a machine that slows down slows both. CPU per event is the figure to trust first, because load and
//! workers share the machine. In the last row both sides are framegate: the same program with the STINS source loaded from
//! its file, and linked in, which is the price of the boundary.

mod measure;
mod relay;
mod roles;

use std::process::ExitCode;

use framegate_tests::bench::{Options, median};
use measure::{Measured, measure};

/// One row of the table.
#[derive(Debug, Clone, Copy)]
struct Case {
    name: &'static str,
    /// Bytes of an event's image.
    payload: usize,
    /// Enough for a second or two.
    events: u64,
    workers: usize,
    /// Every event goes to every worker.
    broadcast: bool,
    /// Events a second at least, relative to the relay.
    rate_limit: f64,
    /// CPU per event at most, relative to the relay.
    cpu_limit: f64,
    /// The relay, or who stands in its place; and who is held against it.
    sides: [Forwarder; 2],
}

const fn case(name: &'static str, payload: usize, events: u64, rate_limit: f64, cpu_limit: f64) -> Case {
    let sides = [Forwarder::Relay, Forwarder::Framegate];
    Case { name, payload, events, workers: 2, broadcast: false, rate_limit, cpu_limit, sides }
}

const CASES: [Case; 7] = [
    case("64B", 64, 400_000, 0.5, 2.5),
    case("1K", 1 << 10, 300_000, 0.8, 1.6),
    case("64K", 64 << 10, 30_000, 0.9, 1.2),
    case("1M", 1 << 20, 3_000, 0.95, 1.1),
    case("4M", 4 << 20, 800, 0.95, 1.1),
    // Long enough that the first touch of its memory, which a process does once, is not most of what is measured.
    Case { workers: 8, broadcast: true, ..case("4M-to-8", 4 << 20, 600, 0.9, 1.1) },
    Case { sides: [Forwarder::Linked, Forwarder::Loaded], ..case("64B-loaded", 64, 400_000, 0.97, 1.03) },
];

/// Who forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Forwarder {
    Relay,
    /// The command, with the STINS plugin loaded from its file.
    Framegate,
    /// This program with a host inside, and the STINS source linked into it.
    Linked,
    /// The same program, with the STINS plugin loaded from its file.
    Loaded,
}

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    if args.is_empty() {
        // `cargo test --all-targets` starts benchmarks too, without `--bench`.
        println!("run with: cargo bench -p framegate-tests --bench ingest");
        return ExitCode::SUCCESS;
    }
    args.retain(|arg| arg != "--bench");
    let result = match args.first().map(String::as_str) {
        Some("role") => roles::run(&args[1..]).map(|()| ExitCode::SUCCESS),
        _ => Options::read(&args).and_then(|options| compare(&options)),
    };
    result.unwrap_or_else(|error| {
        eprintln!("ingest: {error:#}");
        ExitCode::FAILURE
    })
}

fn compare(options: &Options) -> anyhow::Result<ExitCode> {
    println!(
        "{:>10} | {:>9} {:>9} {:>6} {:>6} | {:>8} {:>9} {:>6} {:>5} | {:>6} {:>9} {:>6}",
        "",
        "relay",
        "framegate",
        "ratio",
        "least",
        "relay",
        "framegate",
        "ratio",
        "most",
        "relay",
        "framegate",
        "ratio"
    );
    println!("{:>10} | {:^33} | {:^31} | {:^23}", "image", "events/s", "CPU µs per event", "peak memory MiB");
    let mut missed = 0;
    for mut case in CASES {
        if options.only.as_ref().is_some_and(|only| only != case.name) {
            continue;
        }
        if options.smoke {
            case.events = (case.events / 20).max(20);
        }
        let mut rounds = Vec::new();
        for round in 0..options.rounds {
            // Who comes first alternates too.
            let [relay, framegate] = case.sides;
            rounds.push(if round % 2 == 0 {
                let relay = measure(&case, relay)?;
                (relay, measure(&case, framegate)?)
            } else {
                let framegate = measure(&case, framegate)?;
                (measure(&case, relay)?, framegate)
            });
        }
        missed += usize::from(!row(&case, &rounds));
    }
    if options.smoke || missed == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    println!("{missed} rows miss a limit");
    Ok(ExitCode::FAILURE)
}

/// Prints a row; whether it holds its limits.
fn row(case: &Case, rounds: &[(Measured, Measured)]) -> bool {
    let of = |value: &dyn Fn(&(Measured, Measured)) -> f64| median(rounds.iter().map(value).collect());
    let rate = of(&|(relay, framegate)| framegate.rate / relay.rate);
    let cpu = of(&|(relay, framegate)| framegate.cpu_us / relay.cpu_us);
    println!(
        "{:>10} | {:>9.0} {:>9.0} {:>6.2} {:>6.2} | {:>8.1} {:>9.1} {:>6.2} {:>5.2} | {:>6.0} {:>9.0} {:>6.2}",
        case.name,
        of(&|(relay, _)| relay.rate),
        of(&|(_, framegate)| framegate.rate),
        rate,
        case.rate_limit,
        of(&|(relay, _)| relay.cpu_us),
        of(&|(_, framegate)| framegate.cpu_us),
        cpu,
        case.cpu_limit,
        of(&|(relay, _)| relay.peak_mib),
        of(&|(_, framegate)| framegate.peak_mib),
        of(&|(relay, framegate)| framegate.peak_mib / relay.peak_mib),
    );
    rate >= case.rate_limit && cpu <= case.cpu_limit
}
