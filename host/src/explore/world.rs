//! The real heart with the real queues of its streams, in a simulated world that does one thing at a time, on one thread.
//!
//! The steps of a forwarder's turn, and of `forwarder/actions.rs` for the heart's decisions, are done here in the same order.
//! Readers and the network are simulated.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use framegate_plugin_api::{EventKind, Frame};
use uuid::Uuid;

use super::{
    ops::{Op, plan},
    spec::Spec,
    state::{Message, Phase, STREAMS, WORKERS},
};
use crate::event::Event;
use crate::{
    budget::Account,
    counter::Counter,
    ingester::{
        Action, Ingester,
        assemble::Slot,
        command::{Assignment, Assignments, Command, Deal},
        report::{IngesterState, Report},
        snapshot::Measured,
        tests::limits,
    },
    names::{IngesterName, ScanId, StreamName, WorkerName},
    settings::WhenFull,
    source::queue::{Item, Queue, Space},
    wake::Wake,
};

pub(super) struct World {
    heart: Ingester,
    now: Instant,
    account: Arc<Account>,
    space: Arc<Space>,
    wake: Wake,
    inputs: [Option<Arc<Queue>>; STREAMS],
    readers: [Reader; STREAMS],
    closing: Option<ScanId>,
    /// The capture blocks.
    stands: bool,
    /// The next source of the second stream, from the next scan on: whether it is on demand.
    swap: Option<bool>,
    /// Number of started scans.
    started: usize,
}

#[derive(Default)]
struct Reader {
    orders: VecDeque<Order>,
    run: Option<Arc<Queue>>,
}

enum Order {
    Open(Arc<Queue>),
    Close(Arc<Queue>),
    Give,
}

const STREAM_NAMES: [&str; STREAMS] = ["a", "b"];
const WORKER_NAMES: [&str; WORKERS] = ["w0", "w1"];
/// Longer than every limit below.
const LONG: Duration = Duration::from_secs(11);

fn scan_id(number: usize) -> ScanId {
    ScanId(Uuid::from_u128(0x4000_8000_0000_0000_0000 + number as u128))
}

fn stream_name(stream: usize) -> StreamName {
    StreamName::new(STREAM_NAMES[stream]).unwrap()
}

fn worker_name(worker: usize) -> WorkerName {
    WorkerName::new(WORKER_NAMES[worker]).unwrap()
}

impl World {
    pub(super) fn new(wake: &Wake, on_demand: bool) -> Self {
        let streams = (0..STREAMS).map(|stream| (stream_name(stream), on_demand && stream == 1)).collect();
        Self {
            heart: Ingester::new(IngesterName::new("i").unwrap(), streams, limits()),
            now: Instant::now(),
            account: Account::new(u64::MAX, || ()),
            space: Arc::default(),
            wake: wake.clone(),
            inputs: Default::default(),
            readers: Default::default(),
            closing: None,
            stands: false,
            swap: None,
            started: 0,
        }
    }

    /// Executes an operation that `before` allows.
    pub(super) fn step(&mut self, before: &Spec, op: Op) {
        let (now, wall) = (self.now, SystemTime::UNIX_EPOCH);
        if op.is_own() {
            self.act();
        }
        match op {
            Op::Start { both } => {
                let streams = (0..if both { 2 } else { 1 }).map(stream_name).collect();
                let scan = scan_id(self.started);
                self.started += 1;
                if let Some(on_demand) = self.swap.take() {
                    self.readers[1] = Reader::default();
                    self.heart.replaced(1, on_demand);
                }
                self.heart.command(Command::StartScan { scan, streams, deal: Deal::Controller }, now);
                self.act();
            }
            Op::Finish => self.heart.command(Command::Finish { scan: scan_id(self.started - 1) }, now),
            Op::FinishOld => self.heart.command(Command::Finish { scan: scan_id(self.started - 2) }, now),
            Op::Assign => self.assign(self.started - 1, before.scan.as_ref().unwrap().next_number),
            Op::AssignAgain => self.assign(self.started - 1, 0),
            Op::AssignGap => self.assign(self.started - 1, before.scan.as_ref().unwrap().next_number + 1),
            Op::AssignOld => self.assign(self.started - 2, 0),
            Op::Obey(stream) => {
                let reader = &mut self.readers[stream];
                match reader.orders.pop_front().unwrap() {
                    Order::Open(queue) => {
                        queue.tell(Item::Opened);
                        reader.run = Some(queue);
                    }
                    Order::Close(queue) => {
                        queue.tell(Item::Closed);
                        reader.run = None;
                    }
                    Order::Give if reader.run.is_none() => {}
                    Order::Give => self.give(before, stream),
                }
            }
            Op::Event(stream) => self.give(before, stream),
            Op::Full(stream) => self.run(stream).tell(Item::Dropped { typ: "T", count: 1 }),
            Op::End(stream) => self.run(stream).tell(Item::Ended),
            Op::Fail(stream) => {
                if before.on_demand && stream == 1 {
                    self.readers[1].orders.pop_front();
                }
                self.run(stream).tell(Item::Failed("it broke".to_owned()));
                self.readers[stream].run = None;
            }
            Op::Ping(worker) | Op::Restart(worker) => {
                let start = before.workers[worker].restarts + u32::from(matches!(op, Op::Restart(_)));
                let uuid = uuid::Builder::from_random_bytes([start as u8; 16]).into_uuid();
                self.heart.workers.ping(WORKER_NAMES[worker].as_bytes(), uuid.as_bytes(), now, wall);
            }
            Op::Take(worker) => {
                let index = self.index(worker).unwrap();
                self.heart.sent(index, 1, 0, now);
            }
            Op::Unreachable(worker) => {
                let index = self.index(worker).unwrap();
                self.heart.workers.unreachable(index, now);
            }
            Op::Disk => self.stands = !self.stands,
            Op::Swap => self.swap = Some(!before.on_demand),
            Op::Captured => {
                let closed = self.closing.take().unwrap();
                self.heart.capture_closed(closed);
            }
            Op::CapturedOld => self.heart.capture_closed(scan_id(self.started - 2)),
            Op::Wait => {
                self.now += LONG;
                let limits = self.heart.limits().clone();
                self.heart.workers.evict(self.now, &limits, false);
            }
            Op::Turn => {
                self.short_turn();
                self.act();
            }
            Op::ShortTurn => self.short_turn(),
        }
    }

