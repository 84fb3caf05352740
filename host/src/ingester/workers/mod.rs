//! The workers: which are connected, which messages wait for them, and when a worker is evicted.
//!
//! A worker is identified by its name, which is its identity on the wire; its service uuid distinguishes its restarts.
//! The account that each message is charged to limits the waiting messages.

mod inside;
mod loss;
mod news;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant, SystemTime},
};

use uuid::{Uuid, Variant};

pub(crate) use self::{inside::NotJoined, news::WorkerNews};
use super::{Limits, message::Message, report::WorkerReport, strangers::Strangers};
use crate::{names::WorkerName, recycle::Pooled, settings::AllowedWorkers};

/// One worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) name: WorkerName,
    service_uuid: Option<Uuid>,
    /// The last valid ping; `None` before the first.
    last_ping: Option<(Instant, SystemTime)>,
    /// It has pinged again while connected: senders with invented names mostly do not.
    steady: bool,
    /// Messages in event order that the network has not taken yet.
    pub(crate) pending: VecDeque<Pooled<Message>>,
    /// Since when messages wait for the unreachable worker.
    unreachable_since: Option<Instant>,
    /// When the network last took something for it, or when its first message began to wait.
    moved: Instant,
    /// Number of bytes of the first message that the network has.
    begun: usize,
    /// The first message is of the last scan: the network may complete it, but nobody else gets it.
    of_last_scan: bool,
    sent_at: Option<Instant>,
    /// Evicted in this scan: it would be out of step.
    evicted: bool,
    /// Assignments name it, so its index is stored elsewhere.
    assigned: bool,
    /// Its name is not allowed.
    barred: bool,
    /// The last news of it was that it came.
    announced: bool,
    sent: u64,
    dropped: u64,
    lost: u64,
}

/// All workers that pinged or were assigned since the last scan start.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    all: Vec<Worker>,
    by_name: HashMap<WorkerName, usize>,
    /// Service uuids of forgotten workers: a worker that wakes and pings with an old uuid has not restarted, and may
    /// have been evicted in this scan. At most `most`.
    gone: HashMap<WorkerName, Uuid>,
    allowed: AllowedWorkers,
    /// Maximum number of known workers without an assignment: strangers can invent names.
    most: usize,
    pub(crate) strangers: Strangers,
    /// Lines for the log.
    lines: Vec<String>,
    /// Number of dropped messages of evicted workers.
    pub(crate) dropped: u64,
    pub(crate) evictions: u64,
    /// Workers whose connections have to end: a dropped message may have been partly sent.
    pub(crate) given_up: Vec<WorkerName>,
    /// Number of messages that the network held when their worker's connection ended.
    pub(crate) lost: u64,
    /// Pings of workers that were not connected before, including restarts under a known name.
    arrivals: u64,
    /// Names of the workers inside the program.
    inside: HashSet<WorkerName>,
    news: Vec<WorkerNews>,
}

/// A worker that has not pinged for this long is no longer published (dranspose 0.2.0, `ingester.py`, `accept_workers`).
const UNSEEN: Duration = Duration::from_secs(4);
/// The same for a worker that may be busy: a Python worker that does not find itself published closes its socket.
const UNSEEN_BUSY: Duration = Duration::from_secs(8);
/// Maximum number of log lines between two looks: a stranger can end its connections as often as it likes.
const LINES_AT_ONCE: usize = 8;

