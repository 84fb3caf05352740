//! The reader: the one thread that calls a source, from `create` to drop.
//!
//! Owns the instance and its run. Takes orders from the forwarder between two calls of the source; an order also rings the
//! source's stop token, so that a waiting `next` returns. It pulls events into the scan's [`Queue`] and is parked while
//! its stream is inactive. It never touches a socket of workers, and knows no assignments.

use std::{
    collections::{BTreeMap, VecDeque},
    os::fd::RawFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use framegate_plugin_api::{Deadline, HostServices, LogLevel, Parameter, Progress};
use serde_json::Value;

use super::{
    Factory, Instance, NotCreated,
    queue::{Item, Queue},
};
use crate::{names::StreamName, wake::Wake};

/// What the forwarder asks of a reader. Answers come as items of the queue.
#[derive(Debug)]
pub(crate) enum Order {
    /// Close the run, if one is open, and open the one of a new scan.
    Open(Arc<Queue>),
    /// Close the run, if one is open.
    Close(Arc<Queue>),
    /// Produce the event of this number, for on-demand sources.
    Trigger(u64),
    /// A new value of a parameter.
    SetParameter { name: String, value: Arc<[u8]> },
}

/// The forwarder's handle on a reader. Dropping it ends the reader when the source's current call returns.
#[derive(Debug)]
pub(crate) struct Reader {
    stream: StreamName,
    orders: Option<mpsc::Sender<Order>>,
    token: Arc<Token>,
    thread: Option<thread::JoinHandle<()>>,
}

/// What a reader found out when it made its instance.
#[derive(Debug)]
pub(crate) struct Created {
    /// The source's run-time parameters.
    pub(crate) parameters: Vec<Parameter>,
    /// Whether it answers `trigger` instead of `next`.
    pub(crate) on_demand: bool,
}

/// The stop token of an instance: rung while an order waits.
#[derive(Debug)]
struct Token {
    stream: StreamName,
    wake: Wake,
    /// Which call of the source is under way since when, in ms of the process's clock + 1; 0: none.
    busy_since: AtomicU64,
    epoch: Instant,
    /// Values that the source refused, by parameter, until it takes one. Locked for a look only, never over a call.
    refused: Mutex<BTreeMap<String, String>>,
}

impl Token {
    fn now_ms(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64 + 1
    }
}

impl HostServices for Token {
    fn log(&self, level: LogLevel, message: &str) {
        let stream = self.stream.as_str();
        match level {
            LogLevel::Error => tracing::error!(stream, "{message}"),
            LogLevel::Warn => tracing::warn!(stream, "{message}"),
            LogLevel::Info => tracing::info!(stream, "{message}"),
            LogLevel::Debug => tracing::debug!(stream, "{message}"),
        }
    }
    fn stop_requested(&self) -> bool {
        self.wake.is_rung()
    }
    fn stop_descriptor(&self) -> RawFd {
        self.wake.raw_descriptor()
    }
}

/// The longest that `next` may wait.
const PULL: Duration = Duration::from_millis(100);
/// How often a source is asked for its counts.
const COUNTS_EVERY: Duration = Duration::from_millis(500);

impl Reader {
    /// Starts the thread and makes the instance on it; the result comes through the channel, or never if `create` hangs.
    pub(crate) fn start(
        stream: StreamName,
        factory: Arc<dyn Factory>,
        settings: Value,
    ) -> std::io::Result<(Self, mpsc::Receiver<Result<Created, NotCreated>>)> {
        let token = Arc::new(Token {
            stream: stream.clone(),
            wake: Wake::new()?,
            busy_since: AtomicU64::new(0),
            epoch: Instant::now(),
            refused: Mutex::default(),
        });
        let (orders, inbox) = mpsc::channel();
        let (created, outcome) = mpsc::sync_channel(1);
        let services = token.clone();
        let name = stream.clone();
        let thread = thread::Builder::new().name(format!("read {stream}")).spawn(move || {
            let made = factory.create(name.as_str(), &settings, services.clone()).and_then(|mut instance| {
                let on_demand = instance.on_demand();
                Ok((Created { parameters: instance.parameters()?, on_demand }, instance))
            });
            match made {
                Err(fault) => drop(created.send(Err(fault))),
                Ok((about, instance)) => {
                    if created.send(Ok(about)).is_ok() {
                        Life { instance, inbox, token: services, queue: None, batch: VecDeque::new() }.live();
                    }
                }
            }
        })?;
        Ok((Self { stream, orders: Some(orders), token, thread: Some(thread) }, outcome))
    }

    /// Gives an order, and makes a waiting source return for it.
    pub(crate) fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // A reader whose thread has died does not answer; whoever waits for an answer has a deadline.
            let _ = orders.send(order);
            self.token.wake.ring();
        }
    }

    /// How long the source's current call has been under way, if that is longer than `limit`.
    pub(crate) fn overdue(&self, limit: Duration) -> Option<Duration> {
        let since = self.token.busy_since.load(Ordering::Relaxed); // a hint for people and time limits, guards nothing
        let busy = (since != 0).then(|| Duration::from_millis(self.token.now_ms().saturating_sub(since)));
        busy.filter(|busy| *busy > limit)
    }

    /// Parameters whose last value the source refused, each with the reason; the value before it holds.
    pub(crate) fn refused(&self) -> Vec<String> {
        let refused = self.token.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let line = |(name, why)| format!("stream {}: the source refuses the value of {name}: {why}", self.stream);
        refused.iter().map(line).collect()
    }

    /// Asks the thread to end; does not wait.
    pub(crate) fn stop(&mut self) {
        self.orders = None;
        self.token.wake.ring();
    }

    /// Waits until the thread has ended, at most until `deadline`; a thread that is inside a hanging source is left behind.
    pub(crate) fn join(&mut self, deadline: Instant) -> bool {
        self.stop();
        let Some(thread) = self.thread.take() else { return true };
        while !thread.is_finished() {
            if Instant::now() >= deadline {
                tracing::warn!(stream = %self.stream, "the source does not return; its thread is left behind");
                return false;
            }
            thread::park_timeout(Duration::from_millis(2));
        }
        let _ = thread.join();
        true
    }
}

