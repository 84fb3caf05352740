//! The ends of a run: the processes that generate and receive the load. They get their parameters as one line of JSON
//! on the command line, and report progress as lines of JSON on their output.
//!
//! The ends on plain TCP (`generate`, `receive`) implement only the necessary part of ZMTP and read no unnecessary
//! byte; the ends on libzmq (`libzmq`) are like real detectors and workers. This file has their common reports and
//! stamps.

mod block;
mod generate;
mod libzmq;
mod process;
mod receive;
mod record;
pub mod zmtp;

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

/// Parameters of the generator.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Load {
    /// The implementation of the ends.
    pub kind: Kind,
    /// One detector for each port.
    pub ports: Vec<u16>,
    /// Bytes per part; the first part, the header, may be shorter or longer.
    pub payload: usize,
    /// Parts per event.
    pub parts: usize,
    /// Images per detector.
    pub events: u64,
    /// Images per second; `None`: as fast as possible.
    pub rate: Option<f64>,
}

/// Parameters of the workers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Work {
    /// The implementation of the ends.
    pub kind: Kind,
    /// Every worker connects to each port.
    pub ports: Vec<u16>,
    /// Number of workers.
    pub workers: usize,
    /// Number of expected messages, for all measured workers together.
    pub expected: u64,
    /// Whether the images have stamps with the time when they were due.
    pub stamped: bool,
    /// Whether the last worker is not measured.
    pub apart: bool,
    /// The last worker stops reading and pinging when the others have received this many messages.
    pub stalls_after: Option<u64>,
}

/// A report of an end.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// It is ready.
    Ready,
    /// Number of messages that the measured workers have received, with the time of `now_ns`.
    Progress {
        /// Time of the report.
        at_ns: u64,
        /// All workers together.
        messages: u64,
    },
    /// All expected messages have arrived.
    Done {
        /// From the first to the last message.
        seconds: f64,
        /// Only if the images have stamps.
        latency: Option<Latency>,
    },
}

/// Microseconds from when an image was due until it arrived, so that the delay behind a late image also counts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The 99.9th percentile.
    pub p999: f64,
    /// The maximum.
    pub max: f64,
}

/// Generates the load; the main function of the generator's process.
///
/// # Errors
/// The plan is invalid, or the forwarder ends before everything is sent.
pub fn generate(load: &str) -> anyhow::Result<()> {
    let load: Load = serde_json::from_str(load)?;
    // Otherwise Linux may wake it 50 µs late.
    nix::sys::prctl::set_timerslack(1)?;
    match load.kind {
        Kind::Tcp => generate::run(&load),
        Kind::Zmq => libzmq::generate(&load),
    }
}

/// Receives the load; the main function of the workers' process.
///
/// # Errors
/// The plan is invalid, or a forwarder does not start or ends.
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
    // Only a signal ends it early, and no process sends one.
    let _ = clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &until);
}

/// When an image at a fixed rate is due, counted from the start.
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

/// Marks a stamp; no other part begins with these bytes.
const MAGIC: [u8; 8] = *b"\xf0\x9f\x95\x90fgts";
/// Magic and nanoseconds.
const STAMP: usize = 16;

/// How often a worker pings.
const PING: Duration = Duration::from_secs(1);
