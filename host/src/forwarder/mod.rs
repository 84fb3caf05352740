//! The forwarder: the one thread of an ingester that joins control, sources, workers and capture.
//!
//! Owns the workers' port, the scan's state, and the handles of the readers. It waits for the port's connections and
//! one wake descriptor; never for Redis, a disk, a log or a source.

mod actions;
mod housekeeping;
mod swap;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use crate::{
    budget::Account,
    counter::Counter,
    events::News,
    ingester::{
        Ingester, PairedEvent,
        assemble::Slot,
        command::{Assignments, Command},
        report::Report,
    },
    names::ScanId,
    output::{
        dump::Dump,
        router::{Router, SendOutcome, WorkerInput},
    },
    settings::IngesterSettings,
    source::{
        queue::{Item, Queue, Space},
        reader::{Reader, TakeOver},
        replacement::{NextSource, SourceNotice},
    },
    wake::Wake,
    worker::link::Links,
};

/// The parts of the forwarder; `host` assembles them.
pub(crate) struct Forwarder {
    pub(crate) settings: IngesterSettings,
    pub(crate) service_uuid: Uuid,
    pub(crate) ingester: Ingester,
    pub(crate) inputs: Vec<Input>,
    pub(crate) router: Router,
    pub(crate) wake: Wake,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) assignments: mpsc::Receiver<Assignments>,
    /// Notices to the host about the sources. Unbounded, because the forwarder may not wait: one message for each
    /// swap, and one for each source that hangs when a scan starts.
    pub(crate) notices: mpsc::UnboundedSender<SourceNotice>,
    pub(crate) report: watch::Sender<Report>,
    /// Subscribers in the program.
    pub(crate) news: News,
    /// Workers inside the program.
    pub(crate) links: Links,
    pub(crate) dump: Dump,
    /// The account of assembled messages that wait for workers.
    pub(crate) assembled: Arc<Account>,
    pub(crate) state: LoopState,
}

/// One stream's reader, and its queue in the current scan.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) reader: Reader,
    queue: Option<Arc<Queue>>,
    /// Where the stream's readers wait for room in their queues.
    space: Arc<Space>,
    /// The stream's source from the next scan on.
    pub(crate) next: Arc<NextSource>,
    /// The reader before, between the exchange and the next order.
    from: Option<TakeOver>,
    /// The latest parameter values from control, for a later source.
    values: BTreeMap<String, Arc<[u8]>>,
}

impl Input {
    pub(crate) fn new(reader: Reader) -> Self {
        let space = Arc::new(Space::default());
        Self { reader, queue: None, space, next: Arc::default(), from: None, values: BTreeMap::new() }
    }
}

/// State that the loop keeps from turn to turn.
#[derive(Debug)]
pub(crate) struct LoopState {
    items: VecDeque<Item>,
    /// The scan whose capture is being closed.
    closing: Option<ScanId>,
    /// After a stop request: the deadline for delivering queued events.
    stop_at: Option<Instant>,
    housekeeping_at: Instant,
    reported_at: Instant,
    rate: housekeeping::Rate,
}

impl LoopState {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            items: VecDeque::new(),
            closing: None,
            stop_at: None,
            housekeeping_at: now,
            reported_at: now,
            rate: housekeeping::Rate::new(now),
        }
    }
}

/// Maximum size of assignments taken from control, some 200,000 plain ones; the rest waits in Redis.
const ASSIGNMENTS_LIMIT: usize = 10 << 20;
/// Maximum number of events that are paired before they are sent: keeps both steps in the processor's cache.
const PAIRS_AT_ONCE: usize = 128;
const HOUSEKEEPING: Duration = Duration::from_millis(100);
const REPORT: Duration = Duration::from_millis(200);
/// How long control may take to end. The host waits less, but its time began earlier.
const CONTROL_ENDS: Duration = Duration::from_millis(1000);
/// A disk that takes nothing for so long hangs. On a busy machine a slow one may take a while for a piece.
const DISK_ANSWERS: Duration = Duration::from_secs(2);
/// A worker that has just read our address pings within milliseconds; the rest is for a busy machine.
const LAST_PINGS: Duration = Duration::from_millis(60);