impl Workers {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { allowed: limits.allowed_workers.clone(), most: limits.most_workers, ..Self::default() }
    }

    /// The worker that an assignment names; created if necessary.
    pub(crate) fn index(&mut self, name: &WorkerName, now: Instant) -> usize {
        let index = match self.by_name.get(name) {
            Some(index) => *index,
            None => {
                let barred = !self.allowed.allow(name);
                if barred {
                    self.strangers.not_allowed(name, "events are assigned to it");
                }
                let index = self.all.len();
                let service_uuid = self.gone.remove(name);
                self.all.push(Worker { barred, service_uuid, ..Worker::new(name.clone(), now) });
                self.by_name.insert(name.clone(), index);
                index
            }
        };
        self.all[index].assigned = true;
        index
    }

    /// Handles a message from the network. Returns the worker's name if it is a ping of a served worker.
    pub(crate) fn ping(
        &mut self,
        identity: &[u8],
        payload: &[u8],
        now: Instant,
        wall: SystemTime,
    ) -> Option<WorkerName> {
        let uuid =
            Uuid::from_slice(payload).ok().filter(|u| u.get_version_num() == 4 && u.get_variant() == Variant::RFC4122);
        let (Ok(name), Some(uuid)) = (WorkerName::from_identity(identity), uuid) else {
            self.strangers.junk += 1;
            return None;
        };
        if !self.allowed.allow(&name) {
            self.strangers.pings_not_allowed += 1;
            self.strangers.not_allowed(&name, "it pings");
            return None;
        }
        if self.inside.contains(&name) {
            self.strangers.pings_not_allowed += 1;
            self.strangers.has_name_of_inside(&name);
            return None;
        }
        let Some(index) = self.by_name.get(&name).copied().or_else(|| self.place_for(&name, now)) else {
            self.strangers.too_many(self.most);
            return None;
        };
        self.heard(index, uuid, now, wall);
        Some(name)
    }

    /// A worker with a place is alive.
    fn heard(&mut self, index: usize, uuid: Uuid, now: Instant, wall: SystemTime) {
        let worker = &mut self.all[index];
        worker.steady |= worker.is_connected(now);
        let known = worker.is_connected(now) && worker.service_uuid == Some(uuid);
        if worker.service_uuid != Some(uuid) {
            worker.service_uuid = Some(uuid);
            worker.evicted = false;
            worker.moved = now;
        }
        worker.last_ping = Some((now, wall));
        worker.unreachable_since = None;
        self.arrivals += u64::from(!known);
    }

    /// A place for a new worker: a free one, or that of a worker that is gone, or that of the oldest worker with only
    /// one ping. So invented names cannot keep out a worker that keeps pinging.
    fn place_for(&mut self, name: &WorkerName, now: Instant) -> Option<usize> {
        let index = if self.all.len() < self.most {
            self.all.len()
        } else {
            let idle = || self.all.iter().enumerate().filter(|(_, one)| !one.assigned && one.pending.is_empty());
            let gone = idle().find(|(_, one)| !one.is_connected(now));
            let index = gone.map(|(index, _)| index);
            index.or_else(|| {
                let once = idle().filter(|(_, one)| !one.steady);
                let (index, _) = once.min_by_key(|(_, one)| one.last_ping.map(|(at, _)| at))?;
                self.strangers.too_many(self.most);
                Some(index)
            })?
        };
        let worker = Worker::new(name.clone(), now);
        match self.all.get_mut(index) {
            Some(place) => drop(self.by_name.remove(&std::mem::replace(place, worker).name)),
            None => self.all.push(worker),
        }
        self.by_name.insert(name.clone(), index);
        Some(index)
    }

    /// Whether a worker is known.
    pub(crate) fn has_place(&self, name: &WorkerName) -> bool {
        self.by_name.contains_key(name)
    }

    /// Queues a message for a worker; drops it at once if the worker was evicted, or is not allowed.
    pub(crate) fn give(&mut self, index: usize, message: Pooled<Message>, now: Instant) {
        let worker = &mut self.all[index];
        if worker.barred {
            worker.dropped += 1;
            self.strangers.messages_not_allowed += 1;
            return;
        }
        if worker.evicted {
            worker.dropped += 1;
            self.dropped += 1;
            return;
        }
        if worker.pending.is_empty() {
            worker.moved = now;
        }
        worker.pending.push_back(message);
    }

    /// The network took the first messages, which are returned, and this many bytes of the next.
    pub(crate) fn sent(
        &mut self,
        index: usize,
        messages: usize,
        begun: usize,
        now: Instant,
    ) -> impl Iterator<Item = Pooled<Message>> {
        let worker = &mut self.all[index];
        worker.begun = begun;
        worker.of_last_scan &= messages == 0;
        worker.sent += messages as u64;
        worker.moved = now;
        worker.sent_at = Some(now);
        worker.unreachable_since = None;
        worker.pending.drain(..messages)
    }

    /// The network does not know this worker. Its messages keep waiting.
    pub(crate) fn unreachable(&mut self, index: usize, now: Instant) {
        self.all[index].unreachable_since.get_or_insert(now);
    }

    /// Adds a line for the log; limited to the first few.
    fn log(&mut self, line: String) {
        if self.lines.len() < LINES_AT_ONCE {
            self.lines.push(line);
        }
    }

    /// New lines for the log.
    pub(crate) fn take_lines(&mut self) -> Vec<String> {
        self.lines.append(&mut self.strangers.take_lines());
        std::mem::take(&mut self.lines)
    }

    /// Starts a new scan: messages of the old scan are dropped, except a partly sent one, and workers that are gone are
    /// forgotten. Returns the number of dropped messages.
    pub(crate) fn restart(&mut self, now: Instant) -> u64 {
        let mut dropped = 0;
        for worker in &mut self.all {
            let begun = usize::from(worker.begun > 0);
            dropped += (worker.pending.len() - begun) as u64;
            worker.pending.truncate(begun);
            worker.of_last_scan = begun == 1;
        }
        // Those that are forgotten have left.
        self.news = self.take_news(now);
        if self.gone.len() >= self.most {
            self.gone.clear();
        }
        let gone = self.all.extract_if(.., |worker| !worker.is_connected(now) && worker.begun == 0);
        self.gone.extend(gone.filter_map(|worker| Some((worker.name, worker.service_uuid?))));
        self.by_name = self.all.iter().enumerate().map(|(index, worker)| (worker.name.clone(), index)).collect();
        for worker in &mut self.all {
            worker.unreachable_since = None;
            (worker.evicted, worker.assigned) = (false, false);
            (worker.sent, worker.dropped, worker.lost) = (0, 0, 0);
            if worker.begun == 0 {
                worker.moved = now;
            }
        }
        dropped
    }

    /// Workers with waiting messages, by index.
    pub(crate) fn with_pending(&self) -> impl Iterator<Item = usize> {
        self.all.iter().enumerate().filter(|(_, worker)| !worker.pending.is_empty()).map(|(index, _)| index)
    }

    pub(crate) fn get(&self, index: usize) -> &Worker {
        &self.all[index]
    }

    /// Connected workers, by index.
    pub(crate) fn connected(&self, now: Instant) -> impl Iterator<Item = usize> {
        self.all.iter().enumerate().filter(move |(_, worker)| worker.is_connected(now)).map(|(index, _)| index)
    }

    /// Connected workers that were not evicted, by index; in turn: only those that are reachable now, because a message
    /// for a worker that is gone is lost to the others.
    pub(crate) fn to_deal_to(&self, now: Instant, in_turn: bool) -> impl Iterator<Item = usize> {
        self.connected(now).filter(move |index| {
            let worker = &self.all[*index];
            !worker.evicted && (!in_turn || worker.unreachable_since.is_none())
        })
    }

    /// Changes whenever the set of connected workers does: a worker connects, restarts, or times out.
    pub(crate) fn presence(&self, now: Instant) -> (usize, u64) {
        (self.connected(now).count(), self.arrivals)
    }

    /// Number of messages that are partly sent.
    pub(crate) fn begun(&self) -> u64 {
        self.all.iter().filter(|worker| worker.begun > 0).count() as u64
    }

    pub(crate) fn nothing_waits(&self) -> bool {
        self.all.iter().all(|worker| worker.pending.is_empty())
    }

    pub(crate) fn report(&self, now: Instant) -> Vec<WorkerReport> {
        let one = |worker: &Worker| WorkerReport {
            name: worker.name.clone(),
            service_uuid: worker.service_uuid,
            last_seen: worker
                .last_ping
                .map_or(0.0, |(_, wall)| wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()),
            connected: worker.is_connected(now),
            sent: worker.sent,
            waiting: worker.pending.len() as u64,
            begun: worker.begun as u64,
            dropped: worker.dropped,
            lost: worker.lost,
        };
        self.all.iter().map(one).collect()
    }
}

impl Worker {
    fn new(name: WorkerName, now: Instant) -> Self {
        Self {
            name,
            service_uuid: None,
            last_ping: None,
            steady: false,
            pending: VecDeque::new(),
            unreachable_since: None,
            moved: now,
            begun: 0,
            of_last_scan: false,
            sent_at: None,
            evicted: false,
            assigned: false,
            barred: false,
            announced: false,
            sent: 0,
            dropped: 0,
            lost: 0,
        }
    }

    pub(crate) fn is_connected(&self, now: Instant) -> bool {
        let Some((at, _)) = self.last_ping else { return false };
        let busy = !self.pending.is_empty() || self.sent_at.is_some_and(|sent| sent > at);
        now.duration_since(at) < if busy { UNSEEN_BUSY } else { UNSEEN }
    }
}
