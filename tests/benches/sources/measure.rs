//! One run: a detector, a forwarder in a separate process, a worker; and except for the bare relay, Redis and a
//! simulated controller.

use std::{
    path::Path,
    process::Command,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use framegate_tests::{
    bench::usage::{cpu_ns, peak_kib},
    controller::Controller,
    framegate,
    process::{Process, free_port, wait_for},
    python::{peers_environment, script},
    redis::RedisServer,
};
use uuid::Uuid;

use crate::{
    detector::{Bound, Run},
    rows::{Detector, EVENTS_OF_ENDS, Row, Traffic},
    worker::{Got, NAME, work},
};

/// The forwarder of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forwarder {
    /// The bare relay: forwards every message unchanged.
    Relay,
    Framegate,
    /// dranspose's own ingester.
    Python,
}

/// The results of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    /// Events per second, at the worker.
    pub(crate) rate: f64,
    /// CPU time of the forwarder, microseconds per event.
    pub(crate) cpu_us: f64,
    /// The forwarder's peak resident memory.
    pub(crate) peak_mib: f64,
}

/// Runs a row with a forwarder; repeats its messages `loops` times.
pub(crate) fn measure(row: &Row, traffic: &Traffic, forwarder: Forwarder, loops: u64) -> anyhow::Result<Measured> {
    let folder = tempfile::tempdir()?;
    let (upstream, port, service) = (free_port(), free_port(), Uuid::new_v4());
    let bound = Bound::new(row, upstream)?;
    // Messages that a worker gets: the relay forwards messages, the others events.
    let (outputs, of_ends) = match forwarder {
        Forwarder::Relay => (traffic.repeated.len() as u64, (traffic.start.len() + traffic.end.len()) as u64),
        _ => (row.events, EVENTS_OF_ENDS),
    };
    let total = loops * outputs + of_ends;
    let got = Got::default();
    thread::scope(|scope| {
        // Ends all threads in every case.
        let _over = Over(&got);
        let worker = scope.spawn(|| work(port, service, total, &got));
        let (mut process, control) = start(row, forwarder, upstream, port, service, folder.path())?;
        let before = cpu_ns(process.id())?;
        if let Some((controller, redis)) = control {
            let got = &got;
            scope.spawn(move || {
                assign(controller, row.name, got);
                drop(redis);
            });
        }
        let window = (WINDOW / row.bytes(traffic).max(1)).clamp(8, MOST_ON_THE_WAY);
        let run = Run { traffic, loops, outputs, window, total, got: &got };
        let detector = scope.spawn(move || bound.run(&run));
        let began = Instant::now();
        while got.messages.load(Ordering::Relaxed) < total {
            let is_lost = process.ended().is_some() || worker.is_finished();
            if is_lost || began.elapsed() > LIMIT || (detector.is_finished() && began.elapsed() > SILENCE) {
                let count = got.messages.load(Ordering::Relaxed);
                let name = row.name;
                bail!("{name}, {forwarder:?}: {count} of {total} messages have come\n{}", process.output());
            }
            thread::sleep(Duration::from_millis(2));
        }
        detector.join().ok().context("the detector has panicked")??;
        let cpu = cpu_ns(process.id())? - before;
        let events = (loops * row.events + EVENTS_OF_ENDS) as f64;
        Ok(Measured {
            rate: events / got.took().as_secs_f64(),
            cpu_us: cpu as f64 / 1e3 / events,
            peak_mib: peak_kib(process.id())? as f64 / 1024.0,
        })
    })
}

/// Marks the run as over when dropped.
struct Over<'a>(&'a Got);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

/// Starts a forwarder and waits until its worker is connected; also returns the controller, which assigns, with its
/// Redis.
fn start(
    row: &Row,
    forwarder: Forwarder,
    upstream: u16,
    port: u16,
    service: Uuid,
    folder: &Path,
) -> anyhow::Result<(Process, Option<(Controller, RedisServer)>)> {
    let url = format!("tcp://127.0.0.1:{upstream}");
    let mut command = match forwarder {
        Forwarder::Relay => {
            let mut relay = Command::new(std::env::current_exe()?);
            let pattern = if row.detector == Detector::Push { "pull" } else { "sub" };
            relay.args(["relay", pattern, &url, &port.to_string()]);
            let process = Process::start("relay", &mut relay, folder);
            wait_for("the relay", START, || process.output().contains("ready").then_some(()));
            return Ok((process, None));
        }
        Forwarder::Framegate => framegate::command(),
        Forwarder::Python => Command::new(script("dranspose")),
    };
    // The same command line for both.
    if row.detector == Detector::Http {
        let app = "dranspose.ingesters.http_sardana:app";
        command.args(["http_ingester", "-c", app, "--host", "127.0.0.1", "-p", &upstream.to_string(), "-n", row.name]);
    } else {
        command.args(["ingester", "-c", row.class, "-n", row.name, "-u", &url]);
    }
    let redis = RedisServer::start();
    peers_environment(&mut command, &redis.url()).env("INGESTER_URL", format!("tcp://127.0.0.1:{port}"));
    let process = Process::start("forwarder", &mut command, folder);
    let mut controller = Controller::new(&redis);
    let name = format!("{}-ingester", row.name);
    controller.wait_state(&name, "the worker", |state| state["connected_workers"][service.to_string()].is_object());
    controller.scan(&name, &[row.name]);
    Ok((process, Some((controller, redis))))
}

/// Assigns every event to the worker, some time before it arrives, as a controller does.
fn assign(mut controller: Controller, stream: &str, got: &Got) {
    let one: &[(&str, &[&str])] = &[(stream, &[NAME])];
    let mut assigned = 0;
    while !got.is_over.load(Ordering::Relaxed) {
        if assigned < got.messages.load(Ordering::Relaxed) + AHEAD {
            controller.assign(&[one; TOGETHER]);
            assigned += TOGETHER as u64;
        } else {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

const TOGETHER: usize = 200;
const AHEAD: u64 = 8_000;

/// Maximum bytes in flight, and messages.
const WINDOW: u64 = 64 << 20;
const MOST_ON_THE_WAY: u64 = 20_000;

/// How long the last messages may take after all were sent.
const SILENCE: Duration = Duration::from_secs(20);
const START: Duration = Duration::from_secs(20);
const LIMIT: Duration = Duration::from_secs(120);