/// The reader's own side.
struct Life {
    instance: Box<dyn Instance>,
    inbox: mpsc::Receiver<Order>,
    token: Arc<Token>,
    /// The open run's queue.
    queue: Option<Arc<Queue>>,
    /// Events that the source gave and that found no room yet.
    batch: VecDeque<framegate_plugin_api::Event>,
}

enum Run {
    /// Events may come.
    Giving,
    /// Over; later calls read and count.
    Ended,
    /// Nothing is called until the next scan.
    Parked,
}

impl Life {
    fn live(mut self) {
        let mut run = Run::Parked;
        let mut counted_at = Instant::now();
        loop {
            self.token.wake.clear();
            loop {
                let order = match (&run, self.inbox.try_recv()) {
                    (_, Ok(order)) => order,
                    (_, Err(mpsc::TryRecvError::Disconnected)) => return self.end(),
                    (Run::Parked, Err(mpsc::TryRecvError::Empty)) => match self.inbox.recv() {
                        Ok(order) => order,
                        Err(mpsc::RecvError) => return self.end(),
                    },
                    (_, Err(mpsc::TryRecvError::Empty)) => break,
                };
                self.obey(order, &mut run);
            }
            let Some(queue) = self.queue.clone() else { continue };
            if !queue.push(&mut self.batch) {
                queue.wait_for_space(PULL);
                continue;
            }
            run = self.pull(&queue, run);
            if counted_at.elapsed() > COUNTS_EVERY {
                counted_at = Instant::now();
                let counts = self.call(|instance| instance.counts());
                queue.tell_counts(counts);
            }
        }
    }

