//! One run: starts all processes, starts the load, waits until everything has arrived, and reads what each process has
//! used.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    path::Path,
    process::Command,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use framegate_tests::{
    bench::{
        ends::{End, Kind, Latency, Load, Said, Work},
        stall::Stall,
        usage::{Thread, cpu_ns, page_faults, peak_kib, threads},
    },
    controller::Controller,
    framegate::built,
    process::{free_port, text},
    redis::RedisServer,
};
use serde::Serialize;
use tempfile::TempDir;

use crate::{
    deal::{Hand, Watch},
    rows::Row,
    sides::{Forwarder, Ports, Side},
};

/// The results of a run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measured {
    pub(crate) events: u64,
    /// Events per second, at the workers, from the first message to the last.
    pub(crate) rate: f64,
    /// CPU time of the forwarder and the processes that it has started, user and kernel: microseconds per event.
    pub(crate) cpu_us: f64,
    /// The same per thread, by name.
    pub(crate) threads_us: BTreeMap<String, f64>,
    /// The number of its threads, at the end.
    pub(crate) threads: u64,
    /// Context switches of its threads, per event.
    pub(crate) switches: f64,
    /// Run-queue delay: time in which its threads could run and had no processor, microseconds per event.
    pub(crate) delay_us: f64,
    /// Page faults per event.
    pub(crate) faults: f64,
    /// Its peak resident memory.
    pub(crate) peak_mib: f64,
    /// For a run at a fixed rate.
    pub(crate) latency: Option<Latency>,
    /// For a run with a stalled worker.
    pub(crate) stall: Option<Stall>,
    /// Shares of the machine's CPU time.
    pub(crate) shares: Shares,
}

/// Shares of the machine's CPU time.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Shares {
    pub(crate) forwarder: f64,
    pub(crate) generator: f64,
    pub(crate) workers: f64,
    pub(crate) controller: f64,
    pub(crate) redis: f64,
}

/// Runs a row with one side.
pub(crate) fn measure(row: &Row, side: Side, kind: Kind, smoke: bool) -> anyhow::Result<Measured> {
    let images = row.images(side, smoke);
    let folder = folder(side)?;
    if side == Side::Disk {
        return write_alone(folder.path(), row.payload, images);
    }
    let took = run(row, side, kind, images, folder.path());
    took.with_context(|| format!("{}, {}, {images} images", row.name, side.name()))
}