    fn give(&self, before: &Spec, stream: usize) {
        let text = before.readers[stream].clone().next_event(stream);
        let frames = [Frame::from_vec(text.into_bytes())].into_iter().collect();
        let event = Event { typ: "T", kind: EventKind::Data, frames };
        assert!(self.run(stream).push(&mut [event].into()), "there is room");
    }

    fn run(&self, stream: usize) -> &Queue {
        self.readers[stream].run.as_ref().unwrap()
    }

    fn assign(&mut self, scan: usize, number: u64) {
        let streams = plan(number).into_iter().map(|(stream, workers)| (stream, workers.into()));
        let events = vec![Assignment { number, streams: streams.collect() }];
        let workers = Arc::new((0..WORKERS).map(worker_name).collect());
        self.heart.assign(Assignments { scan: scan_id(scan), workers, events }, self.now);
    }

    fn short_turn(&mut self) {
        let mut items = VecDeque::new();
        for stream in 0..STREAMS {
            let Some(queue) = &self.inputs[stream] else { continue };
            queue.take_all(&mut items, self.heart.holds_none(stream), self.heart.empties(stream));
            for item in items.drain(..) {
                match item {
                    Item::Events(batch) => self.heart.events(stream, Slot::Events(batch)),
                    Item::Dropped { typ, count } => self.heart.events(stream, Slot::Dropped { typ, count }),
                    Item::Opened => self.heart.opened(stream),
                    Item::Closed => self.heart.closed(stream),
                    Item::Ended => self.heart.ended(stream),
                    Item::Failed(why) => self.heart.failed(stream, why),
                }
            }
        }
        let wall = SystemTime::UNIX_EPOCH;
        while !self.stands && self.heart.pair(self.now, wall, &self.account, |_| ()) {}
        self.heart.advance(self.now);
    }

    fn act(&mut self) {
        for action in std::mem::take(&mut self.heart.actions) {
            match action {
                Action::Open { stream } => self.order(stream, true),
                Action::Close { stream } => self.order(stream, false),
                Action::Trigger { stream, .. } => self.readers[stream].orders.push_back(Order::Give),
                Action::OpenCapture { .. } => self.closing = None,
                Action::Tell(_) => {}
                Action::CloseCapture { scan } => self.closing = Some(scan),
                other => panic!("nobody asked for {other:?}"),
            }
        }
    }

    fn order(&mut self, stream: usize, open: bool) {
        let queue = Queue::new(WhenFull::Block, self.account.clone(), self.space.clone(), self.wake.clone());
        let left = self.inputs[stream].replace(queue.clone()).map(|old| old.abandon()).unwrap_or_default();
        self.readers[stream].orders.push_back(if open { Order::Open(queue) } else { Order::Close(queue) });
        self.heart.left_behind(stream, left);
    }

