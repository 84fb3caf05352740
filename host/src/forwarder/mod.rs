//! The forwarder of an ingester: joins control, sources, workers and capture.
//!
//! Owns the workers' port, the scan's state, and the handles of the readers. Everything is done in turns, which never wait.
//! Its [own thread](thread) takes them, and waits in between for the port's connections and one wake descriptor; never for
//! Redis, a disk, a log or a source. While it sleeps, a reader whose event has come alone takes a [short
//! turn](Forwarder::short_turn) itself, so that the event is not handed to another thread.

mod actions;
mod housekeeping;
mod swap;
mod thread;

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::{mpsc, watch};
use uuid::Uuid;

pub(crate) use self::thread::ForwarderThread;
use crate::{
    budget::Account,
    counter::Counter,
    events::News,
    ingester::{
        Ingester, PairedEvent,
        assemble::Slot,
        command::{Assignments, Command},
        report::Report,
        snapshot::Landmarks,
    },
    names::ScanId,
    output::{
        dump::Dump,
        router::{Router, SendOutcome, WorkerInput},
        watch::Watch,
    },
    settings::IngesterSettings,
    source::{
        queue::{Item, Queue, Space},
        reader::{Reader, TakeOver},
        replacement::{NextSource, SourceNotice},
    },
    turns::{Bell, ShortTurn, Turns},
    worker::link::Links,
};

/// The parts of the forwarder; `host` assembles them.
pub(crate) struct Forwarder {
    pub(crate) settings: IngesterSettings,
    pub(crate) service_uuid: Uuid,
    pub(crate) ingester: Ingester,
    pub(crate) inputs: Vec<Input>,
    pub(crate) router: Router,
    /// For the queues of the readers.
    pub(crate) bell: Bell,
    /// Names the ingester in log lines.
    pub(crate) named: tracing::Span,
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
    /// Those of the last report.
    landmarks: Option<Landmarks>,
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
            landmarks: None,
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

impl Forwarder {
    /// Does everything that can be done now. Returns how long to wait for more; `None`: everything is done that was to be
    /// done before the end. [own thread]
    fn turn(&mut self, watch: &Watch) -> Option<Duration> {
        let (now, wall) = (Instant::now(), SystemTime::now());
        self.router.note(watch);
        // First what short turns have decided.
        let mut busy = self.act();
        busy |= self.take_commands(now);
        busy |= self.take_items();
        let ingester = &mut self.ingester;
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
        if self.has_landmark(now) || now.duration_since(self.state.reported_at) >= REPORT {
            self.publish(now, false);
        }
        let delivered =
            !busy && self.ingester.workers.nothing_waits() && !self.ingester.is_asking() && !self.dump.holds_back();
        if self.state.stop_at.is_some_and(|stop_at| delivered || now >= stop_at) {
            return None;
        }
        if busy {
            return Some(Duration::ZERO);
        }
        self.rest();
        Some(self.patience())
    }

    /// Forwards what has come. Returns whether that is all: nothing waits for a worker, and no decision was made that its own
    /// thread must execute. [reader thread]
    fn short_turn(&mut self) -> bool {
        let (now, wall) = (Instant::now(), SystemTime::now());
        self.take_items();
        let has_more = self.pair(now, wall);
        self.flush(now);
        self.ingester.advance(now);
        let is_all = !has_more
            && self.ingester.workers.nothing_waits()
            && self.ingester.actions.is_empty()
            && !self.has_landmark(now);
        if is_all {
            self.rest();
        }
        is_all
    }

    /// Whether a report is due at once.
    fn has_landmark(&self, now: Instant) -> bool {
        self.state.landmarks != Some(self.ingester.landmarks(now))
    }

    /// Nothing more can be done with the events that have come.
    fn rest(&self) {
        self.inputs.iter().filter_map(|input| input.queue.as_ref()).for_each(|queue| queue.rest());
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
}

impl ShortTurn for Turns<Forwarder> {
    fn take(&self) {
        self.short(|forwarder| {
            // Taken out, because a clone of it would cost more than the rest of an enter.
            let named = mem::replace(&mut forwarder.named, tracing::Span::none());
            let is_all = named.in_scope(|| forwarder.short_turn());
            forwarder.named = named;
            is_all
        });
    }
}
