//! The reader's thread: owns the instance and its run.
//!
//! It pulls events into the scan's [`Queue`] and is parked while its stream is inactive. It never touches a socket of
//! workers, and knows no assignments.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use framegate_plugin_api::Progress;

use super::{
    super::{
        orders::{Next, Orders},
        queue::{Item, Queue},
        renewal::StreamSource,
        shared::Shared,
    },
    Order, TakeOver, TookOver,
};
use crate::event::Event;

/// The longest wait of one `next`.
const PULL: Duration = Duration::from_millis(100);
/// How long a reader that is ahead waits for the forwarder at a time, and how long it skips that after a useless wait.
const CATCH_UP: Duration = Duration::from_millis(10);
/// Interval for asking the run for its status.
const STATUS_EVERY: Duration = Duration::from_millis(500);

/// The state of the thread.
pub(super) struct ReaderThread {
    source: StreamSource,
    orders: Arc<Orders<Order>>,
    shared: Arc<Shared>,
    run: Option<Run>,
    /// Events that the source gave and that have not fitted into the queue yet.
    batch: VecDeque<Event>,
    /// Until then it does not wait for a forwarder that is itself waiting: reading the detector's data is more important.
    free_until: Instant,
    held_back: HeldBack,
}

/// The waits of a reader whose queue is full.
struct HeldBack {
    /// When the source was last told.
    told: Instant,
}

/// The source's run in a scan. It may have failed, also at its opening.
struct Run {
    queue: Arc<Queue>,
    state: State,
    has_failed: bool,
}

enum State {
    /// Further events may come.
    Giving,
    /// Over; later calls only read and count. `rests`: the source answers so immediately, so the next call comes later.
    Ended { rests: bool },
    /// The source is not called by itself: it is triggered, or has failed.
    Parked,
}

impl ReaderThread {
    pub(super) fn new(source: StreamSource, orders: Arc<Orders<Order>>, shared: Arc<Shared>) -> Self {
        let now = Instant::now();
        let held_back = HeldBack { told: now };
        Self { source, orders, shared, run: None, batch: VecDeque::new(), free_until: now, held_back }
    }

    /// Runs until no more orders come.
    pub(super) fn run(mut self) {
        let mut asked_at = Instant::now();
        loop {
            loop {
                match self.next_order() {
                    Next::Order(order) => self.obey(order),
                    Next::Closed => return self.close(),
                    Next::Nothing => break,
                }
            }
            let Some(queue) = self.run.as_ref().map(|run| run.queue.clone()) else { continue };
            if !queue.push(&mut self.batch) {
                self.held_back.wait(&queue, &mut self.source);
                continue;
            }
            // The clock is read once: each look costs a lone event more than it seems.
            let now = Instant::now();
            if now >= self.free_until && queue.let_forwarder_catch_up(CATCH_UP) {
                self.free_until = Instant::now() + CATCH_UP;
            }
            self.pull(&queue);
            if now.duration_since(asked_at) > STATUS_EVERY {
                asked_at = now;
                queue.set_status(self.source.status());
            }
        }
    }

    /// The next order. Waits for one as long as the source is not to be called.
    fn next_order(&mut self) -> Next<Order> {
        match self.run.as_mut().map(|run| &mut run.state) {
            Some(State::Giving) => self.orders.take(),
            Some(State::Ended { rests }) if !*rests => self.orders.take(),
            Some(State::Ended { rests }) => {
                *rests = false;
                self.orders.wait(PULL)
            }
            Some(State::Parked) | None => self.orders.wait_for_one().map_or(Next::Closed, Next::Order),
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Scan { queue, opens, from } => {
                if let Some(from) = from {
                    self.take_over(from);
                }
                self.start_scan(queue, opens);
            }
            Order::Trigger(number) => self.trigger(number),
            Order::SetParameter { name, value } => self.source.set_parameter(name, value),
        }
    }

    /// Takes the place of the stream's old reader when that has ended.
    fn take_over(&mut self, TakeOver { old, until, done }: TakeOver) {
        let has_ended = old.wait_for_end(until);
        if !has_ended {
            tracing::warn!("the source of earlier scans does not return; the new one goes on without waiting");
        }
        let failed = self.source.take_over(has_ended.then(|| old.shared.feed()));
        let (feed, parameters) = (self.shared.feed(), self.source.parameters().to_vec());
        done(TookOver { old, feed, parameters, failed });
    }