    fn obey(&mut self, order: Order, run: &mut Run) {
        // The token was rung for this order; the source shall not take it as a request to stop what it is asked now.
        self.token.wake.clear();
        match order {
            Order::Open(queue) => {
                self.close();
                self.queue = Some(queue.clone());
                match self.call(|instance| instance.open()) {
                    Ok(()) => {
                        *run = if self.instance.on_demand() { Run::Parked } else { Run::Giving };
                        queue.tell(Item::Opened);
                    }
                    Err(fault) => {
                        *run = Run::Parked;
                        queue.tell(Item::Failed(fault.to_string()));
                    }
                }
            }
            Order::Close(queue) => {
                self.close();
                *run = Run::Parked;
                queue.tell(Item::Closed);
            }
            Order::Trigger(number) => {
                let Some(queue) = self.queue.clone() else { return };
                let mut events = Vec::new();
                let outcome = self.call(|instance| instance.trigger(number, &mut events));
                self.batch.extend(events);
                while !queue.push(&mut self.batch) && !queue.is_abandoned() {
                    queue.wait_for_space(PULL);
                }
                if let Err(fault) = outcome {
                    queue.tell(Item::Failed(fault.to_string()));
                }
            }
            Order::SetParameter { name, value } => {
                let outcome = self.call(|instance| instance.set_parameter(&name, &value));
                let mut refused = self.token.refused.lock().unwrap_or_else(PoisonError::into_inner);
                if let Err(fault) = outcome {
                    tracing::error!(stream = %self.token.stream, parameter = name, "the source refuses a value: {fault}");
                    refused.insert(name, fault.to_string());
                } else {
                    refused.remove(&name);
                }
            }
        }
    }

    /// One call of `next`, and what follows from it.
    fn pull(&mut self, queue: &Queue, run: Run) -> Run {
        let mut events: Vec<_> = std::mem::take(&mut self.batch).into();
        let outcome = self.call(|instance| instance.next(&mut events, Deadline::after(PULL)));
        self.batch = events.into();
        match (run, outcome) {
            (Run::Parked, _) => Run::Parked,
            (Run::Giving, Ok(Progress::More | Progress::Idle)) => {
                queue.push(&mut self.batch);
                Run::Giving
            }
            (Run::Giving, outcome) => {
                // The last events go before the word that they were the last.
                while !queue.push(&mut self.batch) && !queue.is_abandoned() {
                    queue.wait_for_space(PULL);
                }
                let counts = self.call(|instance| instance.counts());
                queue.tell_counts(counts);
                match outcome {
                    Err(fault) => {
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
                // What a source gives after its end has no place in the scan.
                queue.too_late(&mut self.batch);
                Run::Ended
            }
            (Run::Ended, Err(fault)) => {
                tracing::warn!(stream = %self.token.stream, "after the run's end: {fault}");
                self.close();
                Run::Parked
            }
        }
    }

    fn close(&mut self) {
        if let Some(queue) = self.queue.take() {
            let counts = self.call(|instance| instance.counts());
            queue.tell_counts(counts);
            self.call(|instance| instance.close());
            queue.too_late(&mut self.batch);
        }
    }

    fn end(mut self) {
        self.close();
        let token = self.token.clone();
        token.busy_since.store(token.now_ms(), Ordering::Relaxed);
        drop(self);
        token.busy_since.store(0, Ordering::Relaxed);
    }

    /// Calls the source, and keeps the time at which the call began where the forwarder can see it.
    fn call<T>(&mut self, what: impl FnOnce(&mut dyn Instance) -> T) -> T {
        self.token.busy_since.store(self.token.now_ms(), Ordering::Relaxed);
        let answer = what(&mut *self.instance);
        self.token.busy_since.store(0, Ordering::Relaxed);
        answer
    }
}
