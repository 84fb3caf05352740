//! Measures what a program that embeds the host gets: a worker inside the program beside one at the port, the time of a
//! host's start and stop, and what the smallest such program costs to build.
//!
//!     cargo bench -p framegate-tests --bench embedded              seven rounds
//!     cargo bench -p framegate-tests --bench embedded -- --smoke   a few seconds: shows that it works
//!
//! The host runs in a process of its own, so that its CPU time is that of host, source and worker inside, and nothing else.

mod program;
mod smallest;

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, ensure};
use clap::Parser as _;
use framegate_tests::{
    bench::{
        Flags, Options,
        ends::{self, End, Kind, Said, Work},
        spread::Spread,
        usage::cpu_ns,
    },
    process::free_port,
};

use program::Plan;

/// Name, bytes of an event, number of events.
const SIZES: [(&str, usize, u64); 3] = [("64B", 64, 1_000_000), ("16K", 16 << 10, 200_000), ("1M", 1 << 20, 5_000)];
const SMOKE: u64 = 200;
/// Only what fails needs so long.
const LIMIT: Duration = Duration::from_secs(300);

/// One run.
struct Measured {
    rate: f64,
    cpu_us: f64,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.is_empty() {
        // `cargo test --all-targets` starts benchmarks too, without `--bench`.
        println!("run with: cargo bench -p framegate-tests --bench embedded");
        return ExitCode::SUCCESS;
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["role", "host", plan] => program::run(plan),
        ["role", "receive", work] => ends::receive(work),
        _ => run(&Flags::parse().options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("embedded: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<()> {
    println!("a worker inside the program, and one at the port; the ratio is of neighbouring runs");
    println!(
        "{:>10} | {:>11} {:>7} | {:>11} {:>7} | events/s, CPU µs: ratio",
        "", "inside/s", "CPU µs", "port/s", "CPU µs"
    );
    for (name, bytes, events) in SIZES.into_iter().filter(|(name, ..)| options.wants(name)) {
        let events = if options.smoke { SMOKE } else { events };
        let mut rounds = Vec::new();
        for _ in 0..options.rounds() {
            rounds.push((one(true, bytes, events)?, one(false, bytes, events)?));
        }
        let of =
            |value: &dyn Fn(&(Measured, Measured)) -> f64| Spread::of(rounds.iter().map(value)).context("no round");
        println!(
            "{name:>10} | {:>11.0} {:>7.2} | {:>11.0} {:>7.2} | {} {}",
            of(&|(inside, _)| inside.rate)?.median,
            of(&|(inside, _)| inside.cpu_us)?.median,
            of(&|(_, port)| port.rate)?.median,
            of(&|(_, port)| port.cpu_us)?.median,
            of(&|(inside, port)| inside.rate / port.rate)?,
            of(&|(inside, port)| inside.cpu_us / port.cpu_us)?,
        );
    }
    if options.wants("start-stop") {
        let hosts = if options.smoke { 2 } else { 100 };
        let (start, stop) = program::start_and_stop(hosts)?;
        println!(
            "{:>10} | {start:>11.2} ms until a host has started | {stop:>7.2} ms until it has stopped",
            "start-stop"
        );
    }
    if options.wants("smallest") {
        smallest::print(options.smoke)?;
    }
    Ok(())
}

fn one(inside: bool, bytes: usize, events: u64) -> anyhow::Result<Measured> {
    let port = if inside { 0 } else { free_port() };
    let mut host = End::start("host", &Plan { port, bytes, events })?;
    let ports = vec![port];
    let work =
        Work { kind: Kind::Tcp, ports, workers: 1, expected: events, stamped: false, apart: false, stalls_after: None };
    host.wait_until_ready(LIMIT)?;
    let worker = (!inside).then(|| End::start("receive", &work)).transpose()?;
    worker.iter().try_for_each(|worker| worker.wait_until_ready(LIMIT))?;
    let before = cpu_ns(host.id())?;
    host.go()?;
    let seconds = done(worker.as_ref().unwrap_or(&host))?;
    // The host tells when all is delivered, in both cases.
    if worker.is_some() {
        done(&host)?;
    }
    let cpu = cpu_ns(host.id())? - before;
    ensure!(seconds > 0.0, "no time has passed");
    Ok(Measured { rate: events as f64 / seconds, cpu_us: cpu as f64 / 1e3 / events as f64 })
}

/// Seconds from the first message to the last.
fn done(end: &End) -> anyhow::Result<f64> {
    loop {
        match end.next(LIMIT)? {
            Said::Done { seconds, .. } => return Ok(seconds),
            Said::Ready | Said::Progress { .. } => {}
        }
    }
}
