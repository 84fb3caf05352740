//! The reader: the only thread that calls a source, from `create` to drop.
//!
//! Owns the instance and its run. Takes orders from the forwarder between two calls of the source; an order that ends the
//! run also rings the source's stop token, so that a waiting call returns. It pulls events into the scan's [`Queue`] and
//! is parked while its stream is inactive. It never touches a socket of workers, and knows no assignments.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use framegate_plugin_api::{Deadline, Progress};
use serde_json::Value;

use super::{
    Created, Factory, NotCreated,
    beginning::{Before, Begun, begin},
    order::{Order, Predecessor},
    orders::{Next, Orders},
    queue::{Item, Queue},
    renewal::StreamSource,
    token::{Renewals, Token},
};
use crate::names::StreamName;

/// The forwarder's handle to a reader. Dropping it ends the reader when the source's current call returns.
#[derive(Debug)]
pub(crate) struct Reader {
    stream: StreamName,
    orders: Arc<Orders<Order>>,
    token: Arc<Token>,
    /// The factory of the source.
    factory: Arc<dyn Factory>,
    /// A call was overdue at the last check.
    written_off: bool,
    /// Disconnects when the thread has dropped the source.
    ended: Option<mpsc::Receiver<Infallible>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// The longest wait of one `next`.
const PULL: Duration = Duration::from_millis(100);
/// How long a reader that is ahead waits for the forwarder at a time, and how long it skips that after a useless wait.
const CATCH_UP: Duration = Duration::from_millis(10);
/// Interval for asking the run for its status.
const STATUS_EVERY: Duration = Duration::from_millis(500);

impl Reader {
    /// Starts the thread and creates the instance on it; the result comes through the channel, or never if `create`
    /// hangs. With `before`, an exclusive source is created after the previous source has ended.
    pub(crate) fn start(
        stream: StreamName,
        factory: Arc<dyn Factory>,
        settings: Value,
        before: Option<Before>,
    ) -> std::io::Result<(Self, mpsc::Receiver<Result<Created, NotCreated>>)> {
        let token = Arc::new(Token::new(stream.clone(), factory.identity().to_string())?);
        let orders = Arc::new(Orders::new(token.wake.clone()));
        let (created, outcome) = mpsc::sync_channel(1);
        let (alive, ended) = mpsc::channel();
        let for_thread = (token.clone(), factory.clone(), orders.clone());
        let thread = thread::Builder::new().name(format!("read {stream}")).spawn(move || {
            let _alive: mpsc::Sender<Infallible> = alive;
            let (token, factory, orders) = for_thread;
            let _named = token.named.clone().entered();
            let Some(begun) = begin(&token, factory, settings, before, &created, &orders) else { return };
            let Begun { source, held } = begun;
            let (queue, batch, rest, free_until) = (None, VecDeque::new(), false, Instant::now());
            let mut life = Life { source, orders, token, queue, failed: false, batch, rest, free_until };
            for order in held {
                life.obey(order, &mut Run::Parked);
            }
            life.live();
        })?;
        let (ended, thread) = (Some(ended), Some(thread));
        Ok((Self { stream, factory, orders, token, written_off: false, ended, thread }, outcome))
    }

    /// Sends an order. An order that ends the run makes a waiting source return.
    pub(crate) fn order(&self, order: Order) {
        // A reader whose thread has died does not answer; callers that wait for an answer have a deadline.
        let is_urgent = matches!(order, Order::Open(_) | Order::Close(_));
        self.orders.give(order, is_urgent);
    }

    /// How long the source's current call has been running, if that is longer than `limit`.
    pub(crate) fn overdue(&self, limit: Duration) -> Option<Duration> {
        self.token.overdue(limit)
    }