fn run(row: &Row, side: Side, kind: Kind, images: u64, folder: &Path) -> anyhow::Result<Measured> {
    let several = |count| (0..count).map(|_| free_port()).collect::<Vec<_>>();
    let ports = Ports { detectors: several(row.streams), workers: several(side.ingesters(row)) };
    let Row { payload, parts, rate, apart, .. } = *row;
    let workers = side.workers(row);
    let load = Load { kind, ports: ports.detectors.clone(), payload, parts, events: images, rate };
    let expected = row.messages(side, images);
    let stalls_after = (side == Side::Stalled).then_some(STALLS_AFTER);
    let work =
        Work { kind, ports: ports.workers.clone(), workers, expected, stamped: rate.is_some(), apart, stalls_after };

    let redis = side.has_controller().then(RedisServer::start);
    let mut controller = redis.as_ref().map(Controller::new);
    let mut generator = End::start("generate", &load)?;
    generator.wait_until_ready(START)?;
    let mut forwarder = Forwarder::start(row, side, &ports, redis.as_ref(), folder)?;
    let receiver = End::start("receive", &work)?;
    receiver.wait_until_ready(START)?;
    forwarder.wait_until_ready(row, controller.as_mut());

    let watch = Watch::default();
    let mut hand = controller.as_mut().map(|controller| (Hand::new(row, images), controller));
    if let Some((cards, controller)) = hand.take_if(|(cards, _)| cards.deals_before()) {
        cards.deal(controller, &watch);
        forwarder.wait_until_read(images);
    }
    thread::scope(|scope| {
        // Ends the controller's assignments in every case.
        let _over = Over(&watch);
        let redis = redis.as_ref().map(RedisServer::id);
        let ids = |id: Option<u32>| id.into_iter().collect::<Vec<_>>();
        let (generator_id, receiver_id) = (Some(generator.id()), Some(receiver.id()));
        let others = [generator_id, receiver_id, Some(std::process::id()), redis].map(ids);
        let all: Vec<Vec<u32>> = [forwarder.family()].into_iter().chain(others).collect();
        let cpu_of = |ids: &Vec<u32>| ids.iter().map(|id| cpu_ns(*id)).sum::<Result<u64, _>>();
        let cpu = || all.iter().map(cpu_of).collect::<Result<Vec<_>, _>>();
        let faults_before = page_faults(forwarder.id())?;
        let (threads_before, before, began) = (threads(forwarder.id())?, cpu()?, Instant::now());
        if let Some((cards, controller)) = hand {
            let watch = &watch;
            scope.spawn(move || cards.deal(controller, watch));
        }
        generator.go()?;
        let (mut progress, mut silent) = (Vec::new(), Instant::now());
        let (seconds, latency) = loop {
            match receiver.next(LOOK) {
                Ok(Said::Done { seconds, latency }) => break (seconds, latency),
                Ok(Said::Progress { at_ns, messages }) => {
                    silent = Instant::now();
                    progress.push((at_ns, messages));
                    watch.events.store(messages * images / expected, Ordering::Relaxed);
                }
                Ok(Said::Ready) => {}
                Err(_) if silent.elapsed() < SILENCE && !forwarder.has_ended() => {}
                Err(error) => bail!(
                    "{error:#}; of {expected} messages: {:?}\n{}\n{}",
                    progress.last(),
                    forwarder.log(),
                    connections(&ports)
                ),
            }
        };
        let (after, wall) = (cpu()?, began.elapsed());
        let threads_after = threads(forwarder.id())?;
        let used: Vec<f64> = after.iter().zip(&before).map(|(after, before)| (after - before) as f64).collect();
        let machine = wall.as_nanos() as f64 * thread::available_parallelism()?.get() as f64;
        let per_event = |total: f64| total / images as f64;
        let grown = |name: &String, of: fn(&Thread) -> u64| {
            let (before, after) = (threads_before.get(name).map_or(0, of), threads_after.get(name).map_or(0, of));
            after.saturating_sub(before) as f64
        };
        let sum = |of: fn(&Thread) -> u64| threads_after.keys().map(|name| grown(name, of)).sum::<f64>();
        let threads_us =
            threads_after.keys().map(|name| (name.clone(), per_event(grown(name, |thread| thread.cpu_ns) / 1e3)));
        Ok(Measured {
            events: images,
            rate: images as f64 / seconds,
            cpu_us: per_event(used[0] / 1e3),
            threads_us: threads_us.collect(),
            threads: threads_after.values().map(|thread| thread.count).sum(),
            switches: per_event(sum(|thread| thread.switches)),
            delay_us: per_event(sum(|thread| thread.delay_ns) / 1e3),
            faults: per_event(page_faults(forwarder.id())?.saturating_sub(faults_before) as f64),
            peak_mib: all[0].iter().map(|id| peak_kib(*id)).sum::<Result<u64, _>>()? as f64 / 1024.0,
            latency,
            stall: stalls_after.and_then(|after| Stall::find(&progress, after, images as f64 / expected as f64)),
            shares: Shares {
                forwarder: used[0] / machine,
                generator: used[1] / machine,
                workers: used[2] / machine,
                controller: used[3] / machine,
                redis: used[4] / machine,
            },
        })
    })
}

/// The connections at these ports, as ss(8) shows them.
fn connections(ports: &Ports) -> String {
    let all = Command::new("ss").args(["-tanp"]).output().map(|output| text(&output.stdout)).unwrap_or_default();
    let of_ours =
        |line: &&str| ports.detectors.iter().chain(&ports.workers).any(|port| line.contains(&format!(":{port} ")));
    all.lines().filter(of_ours).collect::<Vec<_>>().join("\n")
}

/// Marks the run as over when dropped.
struct Over<'a>(&'a Watch);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

/// The folder for a run's output: on the disk that cargo builds on, or in memory.
fn folder(side: Side) -> anyhow::Result<TempDir> {
    Ok(match side {
        Side::CaptureTmpfs => tempfile::tempdir_in("/dev/shm")?,
        Side::CaptureDisk | Side::Disk => tempfile::tempdir_in(built())?,
        _ => tempfile::tempdir()?,
    })
}

/// The disk's own speed, used as the capture uses it: one write after the other, without sync.
fn write_alone(folder: &Path, payload: usize, images: u64) -> anyhow::Result<Measured> {
    let image = vec![7; payload];
    let path = folder.join("alone");
    let mut file = File::create(&path)?;
    let (before, began) = (cpu_ns(std::process::id())?, Instant::now());
    for _ in 0..images {
        file.write_all(&image)?;
    }
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_ns(std::process::id())? - before);
    fs::remove_file(&path)?;
    Ok(Measured {
        events: images,
        rate: images as f64 / seconds,
        cpu_us: cpu as f64 / 1e3 / images as f64,
        threads_us: BTreeMap::new(),
        threads: 1,
        switches: 0.0,
        delay_us: 0.0,
        faults: 0.0,
        peak_mib: 0.0,
        latency: None,
        stall: None,
        shares: Shares::default(),
    })
}

/// Messages received before a worker stalls.
const STALLS_AFTER: u64 = 20;
const START: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_secs(1);
/// Longer than a stalled worker delays the others.
const SILENCE: Duration = Duration::from_secs(40);
