//! What an ingester must do, as simply as possible: whole lists instead of queues, names instead of indexes, no
//! sharing, no byte limits, no network.
//!
//! It also knows which operations are possible next ([`Spec::may`]), so that it can drive both the exhaustive search
//! and the random runs.

use std::{
    collections::{BTreeMap, VecDeque},
    hash::{Hash, Hasher},
};

use super::{
    ops::{Bounds, Op, plan},
    state::{Deed, Earlier, Message, Order, Phase, ReaderSpec, STREAMS, Scan, StreamSpec, WORKERS, Word, WorkerSpec},
};
use crate::counter::Counter;

/// The whole state.
#[derive(Debug, Clone, Default)]
pub(super) struct Spec {
    pub(super) bounds: Bounds,
    /// Number of started scans.
    pub(super) started: usize,
    pub(super) scan: Option<Scan>,
    pub(super) readers: [ReaderSpec; STREAMS],
    /// Messages in the current scan's queues that the forwarder has not taken.
    inbox: [VecDeque<Word>; STREAMS],
    pub(super) workers: [WorkerSpec; WORKERS],
    /// The number of the scan that was reported ready.
    pub(super) ready: Option<usize>,
    pub(super) finished: Option<usize>,
    pub(super) counters: BTreeMap<Counter, u64>,
    pub(super) late: u64,
    /// For each stream, the counts of the scans before.
    pub(super) earlier: [Earlier; STREAMS],
    /// The scan whose capture is being closed.
    closing: Option<usize>,
    /// What was decided in a short turn and is done in the next turn of the own thread.
    undone: Vec<Deed>,
    /// The capture blocks.
    pub(super) stands: bool,
    /// Whether the second stream is fed on demand, and whether it will be after a swap that waits for the next scan.
    pub(super) on_demand: bool,
    pub(super) swap: Option<bool>,
    swaps: usize,
}

/// Hashes only what affects later behaviour. The counts are compared with the real ones after each step, and affect nothing.
impl Hash for Spec {
    fn hash<H: Hasher>(&self, to: &mut H) {
        (&self.started, &self.scan, &self.readers, &self.inbox, &self.workers).hash(to);
        (&self.ready, &self.finished, &self.closing, &self.undone).hash(to);
        (&self.stands, &self.on_demand, &self.swap, &self.swaps).hash(to);
    }
}

