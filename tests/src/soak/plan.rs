//! What happens in a scan: streams, workers, assignments, faults, and their order.
//!
//! All of it follows from a seed and the scan's number, so each scan can be replayed alone.

use std::{collections::BTreeMap, fmt, time::Duration};

use fastrand::Rng;

/// All sources, by the names of their plugins.
pub const SOURCES: [&str; 9] =
    ["stins", "eiger-legacy", "albaem", "contrast", "lecroy", "pcap", "xspress", "pcap-raw", "sardana"];

/// See the module.
#[derive(Debug)]
pub struct Plan {
    /// The scan's number, from 0.
    pub number: u32,
    /// The streams.
    pub streams: Vec<StreamPlan>,
    /// The workers.
    pub workers: Vec<String>,
    /// The workers of each stream of each event.
    pub assignments: Vec<Assignment>,
    /// The end of each list of assignments.
    pub lists: Vec<usize>,
    /// Detectors start after this many lists.
    pub detectors_after: usize,
    /// Where the capture is written.
    pub capture: Capture,
    /// The faults: after how many lists, and how long.
    pub faults: Vec<(usize, Fault, Duration)>,
}

/// A stream with its workers.
pub type Assignment = BTreeMap<&'static str, Vec<String>>;

/// One stream in a scan.
#[derive(Debug)]
pub struct StreamPlan {
    /// Name of the source and of the stream.
    pub source: &'static str,
    /// Additional bytes of each event between start and end.
    pub events: Vec<usize>,
    /// The detector stops after this many events, without an end.
    pub stops_after: Option<usize>,
    /// Its plugin panics, so the stream has no events in this scan.
    pub panics: bool,
}

/// Where the capture is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capture {
    /// Nowhere.
    Off,
    /// To a disk with room.
    Disk,
    /// To a full disk.
    FullDisk,
}

/// A fault, with the worker that it affects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The network between framegate and Redis forwards nothing.
    RedisHeld,
    /// It resets all connections.
    RedisCut,
    /// It delays by 200 ms in each direction.
    RedisSlow,
    /// SIGSTOP for `redis-server`.
    RedisPaused,
    /// `redis-server` is killed, and restarted with its data.
    RedisRestarted,
    /// `redis-server` is killed, and restarted without data.
    RedisEmptied,
    /// A worker ends; a new one with its name connects.
    WorkerKilled(usize),
    /// The same, but the first one's end is not visible: its connection is half open.
    WorkerHalfOpen(usize),
    /// A worker pings but does not read.
    WorkerStalled(usize),
    /// It neither pings nor reads.
    WorkerSilent(usize),
    /// Its network forwards nothing.
    WorkerHeld(usize),
    /// Its connection is reset; it reconnects.
    WorkerCut(usize),
    /// Noise, HTTP, invalid pings, and silent connections.
    Strangers,
    /// Invalid updates and assignments.
    Nonsense,
    /// The controller repeats the update and the last assignments.
    Repeated,
    /// framegate has no descriptors left.
    NoDescriptors,
    /// framegate is killed and restarted.
    IngesterKilled,
    /// framegate is ended by SIGTERM before the scan and restarted.
    IngesterEnded,
}

/// framegate is killed or ended only in this many first scans; the rest is one life, long enough to detect growth.
const RESTARTS_BEFORE: u32 = 10;
/// A worker that never connects.
pub const NOBODY: &str = "nobody";