    /// Compares everything visible with the spec.
    pub(super) fn check(&self, spec: &Spec) -> Result<(), String> {
        let report = self.report();
        same("ready", &report.ready, &spec.ready.map(scan_id))?;
        same("finished", &report.finished, &spec.finished.map(scan_id))?;
        let mut counters = spec.counters.clone();
        counters.insert(Counter::EventsLate, spec.late);
        let counted: BTreeMap<_, _> =
            report.counters.iter().filter(|(_, count)| **count > 0).map(|(k, v)| (*k, *v)).collect();
        counters.retain(|_, count| *count > 0);
        same("counters", &counted, &counters)?;
        let state = spec.scan.as_ref().map_or(IngesterState::Idle, |scan| match scan.phase {
            Phase::Opening { .. } => IngesterState::Opening,
            Phase::Running => IngesterState::Running,
            Phase::Finishing | Phase::Closing { .. } => IngesterState::Finishing,
            Phase::Finished => IngesterState::Finished,
        });
        same("state", &report.state, &state)?;
        if let Some(scan) = &spec.scan {
            same("processed", &report.processed_events, &scan.processed)?;
            same("assignments", &report.assignments_waiting, &(scan.assigned.len() as u64))?;
            let earlier_of = &spec.earlier;
            for (stream, spec) in scan.streams.iter().enumerate() {
                let ours = &report.streams[STREAM_NAMES[stream]];
                let counts = [ours.read, ours.forwarded, ours.dropped, ours.discarded, ours.missing, ours.queued];
                let expected = [spec.read, spec.forwarded, spec.dropped, spec.discarded, spec.missing, spec.queued()];
                let names = "read, forwarded, dropped, discarded, missing, queued";
                same(&format!("{names} of stream {stream}"), &counts, &expected)?;
                same("active", &ours.active, &spec.active)?;
                let sum = ours.forwarded + ours.dropped + ours.discarded + ours.queued;
                same("the sum of all that was read", &ours.read, &sum)?;
                let all = &ours.since_start;
                let sum = all.forwarded + all.dropped + all.discarded + all.replaced + ours.queued;
                same("the same since the start", &all.read, &sum)?;
                let earlier = &earlier_of[stream];
                let counts = [all.read - ours.read, all.replaced, all.dropped - ours.dropped];
                same("the scans before", &counts, &[earlier.read, earlier.replaced, earlier.dropped])?;
            }
        }
        for (worker, spec) in spec.workers.iter().enumerate() {
            same(&format!("what waits for worker {worker}"), &self.waiting(worker), &spec.pending)?;
            let ours = report.workers.iter().find(|ours| ours.name.as_str() == WORKER_NAMES[worker]);
            let counts = ours.map_or([0; 2], |ours| [ours.sent, ours.dropped]);
            same(&format!("sent and dropped of worker {worker}"), &counts, &[spec.sent, spec.dropped])?;
        }
        Ok(())
    }

    fn report(&self) -> Report {
        let measured = Measured {
            service_uuid: Uuid::nil(),
            url: "",
            event_rate: 0.0,
            memory_used: 0,
            memory_limit: 0,
            source: &|_, _| (),
            connections: &BTreeMap::new(),
            capture: None,
            faults: Vec::new(),
            hindrances: Vec::new(),
            stopped: false,
            late: self.space.late(),
        };
        self.heart.report(self.now, measured)
    }

    /// The index of a worker with waiting messages.
    fn index(&self, worker: usize) -> Option<usize> {
        let workers = &self.heart.workers;
        workers.with_pending().find(|index| workers.get(*index).name.as_str() == WORKER_NAMES[worker])
    }

    /// The messages that wait for a worker, parsed from their bytes.
    fn waiting(&self, worker: usize) -> VecDeque<Message> {
        let Some(index) = self.index(worker) else { return VecDeque::new() };
        let read = |message: &crate::recycle::Pooled<crate::ingester::message::Message>| {
            let parts = message.parts();
            let header: serde_json::Value = serde_json::from_slice(&parts[0]).unwrap();
            let mut frames = parts[1..].iter().map(|frame| String::from_utf8(frame.to_vec()).unwrap());
            let streams = header["streams"].as_object().unwrap().iter().map(|(name, about)| {
                let stream = STREAM_NAMES.iter().position(|own| own == name).unwrap();
                let length = about["length"].as_u64().unwrap() as usize;
                let mut own = frames.by_ref().take(length);
                (stream, own.next())
            });
            let message = (header["event_number"].as_u64().unwrap(), streams.collect());
            assert_eq!(frames.next(), None, "the header tells of all frames: {header}");
            message
        };
        self.heart.workers.get(index).pending.iter().map(read).collect()
    }

    /// The bytes still in use after everything was dropped: must be 0.
    pub(super) fn used(self) -> u64 {
        let account = self.account.clone();
        drop(self);
        account.used()
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, ours: &T, expected: &T) -> Result<(), String> {
    if ours == expected { Ok(()) } else { Err(format!("{what}: {ours:?}, expected {expected:?}")) }
}