    /// To be called often: writes off an overdue call, with the code that it runs; if the call returns later, the
    /// source is used again. Returns how long the call has been running, when it is first overdue.
    pub(crate) fn write_off(&mut self, limit: Duration) -> Option<Duration> {
        let overdue = self.overdue(limit);
        if overdue.is_some() == self.written_off {
            return None;
        }
        self.written_off = overdue.is_some();
        match overdue {
            Some(_) => self.factory.write_off(),
            None => tracing::warn!(
                stream = %self.stream,
                "{}: the call that was written off has returned; the source is used again from the next scan on",
                self.token.source
            ),
        }
        overdue
    }

    /// Name, version and file of the source.
    pub(crate) fn source(&self) -> &str {
        &self.token.source
    }

    /// Parameters whose last value the source refused, each with the reason; the previous value stays.
    pub(crate) fn refused(&self) -> Vec<String> {
        self.token.refused()
    }

    /// Number of events that the source has given, in all its runs.
    pub(crate) fn events(&self) -> u64 {
        self.token.events()
    }

    /// Number of instances that replaced others after a fault, since the last call.
    pub(crate) fn take_renewals(&self) -> Renewals {
        self.token.take_renewals()
    }

    /// The stream that it feeds.
    pub(crate) fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// Asks the thread to end, for a successor that waits for it at most `limit`. Call once.
    pub(crate) fn retire(&mut self, limit: Duration) -> Option<Predecessor> {
        self.stop();
        self.ended.take().map(|ended| Predecessor { ended, limit })
    }

    /// Whether the thread has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(thread::JoinHandle::is_finished)
    }

    /// Asks the thread to end; does not wait.
    pub(crate) fn stop(&mut self) {
        self.orders.close();
    }

    /// Waits until the thread has ended, at most until `deadline`; a thread inside a hanging source is abandoned.
    pub(crate) fn join(&mut self, deadline: Instant) -> bool {
        self.stop();
        let Some(thread) = self.thread.take() else { return true };
        while !thread.is_finished() {
            if Instant::now() >= deadline {
                self.factory.write_off();
                tracing::warn!(
                    stream = %self.stream,
                    "{}: the source does not return; its thread is left behind", self.token.source
                );
                return false;
            }
            thread::park_timeout(Duration::from_millis(2));
        }
        let _ = thread.join();
        true
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.orders.close();
    }
}

/// The state of the reader's thread.
struct Life {
    source: StreamSource,
    orders: Arc<Orders<Order>>,
    token: Arc<Token>,
    /// The open run's queue.
    queue: Option<Arc<Queue>>,
    /// The run did not open, or ended with a fault.
    failed: bool,
    /// Events that the source gave and that have not fitted into the queue yet.
    batch: VecDeque<crate::event::Event>,
    /// The run is over, and the source answers so immediately: the next call comes later.
    rest: bool,
    /// Until then it does not wait for a forwarder that is itself waiting: reading the detector's data is more important.
    free_until: Instant,
}

enum Run {
    /// Further events may come.
    Giving,
    /// Over; later calls only read and count.
    Ended,
    /// The source is not called until the next scan.
    Parked,
}

impl Life {
    fn live(mut self) {
        let mut run = Run::Parked;
        let mut asked_at = Instant::now();
        loop {
            loop {
                let next = match run {
                    Run::Parked => self.orders.wait_for_one().map_or(Next::Closed, Next::Order),
                    _ if std::mem::take(&mut self.rest) => self.orders.wait(PULL),
                    _ => self.orders.take(),
                };
                match next {
                    Next::Order(order) => self.obey(order, &mut run),
                    Next::Closed => return self.end(),
                    Next::Nothing => break,
                }
            }
            let Some(queue) = self.queue.clone() else { continue };
            if !queue.push(&mut self.batch) {
                queue.wait_for_space(PULL);
                continue;
            }
            if Instant::now() >= self.free_until && queue.let_forwarder_catch_up(CATCH_UP) {
                self.free_until = Instant::now() + CATCH_UP;
            }
            run = self.pull(&queue, run);
            if asked_at.elapsed() > STATUS_EVERY {
                asked_at = Instant::now();
                queue.set_status(self.source.call(|instance| instance.status()));
            }
        }
    }