impl Plan {
    /// The plan of a scan.
    #[must_use]
    pub fn new(seed: u64, number: u32) -> Self {
        let mut rng = Rng::with_seed(seed ^ (u64::from(number) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let rng = &mut rng;
        let mut sources: Vec<_> = SOURCES.to_vec();
        rng.shuffle(&mut sources);
        sources.truncate(rng.usize(1..=4));
        let events = rng.usize(1..=50);
        let streams: Vec<_> = sources.into_iter().map(|source| StreamPlan::new(rng, source, events)).collect();
        let workers: Vec<_> = (1..=rng.usize(1..=6)).map(|number| format!("w{number}")).collect();
        let mut plan = Self {
            number,
            workers,
            assignments: Vec::new(),
            lists: Vec::new(),
            detectors_after: 0,
            capture: [Capture::Off, Capture::Off, Capture::Disk, Capture::FullDisk][rng.usize(0..4)],
            faults: Vec::new(),
            streams,
        };
        plan.assign(rng, events + 2);
        plan.detectors_after = rng.usize(0..=plan.lists.len());
        for _ in 0..[0, 0, 1, 1, 1, 2][rng.usize(0..6)] {
            let fault = plan.fault(rng);
            // Short faults are more frequent than long ones.
            let lasts = Duration::from_millis(20 << rng.u32(0..=7));
            plan.faults.push((rng.usize(0..=plan.lists.len()), fault, lasts));
        }
        plan.faults.sort_by_key(|(after, ..)| *after);
        plan
    }

    /// A short scan without faults: after it, framegate must have the same resources as after the previous such scan.
    #[must_use]
    pub fn rest() -> Self {
        let stream = StreamPlan { source: SOURCES[0], events: vec![0], stops_after: None, panics: false };
        let workers = vec!["w1".to_owned()];
        let assignment = Assignment::from([(stream.source, workers.clone())]);
        Self {
            number: u32::MAX,
            streams: vec![stream],
            workers,
            assignments: vec![assignment; 3],
            lists: vec![3],
            detectors_after: 0,
            capture: Capture::Off,
            faults: Vec::new(),
        }
    }

    /// Assigns this many events: in turn, at random, or to all; some streams of some events get no worker, or no
    /// assignment.
    fn assign(&mut self, rng: &mut Rng, events: usize) {
        let manner = rng.u8(0..4);
        let absent = rng.u8(0..12) == 0;
        for event in 0..events {
            let mut assignment = Assignment::new();
            for stream in &self.streams {
                let mut workers = match manner {
                    0 => vec![self.workers[event % self.workers.len()].clone()],
                    1 => self.workers.clone(),
                    _ => self.workers.iter().filter(|_| rng.bool()).cloned().collect(),
                };
                if absent && rng.u8(0..8) == 0 {
                    workers.push(NOBODY.to_owned());
                }
                // A stream that is missing in an assignment has its next event in a later one.
                if manner != 3 || self.streams.len() == 1 || rng.u8(0..5) > 0 {
                    assignment.insert(stream.source, workers);
                }
            }
            self.assignments.push(assignment);
        }
        while self.lists.last().copied().unwrap_or(0) < events {
            let last = self.lists.last().copied().unwrap_or(0);
            self.lists.push(rng.usize(last + 1..=events));
        }
    }

    fn fault(&self, rng: &mut Rng) -> Fault {
        let worker = rng.usize(0..self.workers.len());
        let restarts = self.number < RESTARTS_BEFORE;
        match rng.u8(0..if restarts { 20 } else { 18 }) {
            0 => Fault::RedisHeld,
            1 => Fault::RedisCut,
            2 => Fault::RedisSlow,
            3 => Fault::RedisPaused,
            4 => Fault::RedisRestarted,
            5 => Fault::RedisEmptied,
            6 | 7 => Fault::WorkerKilled(worker),
            8 => Fault::WorkerHalfOpen(worker),
            9 => Fault::WorkerStalled(worker),
            10 => Fault::WorkerSilent(worker),
            11 => Fault::WorkerHeld(worker),
            12 | 13 => Fault::WorkerCut(worker),
            14 => Fault::Strangers,
            15 => Fault::Nonsense,
            16 => Fault::Repeated,
            17 => Fault::NoDescriptors,
            18 => Fault::IngesterKilled,
            _ => Fault::IngesterEnded,
        }
    }

    /// Whether framegate loses the messages that it holds.
    #[must_use]
    pub fn kills_the_ingester(&self) -> bool {
        self.faults.iter().any(|(_, fault, _)| *fault == Fault::IngesterKilled)
    }

    /// How often a worker's connection ends in this scan.
    #[must_use]
    pub fn lost_connections(&self, name: &str) -> usize {
        let is_it = |index: &usize| self.workers[*index] == name;
        let faults = self.faults.iter().filter(|(_, fault, _)| match fault {
            Fault::WorkerKilled(worker) | Fault::WorkerHalfOpen(worker) | Fault::WorkerCut(worker) => is_it(worker),
            // A new connection needs a descriptor; framegate frees one by closing a worker's connection.
            Fault::NoDescriptors => is_it(&0),
            _ => false,
        });
        faults.count()
    }
}

impl StreamPlan {
    fn new(rng: &mut Rng, source: &'static str, events: usize) -> Self {
        let most = [10, 1000, 1000, 50_000][rng.usize(0..4)];
        let events: Vec<_> = (0..events).map(|_| rng.usize(0..most)).collect();
        // An oscilloscope's prepare alone gives no event: only the first sequence shows the mode.
        let least = if source == "lecroy" { 2 } else { 1 };
        let stops_after = (rng.u8(0..12) == 0).then(|| rng.usize(least..events.len() + 2));
        Self { source, events, stops_after, panics: rng.u8(0..25) == 0 }
    }

    /// Number of events that the detector sends: start, data, end.
    #[must_use]
    pub fn handed_over(&self) -> usize {
        if self.panics { 0 } else { self.stops_after.unwrap_or(self.events.len() + 2) }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "scan {}:", self.number)?;
        for stream in &self.streams {
            write!(f, " {}", stream.source)?;
            if stream.panics {
                write!(f, " (panics)")?;
            } else if let Some(events) = stream.stops_after {
                write!(f, " (stops after {events})")?;
            }
        }
        write!(f, "; {} events in {} lists", self.assignments.len(), self.lists.len())?;
        write!(f, ", {} workers, capture {:?}", self.workers.len(), self.capture)?;
        for (after, fault, lasts) in &self.faults {
            write!(f, "; {fault} after list {after} for {lasts:?}")?;
        }
        Ok(())
    }
}

impl Fault {
    /// Name without the worker.
    #[must_use]
    pub fn kind(&self) -> String {
        let text = format!("{self:?}");
        text.split('(').next().unwrap_or_default().to_owned()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
