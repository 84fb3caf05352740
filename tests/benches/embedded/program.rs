//! The program that embeds the host, with a source that only gives memory that it has.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use framegate::{
    Host,
    names::{IngesterName, StreamName, WorkerName},
    settings::{Control, IngesterSettings, Settings, StreamSettings},
};
use framegate_plugin_api::{
    Deadline, EventKind, EventSink, Frame, HostContext, Progress, Source, SourceError, SourceRun,
};
use framegate_tests::bench::{ends::Said, spread::median};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What the program does.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The port of the worker; 0: it is inside.
    pub(crate) port: u16,
    pub(crate) bytes: usize,
    pub(crate) events: u64,
}

/// A scan with these events. It ends with the benchmark, which reads its CPU time.
pub(crate) fn run(plan: &str) -> anyhow::Result<()> {
    framegate::allocator::keep_large_buffers();
    let plan: Plan = serde_json::from_str(plan)?;
    let host = host(&plan)?;
    let first = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let _worker = (plan.port == 0).then(|| {
        let first = first.clone();
        let mut seen = 0u64;
        host.worker(WorkerName::new("inside").expect("it is a name")).each(move |event| {
            if seen == 0 {
                first.store(began.elapsed().as_nanos() as u64, Ordering::Relaxed);
            }
            seen += event.streams().flat_map(|stream| stream.frames()).map(|frame| u64::from(frame[0])).sum::<u64>();
        })
    });
    let _worker = _worker.transpose()?;
    say(&Said::Ready)?;
    std::io::stdin().read_line(&mut String::new())?;
    let mut scan = host.scan().to_all().begin()?;
    scan.wait_ended(LIMIT)?;
    scan.wait_delivered(LIMIT)?;
    let last = began.elapsed().as_nanos() as u64;
    let seconds = (last - first.load(Ordering::Relaxed)) as f64 / 1e9;
    scan.finish(LIMIT)?;
    say(&Said::Done { seconds, latency: None })?;
    loop {
        std::thread::park();
    }
}

/// The median times, in ms, of starting a host and of stopping it.
pub(crate) fn start_and_stop(hosts: usize) -> anyhow::Result<(f64, f64)> {
    let (mut starts, mut stops) = (Vec::new(), Vec::new());
    for _ in 0..hosts {
        let began = Instant::now();
        let host = host(&Plan { port: 0, bytes: 64, events: 1 })?;
        starts.push(began.elapsed().as_secs_f64() * 1e3);
        let began = Instant::now();
        host.shutdown();
        stops.push(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok((median(starts), median(stops)))
}

fn host(plan: &Plan) -> anyhow::Result<Host> {
    let stream = StreamSettings::new(
        StreamName::new("camera")?,
        "memory",
        json!({ "bytes": plan.bytes, "events": plan.events }),
    );
    let ingester = IngesterSettings::new(IngesterName::new("bench")?, "127.0.0.1", plan.port, vec![stream]);
    let settings = Settings::new(Control::Program, vec![ingester]);
    Host::builder(settings).source::<Memory>("memory").start().context("the host does not start")
}

fn say(said: &Said) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(said)?);
    Ok(())
}

/// A source whose events share their memory.
struct Memory(MemorySettings);

#[derive(Clone, Deserialize)]
struct MemorySettings {
    bytes: usize,
    events: u64,
}

struct MemoryRun {
    memory: Arc<Vec<u8>>,
    left: u64,
}

impl Source for Memory {
    type Settings = MemorySettings;
    type Run = MemoryRun;

    const PROTOCOL: &'static str = "memory";

    fn create(settings: MemorySettings, _: HostContext) -> Result<Self, SourceError> {
        Ok(Self(settings))
    }

    fn open(&mut self) -> Result<MemoryRun, SourceError> {
        Ok(MemoryRun { memory: Arc::new(vec![1; self.0.bytes]), left: self.0.events })
    }
}

impl SourceRun for MemoryRun {
    fn next(&mut self, out: &mut EventSink<'_>, _: Deadline) -> Result<Progress, SourceError> {
        while self.left > 0 && !out.is_full() {
            out.push("memory", EventKind::Data, [Frame::part_of(&self.memory, 0..self.memory.len())]);
            self.left -= 1;
        }
        Ok(if self.left > 0 { Progress::More } else { Progress::End })
    }
}

/// Only what fails needs so long.
const LIMIT: Duration = Duration::from_secs(300);