impl Forwarder {
    /// The thread's main loop. Ends after [`Command::Stop`], or when control is gone.
    pub(crate) fn run(mut self) {
        let mut landmarks = None;
        loop {
            self.wake.clear();
            let now = Instant::now();
            let busy = self.turn(now);
            let seen = Some(self.ingester.landmarks(now));
            if seen != landmarks || now.duration_since(self.state.reported_at) >= REPORT {
                landmarks = seen;
                self.publish(now, false);
            }
            let delivered =
                !busy && self.ingester.workers.nothing_waits() && !self.ingester.is_asking() && !self.dump.holds_back();
            if self.state.stop_at.is_some_and(|stop_at| delivered || now >= stop_at) {
                return self.close();
            }
            if !busy {
                self.inputs.iter().filter_map(|input| input.queue.as_ref()).for_each(|queue| queue.rest());
                self.router.wait(self.patience());
            }
        }
    }

    /// Does everything that can be done now. Returns whether there may be more immediately.
    fn turn(&mut self, now: Instant) -> bool {
        let mut busy = self.take_commands(now);
        busy |= self.take_items();
        let ingester = &mut self.ingester;
        let wall = SystemTime::now();
        busy |= self.links.join(&mut ingester.workers, now, wall);
        busy |= self.router.receive(now, |heard| match heard {
            WorkerInput::Message { identity, payload } => ingester.workers.ping(identity, payload, now, wall),
            WorkerInput::Parted(worker, lost) => {
                let replaced = ingester.workers.parted(&worker, lost);
                ingester.count(Counter::MessagesReplaced, replaced);
                None
            }
        });
        if self.router.is_crowded() {
            self.router.audit(now, |worker| ingester.workers.has_place(worker));
        }
        busy |= self.pair(now, wall);
        busy |= self.flush(now);
        self.ingester.advance(now);
        if let Some(scan) = self.state.closing.filter(|scan| self.dump.closed() == Some(*scan)) {
            self.state.closing = None;
            self.ingester.capture_closed(scan);
        }
        busy |= self.act();
        if now.duration_since(self.state.housekeeping_at) >= HOUSEKEEPING {
            self.state.housekeeping_at = now;
            self.housekeeping(now);
        }
        busy
    }

    fn take_commands(&mut self, now: Instant) -> bool {
        let mut busy = false;
        loop {
            match self.commands.try_recv() {
                Ok(command) => {
                    if let Command::StartScan { scan, .. } = &command {
                        self.replace_sources(*scan);
                    }
                    if let Command::Finish { .. } = &command {
                        // Assignments sent before the finish come by the other queue, and belong to the scan.
                        while let Ok(assignments) = self.assignments.try_recv() {
                            self.ingester.assign(assignments, now);
                        }
                    }
                    self.ingester.command(command, now);
                }
                Err(mpsc::error::TryRecvError::Empty) => break,
                Err(mpsc::error::TryRecvError::Disconnected) => {
                    self.state.stop_at.get_or_insert(now);
                    break;
                }
            }
            busy = true;
            self.act();
        }
        while self.ingester.assignments_bytes() < ASSIGNMENTS_LIMIT {
            let Ok(assignments) = self.assignments.try_recv() else { break };
            self.ingester.assign(assignments, now);
            busy = true;
        }
        busy
    }

    /// Takes the readers' queued items.
    fn take_items(&mut self) -> bool {
        let mut busy = false;
        for (stream, input) in self.inputs.iter().enumerate() {
            let Some(queue) = &input.queue else { continue };
            let holds_none = self.ingester.holds_none(stream);
            queue.take_all(&mut self.state.items, holds_none, self.ingester.empties(stream));
            for item in self.state.items.drain(..) {
                busy = true;
                match item {
                    Item::Events(batch) => self.ingester.events(stream, Slot::Events(batch)),
                    Item::Dropped { typ, count } => self.ingester.events(stream, Slot::Dropped { typ, count }),
                    Item::Opened => self.ingester.opened(stream),
                    Item::Closed => self.ingester.closed(stream),
                    Item::Ended => self.ingester.ended(stream),
                    Item::Failed(why) => self.ingester.failed(stream, why),
                }
            }
        }
        busy
    }

