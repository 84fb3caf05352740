//! The reader of a stream: one thread, the only one that calls the source, from `create` to drop; and the forwarder's
//! handle to it.
//!
//! The forwarder sends orders, which the thread takes between two calls of the source. An order that ends the source's
//! run also rings its stop signal, so that a waiting call returns. Answers come through the scan's [`Queue`].

#[cfg(test)]
mod tests;
mod thread;

use std::{
    fmt,
    sync::{Arc, mpsc},
    thread::{Builder, JoinHandle, park_timeout},
    time::{Duration, Instant},
};

use self::thread::ReaderThread;
use super::{
    Feed, NotCreated,
    orders::Orders,
    parameter::Parameter,
    queue::Queue,
    renewal::{NotMade, StreamSource},
    shared::Shared,
};

/// The forwarder's handle to a reader. Dropping it ends the reader when the source's current call returns.
#[derive(Debug)]
pub(crate) struct Reader {
    orders: Arc<Orders<Order>>,
    pub(crate) shared: Arc<Shared>,
    /// A call was overdue at the last check.
    written_off: bool,
    thread: Option<JoinHandle<()>>,
}

/// Whether a source is ready: see [`Reader::start`].
pub(crate) type Readiness = Result<Option<Vec<Parameter>>, NotCreated>;

/// The orders of the forwarder to a reader.
#[derive(Debug)]
pub(crate) enum Order {
    /// A scan starts: close the open run, and open the one of this scan if the stream takes part. A reader that is new
    /// takes over from the old one before.
    Scan { queue: Arc<Queue>, opens: bool, from: Option<TakeOver> },
    /// Give the event of this number, for on-demand sources.
    Trigger(u64),
    /// Set a parameter; ignored if the source has no such parameter.
    SetParameter { name: String, value: Arc<[u8]> },
}

/// A stream's old reader, for the one that takes over. Two sources must not share the detector, so the new one waits for
/// the end of the old one.
pub(crate) struct TakeOver {
    pub(crate) old: Reader,
    /// After that, the new source does not wait for the old one any more.
    pub(crate) until: Instant,
    /// Called with the outcome. [reader thread of the new source]
    pub(crate) done: Box<dyn FnOnce(TookOver) + Send>,
}

/// The outcome of taking over.
#[derive(Debug)]
pub(crate) struct TookOver {
    pub(crate) old: Reader,
    /// The source that now feeds the stream.
    pub(crate) feed: Feed,
    /// Its run-time parameters.
    pub(crate) parameters: Vec<Parameter>,
    /// Why the new source does not feed the stream.
    pub(crate) failed: Option<NotMade>,
}

/// How long the end of a thread may take whose source's process was killed.
const DIES: Duration = Duration::from_secs(1);
/// Polling interval for the end of a thread.
const LOOK: Duration = Duration::from_millis(1);

impl Reader {
    /// Starts the thread, which makes the source ready; the result comes through the channel, or never if `create` hangs:
    /// the source's run-time parameters, or `None` if it is created when it takes over. `before`: the source that it is to
    /// replace, and the one that waited to do so.
    pub(crate) fn start(feed: Feed, before: Vec<Feed>) -> std::io::Result<(Self, mpsc::Receiver<Readiness>)> {
        let name = format!("read {}", feed.settings.name);
        let shared = Arc::new(Shared::new(feed)?);
        let orders = Arc::new(Orders::new(shared.wake.clone()));
        let (ready, outcome) = mpsc::sync_channel(1);
        let for_thread = (shared.clone(), orders.clone());
        let thread = Builder::new().name(name).spawn(move || {
            let (shared, orders) = for_thread;
            let _named = shared.named.clone().entered();
            let mut source = StreamSource::new(shared.clone());
            let begun = source.begin(&before);
            let has_failed = begun.is_err();
            if ready.send(begun).is_err() || has_failed {
                return;
            }
            source.set_values();
            ReaderThread::new(source, orders, shared).run();
        })?;
        Ok((Self { orders, shared, written_off: false, thread: Some(thread) }, outcome))
    }

    /// Sends an order. An order that ends the run makes a waiting source return.
    pub(crate) fn order(&self, order: Order) {
        // A reader whose thread has died does not answer; callers that wait for an answer have a deadline.
        let is_urgent = matches!(order, Order::Scan { .. });
        self.orders.give(order, is_urgent);
    }

    /// To be called often: writes off an overdue call, with the code that it runs; if the call returns later, the
    /// source is used again. Returns how long the call has been running, when it is first overdue.
    pub(crate) fn write_off_if_overdue(&mut self, limit: Duration) -> Option<Duration> {
        let overdue = self.shared.overdue(limit);
        if overdue.is_some() == self.written_off {
            return None;
        }
        self.written_off = overdue.is_some();
        match overdue {
            Some(_) => self.write_off(),
            None => tracing::warn!(
                stream = %self.shared.stream,
                "{}: the call that was written off has returned; the source is used again from the next scan on",
                self.shared.source()
            ),
        }
        overdue
    }

    /// Writes off the source's code.
    pub(crate) fn write_off(&self) {
        self.shared.feed().factory.write_off();
    }

    /// Whether the thread has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Asks the thread to end; does not wait.
    pub(crate) fn stop(&self) {
        self.orders.close();
    }

    /// Waits until the thread has ended, at most until `deadline`. Returns whether it has.
    fn wait_for_end(&self, deadline: Instant) -> bool {
        self.stop();
        while !self.has_ended() {
            if Instant::now() >= deadline {
                return false;
            }
            park_timeout(LOOK);
        }
        true
    }

    /// Waits until the thread has ended, at most until `deadline`; a thread inside a hanging source is abandoned.
    pub(crate) fn join(&mut self, deadline: Instant) {
        let mut has_ended = self.wait_for_end(deadline);
        if !has_ended {
            self.write_off();
            // The call returns when its process is dead.
            has_ended = self.shared.feed().factory.is_apart() && self.wait_for_end(Instant::now() + DIES);
        }
        if !has_ended {
            tracing::warn!(
                stream = %self.shared.stream,
                "{}: the source does not return; its thread is left behind", self.shared.source()
            );
        } else if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for TakeOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TakeOver").field("old", &self.old).finish_non_exhaustive()
    }
}
