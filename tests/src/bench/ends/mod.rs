//! The ends of a run: who makes the load and who takes it, a process each. They are told what to do in one line of JSON on
//! their command line, and say how far they are in lines of JSON on their output.
//!
//! The ends on bare TCP (`generate`, `receive`) speak just enough ZMTP and look at no byte that they need not; those on libzmq
//! (`libzmq`) are what detectors and workers have. What both say and stamp is here.

mod block;
mod generate;
mod libzmq;
mod process;
mod receive;
mod record;
mod zmtp;

use std::time::Duration;

use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};
use serde::{Deserialize, Serialize};

pub use process::End;

/// What the ends are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Bare TCP: cheap.
    Tcp,
    /// libzmq.
    Zmq,
}

/// What the generator is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Load {
    /// What it is made of.
    pub kind: Kind,
    /// A detector on each.
    pub ports: Vec<u16>,
    /// Bytes of each part; the first, which says what it is, may be shorter or longer.
    pub payload: usize,
    /// Parts of each event.
    pub parts: usize,
    /// Images of each detector.
    pub events: u64,
    /// Images a second; none: as fast as they are taken.
    pub rate: Option<f64>,
}

/// What the workers are to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Work {
    /// What they are made of.
    pub kind: Kind,
    /// Every worker connects to each.
    pub ports: Vec<u16>,
    /// How many.
    pub workers: usize,
    /// Messages that are to come, of all workers that count.
    pub expected: u64,
    /// The images are stamped with the time when they were to be sent.
    pub stamped: bool,
    /// The last worker does not count.
    pub apart: bool,
    /// The last worker stops to read and to ping when so many messages have come to the others.
    pub stalls_after: Option<u64>,
}

/// What an end says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// It is there.
    Ready,
    /// So many messages have come to the workers that count; on the clock of `now_ns`.
    Progress {
        /// When.
        at_ns: u64,
        /// All of them together.
        messages: u64,
    },
    /// All that were expected have come.
    Done {
        /// From the first to the last.
        seconds: f64,
        /// If the images are stamped.
        latency: Option<Latency>,
    },
}

/// Microseconds from when an image was to be sent to when it was there: so what a late one makes wait counts too.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Of the one in the middle.
    pub p50: f64,
    /// Of the slowest in a hundred.
    pub p99: f64,
    /// Of the slowest in a thousand.
    pub p999: f64,
    /// Of the slowest.
    pub max: f64,
}

/// Makes the load; the generator's process.
///
/// # Errors
/// The plan is none, or the forwarder goes before all is sent.
pub fn generate(load: &str) -> anyhow::Result<()> {
    let load: Load = serde_json::from_str(load)?;
    // Else Linux may wake it 50 µs late.
    nix::sys::prctl::set_timerslack(1)?;
    match load.kind {
        Kind::Tcp => generate::run(&load),
        Kind::Zmq => libzmq::generate(&load),
    }
}

/// Takes what comes; the workers' process.
///
/// # Errors
/// The plan is none, or a forwarder does not come or goes.
pub fn receive(work: &str) -> anyhow::Result<()> {
    let work: Work = serde_json::from_str(work)?;
    match work.kind {
        Kind::Tcp => receive::run(&work),
        Kind::Zmq => libzmq::receive(&work),
    }
}

fn say(said: &Said) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(said)?);
    Ok(())
}

/// Nanoseconds of the clock that all processes share.
fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

fn sleep_until(ns: u64) {
    let until = Duration::from_nanos(ns).into();
    // A signal ends it early, and nobody sends one.
    let _ = clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &until);
}

/// When an image of a paced run is to be sent, counted from the start.
fn due_ns(image: u64, rate: f64) -> u64 {
    ((image + 1) as f64 * 1e9 / rate) as u64
}

/// The name of a worker.
#[must_use]
pub fn name(worker: usize) -> String {
    format!("worker{worker}")
}

/// The detector's start, and its end.
const START: &str = r#"{"htype":"header","filename":"bench","msg_number":0}"#;
const SERIES_END: &str = r#"{"htype":"series_end","msg_number":2000000000}"#;

/// In front of a stamp; no other part begins so.
const MAGIC: [u8; 8] = *b"\xf0\x9f\x95\x90fgts";
/// Magic and nanoseconds.
const STAMP: usize = 16;

/// How often a worker pings.
const PING: Duration = Duration::from_secs(1);