    fn pair(&mut self, now: Instant, wall: SystemTime) -> bool {
        let mut paired = 0;
        while paired < PAIRS_AT_ONCE {
            if self.assembled.is_full() || self.dump.holds_back() {
                break;
            }
            let capture = |event: &PairedEvent<'_>| _ = self.dump.write(event);
            if !self.ingester.pair(now, wall, &self.assembled, capture) {
                break;
            }
            paired += 1;
        }
        if paired > 0 {
            self.ingester.paired(paired as u64, now);
        }
        paired == PAIRS_AT_ONCE
    }

    /// Hands waiting messages to the network, as many as it takes.
    fn flush(&mut self, now: Instant) -> bool {
        let waiting: smallvec::SmallVec<[usize; 16]> = self.ingester.workers.with_pending().collect();
        let (mut busy, scan) = (false, self.ingester.scan_id());
        for index in waiting {
            let worker = self.ingester.workers.get(index);
            let inside = self.links.send(&worker.name, scan, worker.pending.iter());
            match inside.unwrap_or_else(|| self.router.send(&worker.name, worker.pending.iter())) {
                SendOutcome::Accepted(progress) => {
                    self.ingester.sent(index, progress.messages, progress.begun, now);
                    busy = true;
                }
                SendOutcome::Busy => {}
                SendOutcome::Unreachable => self.ingester.workers.unreachable(index, now),
            }
        }
        busy
    }

    /// How long to wait when there is nothing to do: some changes ring no wake and are polled.
    fn patience(&self) -> Duration {
        if self.state.stop_at.is_some() || (self.ingester.is_opening() && self.ingester.workers.begun() > 0) {
            Duration::from_millis(5)
        } else if !self.ingester.workers.nothing_waits() {
            Duration::from_millis(20)
        } else {
            HOUSEKEEPING
        }
    }

    /// Closes sources, capture and socket, in this order, each with a time limit.
    fn close(mut self) {
        let limit = Instant::now() + Duration::from_millis(400);
        // The remaining events are shown as queued.
        self.take_items();
        for (stream, input) in self.inputs.iter_mut().enumerate() {
            input.reader.stop();
            drop(input.next.take());
            if let Some(queue) = input.queue.take() {
                self.ingester.left_behind(stream, queue.abandon());
            }
        }
        let last = ScanId(Uuid::nil());
        self.dump.close(last);
        for input in &mut self.inputs {
            input.reader.join(limit);
        }
        self.wait_for_disk(last, limit);
        self.publish(Instant::now(), true);
        self.dump.join(limit);
        outlive_control(&self.commands, &mut self.router, &self.wake);
    }

    /// Waits for the capture to close, at least until `limit`. A disk that is slow and takes something has the rest of the
    /// grace.
    fn wait_for_disk(&mut self, closes: ScanId, limit: Instant) {
        let latest = self.state.stop_at.map_or(limit, |stop_at| stop_at.max(limit));
        // Hanging readers may have used up the limit.
        let mut until = (Instant::now() + DISK_ANSWERS).min(latest).max(limit);
        let mut left = self.dump.left_to_write();
        while self.dump.closed() != Some(closes) && Instant::now() < until {
            thread::park_timeout(Duration::from_millis(2));
            let now_left = self.dump.left_to_write();
            if now_left < left {
                left = now_left;
                until = (Instant::now() + DISK_ANSWERS).min(latest).max(limit);
            }
        }
    }
}

/// Keeps the socket open until control has removed its published state. A dranspose worker that pings a closed socket
/// can no longer end: it waits without a limit until its ping is taken.
fn outlive_control(commands: &mpsc::Receiver<Command>, router: &mut Router, wake: &Wake) {
    let (mut limit, mut gone) = (Instant::now() + CONTROL_ENDS, false);
    while Instant::now() < limit {
        wake.clear();
        if !gone && commands.is_closed() {
            gone = true;
            limit = limit.min(Instant::now() + LAST_PINGS);
        }
        router.receive(Instant::now(), |_| None);
        router.wait(Duration::from_millis(5));
    }
}