    fn start_scan(&mut self, queue: Arc<Queue>, opens: bool) {
        if queue.is_abandoned() {
            // An order for a later scan is waiting; that one closes the run.
            return;
        }
        self.close();
        if !opens {
            return queue.tell(Item::Closed);
        }
        let opened = self.source.open();
        let has_failed = opened.is_err();
        let state = if has_failed || self.shared.is_on_demand() { State::Parked } else { State::Giving };
        queue.tell(opened.map_or_else(Item::Failed, |()| Item::Opened));
        self.run = Some(Run { queue, state, has_failed });
    }

    /// Makes the call of an on-demand source for one event.
    fn trigger(&mut self, number: u64) {
        let Some(run) = self.run.as_mut().filter(|run| !run.queue.is_abandoned()) else { return };
        let mut events = Vec::new();
        let outcome = self.source.call(|instance| instance.trigger(number, &mut events));
        let given = events.len();
        self.shared.gave(given);
        self.batch.extend(events);
        // A second event would meet another event's number; for a missing event everybody would wait for ever.
        let wrong = || format!("asked for event {number}, it gave {given} events instead of one");
        let outcome = outcome.map_err(|fault| fault.to_string());
        if let Err(why) = outcome.and(if given == 1 { Ok(()) } else { Err(wrong()) }) {
            run.has_failed = true;
            run.queue.too_late(&mut self.batch);
            return run.queue.tell(Item::Failed(why));
        }
        self.held_back.push_all(&run.queue, &mut self.batch, &mut self.source);
    }

    /// Makes one call of `next`, and handles its result.
    fn pull(&mut self, queue: &Queue) {
        let mut events: Vec<_> = std::mem::take(&mut self.batch).into();
        let before = events.len();
        let began = Instant::now();
        let outcome = self.source.call(|instance| instance.next(&mut events, PULL));
        self.shared.gave(events.len() - before);
        self.batch = events.into();
        let Some(run) = &mut self.run else { return };
        match (matches!(run.state, State::Giving), outcome) {
            (true, Ok(Progress::More)) => _ = queue.push(&mut self.batch),
            // Nothing is won by reading and sending at the same time, and waking another thread costs more than a turn.
            (true, Ok(Progress::Idle)) => _ = queue.push_and_forward(&mut self.batch),
            (true, outcome) => {
                // The last events are queued before the end of the run.
                self.held_back.push_all(queue, &mut self.batch, &mut self.source);
                queue.set_status(self.source.status());
                match outcome {
                    Ok(_) => {
                        run.state = State::Ended { rests: false };
                        queue.tell(Item::Ended);
                    }
                    Err(fault) => {
                        run.has_failed = true;
                        queue.tell(Item::Failed(fault.to_string()));
                        self.close();
                    }
                }
            }
            (false, Ok(_)) => {
                // Events after the end of a run do not belong to the scan.
                queue.too_late(&mut self.batch);
                run.state = State::Ended { rests: began.elapsed() < PULL / 10 };
            }
            (false, Err(fault)) => {
                tracing::warn!("{}: after the run's end: {fault}", self.shared.source());
                self.close();
            }
        }
    }

    /// Closes the run, if one is open.
    fn close(&mut self) {
        let Some(run) = self.run.take() else { return };
        run.queue.set_status(self.source.status());
        self.source.close();
        run.queue.too_late(&mut self.batch);
        if !run.has_failed {
            self.source.has_done_well();
        }
    }
}

impl HeldBack {
    /// Waits a little for room, and tells the source now and then that it is not called meanwhile.
    fn wait(&mut self, queue: &Queue, source: &mut StreamSource) {
        if self.told.elapsed() >= PULL {
            source.held_back();
            self.told = Instant::now();
        }
        queue.wait_for_space(PULL);
    }

    /// Queues all events, unless nobody wants them any more.
    fn push_all(&mut self, queue: &Queue, batch: &mut VecDeque<Event>, source: &mut StreamSource) {
        while !queue.push(batch) && !queue.is_abandoned() {
            self.wait(queue, source);
        }
    }
}
