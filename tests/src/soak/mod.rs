//! The soak run: random scans with random faults, all checked by the oracle.
//!
//! `plan` derives from a seed what happens in a scan. `world` has all participants, `detectors` and `trouble` act on
//! them, `scan` plays a plan and calls the oracle; `growth` monitors the process.

pub mod detectors;
pub mod growth;
pub mod plan;
pub mod scan;
pub mod trouble;
pub mod world;

use std::{
    collections::BTreeMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use anyhow::{anyhow, ensure};

use self::{
    growth::{Grown, Growth, Sample},
    plan::Plan,
    world::World,
};
use crate::oracle::Outcome;

/// Parameters of a run.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Determines everything that happens.
    pub seed: u64,
    /// The first scan.
    pub first: u32,
    /// How many scans at most.
    pub scans: u32,
    /// Time limit.
    pub time: Duration,
}

/// Results of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// Number of scans.
    pub scans: u32,
    /// Number of faults by kind.
    pub faults: BTreeMap<String, u32>,
    /// Outcome of all messages.
    pub outcome: Outcome,
    /// Messages that framegate held when it was killed.
    pub with_the_ingester: u64,
    /// Starts of framegate.
    pub starts: u32,
    /// The growth in its last life.
    pub grown: Grown,
    /// Log lines per scan.
    pub lines: f64,
}

/// Runs the scans; calls `told` with every plan before its scan, and with framegate's resources after it.
///
/// # Errors
/// The first failed scan, and how to replay it.
pub fn run(wish: &Wish, mut told: impl FnMut(&dyn fmt::Display)) -> anyhow::Result<Report> {
    let mut world = World::new()?;
    let began = Instant::now();
    let (mut report, mut growth, mut panics) = (Report::default(), Growth::default(), 0);
    for number in wish.first..wish.first.saturating_add(wish.scans) {
        if began.elapsed() >= wish.time {
            break;
        }
        let plan = Plan::new(wish.seed, number);
        told(&plan);
        let starts = world.starts;
        let mut play = |plan: &Plan| {
            catch_unwind(AssertUnwindSafe(|| scan::play(&mut world, plan)))
                .unwrap_or_else(|panic| Err(anyhow!(words(&*panic))))
                .map_err(|error| anyhow!("{error:#}\n{}", failure(wish, plan, &world)))
        };
        report.add(&plan, play(&plan)?);
        play(&Plan::rest())?;
        panics += plan.streams.iter().filter(|stream| stream.panics).count();
        if world.starts != starts {
            growth.restart();
            panics = 0;
        }
        let sample = Sample::of(world.host()?.id())?;
        told(&sample);
        growth.add(sample.without_descriptors(panics));
    }
    report.starts = world.starts;
    report.grown = growth.grown();
    report.lines = world.log().lines().count() as f64 / f64::from(report.scans.max(1));
    ensure!(report.grown.is_flat(), "framegate grows: {}\n{report}", report.grown);
    Ok(report)
}

impl Report {
    fn add(&mut self, plan: &Plan, outcome: Outcome) {
        self.scans += 1;
        for (_, fault, _) in &plan.faults {
            *self.faults.entry(fault.kind()).or_default() += 1;
        }
        for stream in &plan.streams {
            let kind = match (stream.panics, stream.stops_after) {
                (true, _) => "PluginPanics",
                (_, Some(_)) => "DetectorStops",
                _ => continue,
            };
            *self.faults.entry(kind.to_owned()).or_default() += 1;
        }
        self.outcome.events += outcome.events;
        self.outcome.arrived += outcome.arrived;
        self.outcome.dropped += outcome.dropped;
        match plan.kills_the_ingester() {
            true => self.with_the_ingester += outcome.in_dead_connections,
            false => self.outcome.in_dead_connections += outcome.in_dead_connections,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { events, arrived, dropped, in_dead_connections } = self.outcome;
        writeln!(f, "scans                      {}, {events} events", self.scans)?;
        let faults: Vec<_> = self.faults.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        writeln!(f, "faults                     {}: {}", self.faults.values().sum::<u32>(), faults.join(", "))?;
        writeln!(f, "messages arrived           {arrived}")?;
        writeln!(f, "dropped with a worker      {dropped}, all counted in status")?;
        writeln!(f, "in connections that ended  {in_dead_connections}")?;
        writeln!(f, "in framegate when killed   {}", self.with_the_ingester)?;
        writeln!(f, "lost otherwise             0")?;
        writeln!(f, "framegate                  {} starts; its last life: {}", self.starts, self.grown)?;
        write!(f, "log                        {:.1} lines a scan", self.lines)
    }
}

fn failure(wish: &Wish, plan: &Plan, world: &World) -> String {
    let log = world.log();
    let from = log.char_indices().rev().nth(6000).map_or(0, |(at, _)| at);
    let (seed, number) = (wish.seed, plan.number);
    format!("{plan}\nplay it again: --seed {seed} --first {number} --scans 1\nframegate said:\n{}", &log[from..])
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_else(|| "a panic".to_owned())
}