impl Spec {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, on_demand: bounds.on_demand, ..Self::default() }
    }

    /// Whether the operation is possible now.
    pub(super) fn may(&self, op: Op) -> bool {
        let scan = self.scan.as_ref();
        match op {
            Op::Start { .. } => self.started < self.bounds.scans,
            Op::Finish | Op::Assign | Op::AssignGap => scan.is_some(),
            Op::AssignAgain => scan.is_some_and(|scan| scan.next_number > 0),
            Op::FinishOld | Op::AssignOld | Op::CapturedOld => self.started > 1,
            Op::Obey(stream) => !self.readers[stream].orders.is_empty(),
            Op::Disk => self.bounds.blocks,
            Op::Swap => self.swaps < self.bounds.swaps,
            // A source on demand does nothing by itself: it can fail only when it is triggered.
            Op::Fail(1) if self.on_demand => {
                self.readers[1].run.is_some() && self.readers[1].orders.front() == Some(&Order::Give)
            }
            Op::Event(1) | Op::Full(1) | Op::End(1) if self.on_demand => false,
            Op::Event(stream) | Op::Full(stream) | Op::End(stream) | Op::Fail(stream) => {
                self.readers[stream].run.is_some()
                    && !self.readers[stream].over
                    && self.readers[stream].given < self.bounds.events
            }
            Op::Take(worker) | Op::Unreachable(worker) => !self.workers[worker].pending.is_empty(),
            Op::Captured => self.closing.is_some(),
            Op::Restart(worker) => self.workers[worker].restarts < self.bounds.restarts,
            Op::Ping(_) | Op::Wait | Op::Turn | Op::ShortTurn => true,
        }
    }

    pub(super) fn step(&mut self, op: Op) {
        if op.is_own() {
            self.act();
        }
        match op {
            Op::Start { both } => self.start(both),
            Op::Finish => {
                if let Some(scan) = &mut self.scan {
                    match scan.phase {
                        Phase::Opening { .. } => scan.finish_asked = true,
                        Phase::Running => scan.phase = Phase::Finishing,
                        _ => {}
                    }
                }
            }
            Op::FinishOld => self.count(Counter::FinishesOfAnotherScan, 1),
            Op::Assign => self.assign(|scan| scan.next_number),
            Op::AssignAgain => self.assign(|_| 0),
            Op::AssignGap => self.assign(|scan| scan.next_number + 1),
            Op::AssignOld => self.count(Counter::AssignmentsOfAnotherScan, 1),
            Op::Obey(stream) => {
                let reader = &mut self.readers[stream];
                match reader.orders.pop_front().unwrap() {
                    Order::Open(scan) => {
                        (reader.run, reader.over, reader.given) = (Some(scan), false, 0);
                        self.say(stream, scan, Word::Opened);
                    }
                    Order::Close(scan) => {
                        (reader.run, reader.over, reader.given) = (None, false, 0);
                        self.say(stream, scan, Word::Closed);
                    }
                    Order::Give if reader.run.is_none() => {}
                    Order::Give => {
                        let text = reader.next_event(stream);
                        self.say_of_run(stream, Word::Event(text));
                    }
                }
            }
            Op::Event(stream) => {
                let text = self.readers[stream].next_event(stream);
                self.say_of_run(stream, Word::Event(text));
            }
            Op::Full(stream) => {
                self.readers[stream].given += 1;
                self.say_of_run(stream, Word::Dropped);
            }
            Op::End(stream) => {
                self.readers[stream].over = true;
                self.say_of_run(stream, Word::Ended);
            }
            Op::Fail(stream) => {
                if self.on_demand && stream == 1 {
                    self.readers[1].orders.pop_front();
                }
                self.say_of_run(stream, Word::Failed);
                self.readers[stream].run = None;
            }
            Op::Ping(worker) => {
                let worker = &mut self.workers[worker];
                worker.unreachable = false;
                // An unknown worker counts as new.
                worker.evicted &= std::mem::replace(&mut worker.known, true);
            }
            Op::Restart(worker) => {
                let worker = &mut self.workers[worker];
                (worker.unreachable, worker.evicted, worker.known) = (false, false, true);
                worker.restarts += 1;
            }
            Op::Take(worker) => {
                let worker = &mut self.workers[worker];
                worker.pending.pop_front();
                (worker.unreachable, worker.sent) = (false, worker.sent + 1);
            }
            Op::Disk => self.stands = !self.stands,
            Op::Swap => (self.swap, self.swaps) = (Some(!self.on_demand), self.swaps + 1),
            Op::Unreachable(worker) => self.workers[worker].unreachable = true,
            Op::Captured => {
                let closed = self.closing.take();
                self.captured(closed);
            }
            Op::CapturedOld => {}
            Op::Wait => self.wait(),
            Op::Turn => {
                self.short_turn();
                self.act();
            }
            Op::ShortTurn => self.short_turn(),
        }
    }

    /// Items queued in the old scan are dropped.
    fn start(&mut self, both: bool) {
        if let Some(old) = self.scan.take() {
            for ((stream, inbox), earlier) in old.streams.iter().zip(&self.inbox).zip(&mut self.earlier) {
                let untaken = inbox.iter().filter(|word| matches!(word, Word::Event(_))).count() as u64;
                let dropped = inbox.iter().filter(|word| matches!(word, Word::Dropped)).count() as u64;
                earlier.read += stream.read + untaken + dropped;
                earlier.replaced += stream.queued() + untaken;
                earlier.dropped += stream.dropped + dropped;
            }
        }
        let undelivered: usize = self.workers.iter().map(|worker| worker.pending.len()).sum();
        self.count(Counter::MessagesReplaced, undelivered as u64);
        for worker in &mut self.workers {
            *worker = WorkerSpec { restarts: worker.restarts, known: worker.known, ..WorkerSpec::default() };
        }
        self.inbox = Default::default();
        self.closing = None;
        let number = self.started;
        self.started += 1;
        if let Some(on_demand) = self.swap.take() {
            (self.on_demand, self.readers[1]) = (on_demand, ReaderSpec::default());
        }
        let stream = |stream| StreamSpec {
            active: both || stream == 0,
            awaited: true,
            on_demand: stream == 1 && self.on_demand,
            ..StreamSpec::default()
        };
        for (index, reader) in self.readers.iter_mut().enumerate() {
            reader.orders.push_back(if stream(index).active { Order::Open(number) } else { Order::Close(number) });
        }
        self.scan = Some(Scan {
            number,
            phase: Phase::Opening { overdue: false },
            streams: [stream(0), stream(1)],
            assigned: VecDeque::new(),
            next_number: 0,
            finish_asked: false,
            broken: false,
            processed: 0,
        });
    }

    fn assign(&mut self, number: impl Fn(&Scan) -> u64) {
        let Some(scan) = &mut self.scan else { return };
        if scan.phase != Phase::Running {
            return self.count(Counter::AssignmentsAfterFinish, 1);
        }
        let number = number(scan);
        if number < scan.next_number {
            return self.count(Counter::AssignmentsDuplicate, 1);
        }
        if number > scan.next_number {
            scan.broken = true;
            scan.assigned.clear();
        }
        scan.next_number = number + 1;
        let streams: Vec<_> = plan(number).into_iter().filter(|(stream, _)| scan.streams[*stream].active).collect();
        if !scan.broken && !streams.is_empty() {
            scan.assigned.push_back((number, streams));
        }
    }

    /// Delivers a message if its scan is the current one.
    fn say(&mut self, stream: usize, of: usize, word: Word) {
        if self.scan.as_ref().is_some_and(|scan| scan.number == of) {
            self.inbox[stream].push_back(word);
        } else if matches!(word, Word::Event(_)) {
            self.late += 1;
        }
    }

    fn say_of_run(&mut self, stream: usize, word: Word) {
        self.say(stream, self.readers[stream].run.unwrap(), word);
    }

    fn wait(&mut self) {
        for worker in &mut self.workers {
            if worker.unreachable && !worker.evicted && !worker.pending.is_empty() {
                let count = worker.pending.len() as u64;
                (worker.evicted, worker.dropped) = (true, worker.dropped + count);
                worker.pending.clear();
                *self.counters.entry(Counter::MessagesDropped).or_default() += count;
                *self.counters.entry(Counter::WorkersEvicted).or_default() += 1;
            }
        }
        if let Some(Phase::Opening { overdue } | Phase::Closing { overdue }) = self.scan.as_mut().map(|s| &mut s.phase)
        {
            *overdue = true;
        }
    }

    fn act(&mut self) {
        for deed in std::mem::take(&mut self.undone) {
            match deed {
                Deed::Trigger(stream) => self.readers[stream].orders.push_back(Order::Give),
                Deed::Close(scan) => self.closing = Some(scan),
            }
        }
    }

    fn short_turn(&mut self) {
        let Some(scan) = &mut self.scan else { return };
        let mut failures = 0;
        for (stream, inbox) in scan.streams.iter_mut().zip(&mut self.inbox) {
            for word in inbox.drain(..) {
                failures += u64::from(word == Word::Failed);
                stream.hear(word);
            }
        }
        self.count(Counter::SourceFailures, failures);
        while !self.stands && self.pair() {}
        self.advance();
    }

    /// Sends the first assignment if its events have arrived.
    fn pair(&mut self) -> bool {
        let Some(scan) = &mut self.scan else { return false };
        if !matches!(scan.phase, Phase::Running | Phase::Finishing) {
            return false;
        }
        if let Some((number, streams)) = scan.assigned.front() {
            let misses = |(stream, _): &&(usize, Vec<usize>)| {
                scan.streams[*stream].waiting.is_empty() && !scan.streams[*stream].failed
            };
            let missing: Vec<_> = streams.iter().filter(misses).map(|(stream, _)| *stream).collect();
            if missing.is_empty() {
                self.give();
                return true;
            }
            // A stream without a detector is triggered once, when all other streams have delivered; also in a scan that
            // is to be finished.
            if missing.iter().all(|stream| scan.streams[*stream].on_demand) {
                for stream in missing {
                    if scan.streams[stream].asked.replace(*number) != Some(*number) {
                        self.undone.push(Deed::Trigger(stream));
                    }
                }
                return false;
            }
        }
        if scan.phase == Phase::Finishing {
            scan.discard();
            scan.phase = Phase::Closing { overdue: false };
            self.undone.push(Deed::Close(scan.number));
            let left = std::mem::take(&mut scan.assigned).len() as u64;
            self.count(Counter::AssignmentsWithoutEvents, left);
        } else if scan.broken {
            scan.discard();
        }
        false
    }

    fn give(&mut self) {
        let scan = self.scan.as_mut().unwrap();
        let (number, streams) = scan.assigned.pop_front().unwrap();
        scan.processed += 1;
        let mut messages: [Message; WORKERS] = Default::default();
        for (stream, workers) in streams {
            let own = &mut scan.streams[stream];
            let event = own.waiting.pop_front();
            own.missing += u64::from(event.is_none());
            let to = if workers.is_empty() { &mut own.discarded } else { &mut own.forwarded };
            *to += u64::from(matches!(event, Some(Some(_))));
            for (_, message) in messages.iter_mut().enumerate().filter(|(worker, _)| workers.contains(worker)) {
                message.1.push((stream, event.clone().flatten()));
            }
        }
        for (worker, message) in self.workers.iter_mut().zip(messages).filter(|(_, message)| !message.1.is_empty()) {
            if worker.evicted {
                worker.dropped += 1;
                *self.counters.entry(Counter::MessagesDropped).or_default() += 1;
            } else {
                worker.pending.push_back((number, message.1));
            }
        }
    }

    fn advance(&mut self) {
        let Some(scan) = &mut self.scan else { return };
        match scan.phase {
            Phase::Opening { overdue } => {
                let late: Vec<_> = scan.streams.iter_mut().filter(|stream| stream.awaited && overdue).collect();
                let failures = late.len() as u64;
                late.into_iter().for_each(|stream| stream.hear(Word::Failed));
                if scan.streams.iter().all(|stream| !stream.awaited) {
                    scan.phase = if scan.finish_asked { Phase::Finishing } else { Phase::Running };
                    self.ready = Some(scan.number);
                }
                self.count(Counter::SourceFailures, failures);
            }
            Phase::Closing { overdue: true } => {
                let number = scan.number;
                self.captured(Some(number));
            }
            Phase::Finished => scan.discard(),
            _ => {}
        }
    }

    fn captured(&mut self, of: Option<usize>) {
        let Some(scan) = &mut self.scan else { return };
        if Some(scan.number) == of && matches!(scan.phase, Phase::Closing { .. }) {
            scan.phase = Phase::Finished;
            self.finished = of;
        }
    }

    fn count(&mut self, what: Counter, count: u64) {
        if count > 0 {
            *self.counters.entry(what).or_default() += count;
        }
    }
}
