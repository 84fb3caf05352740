//! A worker inside the program: it gets events without sockets and copies.
//!
//! The forwarder treats it as a worker at the port. What it sends to a port's worker it puts into a queue here, which is
//! limited in bytes; who waits for the next event, or takes one, counts as pinging.

mod builder;
mod event;
pub(crate) mod link;
mod thread;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::mpsc;

pub use self::{
    builder::{WorkerBuilder, WorkerError},
    event::{StreamFrames, WorkerEvent},
    thread::WorkerThread,
};
use crate::{events::WaitError, names::WorkerName, park::wait_for};

/// A worker inside the program, as a queue of events. Dropping it ends the worker.
///
/// A worker that neither waits for an event nor takes one counts as silent: after four seconds it gets no more events in
/// turn, and when memory is full, it is evicted after `worker_timeout`, as a worker at the port is.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/counter.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let host = host()?;
/// use std::time::Duration;
///
/// use framegate::names::WorkerName;
///
/// let mut worker = host.worker(WorkerName::new("w1")?).queue()?;
/// let _scan = host.scan().begin()?;
/// let event = worker.wait(Duration::from_secs(10))?;
/// let camera = event.stream("camera").expect("a stream of this host");
/// assert_eq!(camera.frames().collect::<Vec<_>>(), [b"0"]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Worker {
    name: WorkerName,
    events: mpsc::UnboundedReceiver<WorkerEvent>,
    pulse: Arc<Pulse>,
}

/// Signs of life of a worker. Written by its thread, read by the forwarders.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    waits: AtomicBool,
    /// Number of events that it has taken.
    taken: AtomicU64,
}

impl Worker {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &WorkerName {
        &self.name
    }

    /// Waits for the next event. Blocks the thread.
    ///
    /// # Errors
    /// The time is up; or the host has stopped, and all events were taken.
    pub fn wait(&mut self, limit: Duration) -> Result<WorkerEvent, WaitError> {
        wait_for(self.wait_async(), Some(limit)).unwrap_or(Err(WaitError::TimedOut))
    }

    /// Does the same as [`Worker::wait`] without blocking, and without a limit.
    ///
    /// # Errors
    /// The host has stopped, and all events were taken.
    pub async fn wait_async(&mut self) -> Result<WorkerEvent, WaitError> {
        let _waits = Waits::new(&self.pulse);
        let event = self.events.recv().await.ok_or(WaitError::Stopped)?;
        self.pulse.taken.fetch_add(1, Ordering::Relaxed); // only a sign of life
        Ok(event)
    }

    /// The next event, if one is there.
    pub fn take(&mut self) -> Option<WorkerEvent> {
        let event = self.events.try_recv().ok();
        self.pulse.taken.fetch_add(1, Ordering::Relaxed); // only a sign of life
        event
    }
}

impl Pulse {
    /// Whether the worker is alive: it waits, or has taken something since `before`, which is updated.
    pub(crate) fn beats(&self, before: &mut u64) -> bool {
        let taken = self.taken.load(Ordering::Relaxed); // only a sign of life
        let beats = taken != *before || self.waits.load(Ordering::Relaxed);
        *before = taken;
        beats
    }
}

/// Says that a worker waits, until it is dropped.
struct Waits<'a>(&'a Pulse);

impl<'a> Waits<'a> {
    fn new(pulse: &'a Pulse) -> Self {
        pulse.waits.store(true, Ordering::Relaxed); // only a sign of life
        Self(pulse)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waits.store(false, Ordering::Relaxed); // only a sign of life
    }
}