    fn obey(&mut self, order: Order, run: &mut Run) {
        match order {
            // A later order for another scan is waiting; that one closes the run.
            Order::Open(queue) | Order::Close(queue) if queue.is_abandoned() => {}
            Order::Open(queue) => {
                self.close();
                self.queue = Some(queue.clone());
                let opened = self.source.open();
                self.failed = opened.is_err();
                match opened {
                    Ok(()) => {
                        *run = if self.source.on_demand() { Run::Parked } else { Run::Giving };
                        queue.tell(Item::Opened);
                    }
                    Err(why) => {
                        *run = Run::Parked;
                        queue.tell(Item::Failed(why));
                    }
                }
            }
            Order::Close(queue) => {
                self.close();
                *run = Run::Parked;
                queue.tell(Item::Closed);
            }
            Order::Succeed(predecessor) => {
                predecessor.wait_with_a_word();
            }
            Order::Trigger(number) => {
                let Some(queue) = self.queue.clone().filter(|queue| !queue.is_abandoned()) else { return };
                let mut events = Vec::new();
                let outcome = self.source.call(|instance| instance.trigger(number, &mut events));
                let given = events.len();
                self.token.gave(given);
                self.batch.extend(events);
                // A second event would meet another event's number; for a missing event everybody would wait for ever.
                let wrong = || format!("asked for event {number}, it gave {given} events instead of one");
                let outcome = outcome.map_err(|fault| fault.to_string());
                if let Err(why) = outcome.and(if given == 1 { Ok(()) } else { Err(wrong()) }) {
                    self.failed = true;
                    queue.too_late(&mut self.batch);
                    return queue.tell(Item::Failed(why));
                }
                while !queue.push(&mut self.batch) && !queue.is_abandoned() {
                    queue.wait_for_space(PULL);
                }
            }
            Order::SetParameter { name, value } => self.source.set_parameter(name, value),
        }
    }

    /// Makes one call of `next`, and handles its result.
    fn pull(&mut self, queue: &Queue, run: Run) -> Run {
        let mut events: Vec<_> = std::mem::take(&mut self.batch).into();
        let before = events.len();
        let began = Instant::now();
        let outcome = self.source.call(|instance| instance.next(&mut events, Deadline::after(PULL)));
        self.token.gave(events.len() - before);
        self.batch = events.into();
        match (run, outcome) {
            (Run::Parked, _) => Run::Parked,
            (Run::Giving, Ok(Progress::More | Progress::Idle)) => {
                queue.push(&mut self.batch);
                Run::Giving
            }
            (Run::Giving, outcome) => {
                // The last events are queued before the end of the run.
                while !queue.push(&mut self.batch) && !queue.is_abandoned() {
                    queue.wait_for_space(PULL);
                }
                queue.set_status(self.source.call(|instance| instance.status()));
                match outcome {
                    Err(fault) => {
                        self.failed = true;
                        queue.tell(Item::Failed(fault.to_string()));
                        self.close();
                        Run::Parked
                    }
                    Ok(_) => {
                        queue.tell(Item::Ended);
                        Run::Ended
                    }
                }
            }
            (Run::Ended, Ok(_)) => {
                // Events after the end of a run do not belong to the scan.
                queue.too_late(&mut self.batch);
                self.rest = began.elapsed() < PULL / 10;
                Run::Ended
            }
            (Run::Ended, Err(fault)) => {
                tracing::warn!("{}: after the run's end: {fault}", self.token.source);
                self.close();
                Run::Parked
            }
        }
    }

    fn close(&mut self) {
        // The old run's immediate answers say nothing about the next run, which may begin now.
        self.rest = false;
        if let Some(queue) = self.queue.take() {
            queue.set_status(self.source.call(|instance| instance.status()));
            self.source.call(|instance| instance.close());
            queue.too_late(&mut self.batch);
            if !self.failed {
                self.source.has_done_well();
            }
        }
    }

    /// Drops the source.
    fn end(mut self) {
        self.close();
    }
}
