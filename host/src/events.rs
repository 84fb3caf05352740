//! What happens in a host, as events for the program that embeds it; and the bell that says that the state has changed.
//!
//! Sent from any thread without waiting. A subscriber that reads too slowly misses the oldest events, and gets their number.

use std::time::Duration;

use tokio::sync::{broadcast, watch};

use crate::{
    names::{IngesterName, ScanId, StreamName, WorkerName},
    park::wait_for,
};

/// Something that has happened in a host.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostEvent {
    /// All sources of a scan are open on this ingester, or have failed to open.
    ScanReady {
        /// The ingester.
        ingester: IngesterName,
        /// The scan.
        scan: ScanId,
    },
    /// A scan is finished on this ingester: everything is delivered, and its capture is closed.
    ScanFinished {
        /// The ingester.
        ingester: IngesterName,
        /// The scan.
        scan: ScanId,
    },
    /// A source has failed in a scan; once for each scan.
    SourceFailed {
        /// The ingester.
        ingester: IngesterName,
        /// The stream.
        stream: StreamName,
        /// The scan.
        scan: ScanId,
        /// Why, with the name of the source.
        why: String,
    },
    /// A worker is connected.
    WorkerCame {
        /// The ingester.
        ingester: IngesterName,
        /// The worker.
        worker: WorkerName,
    },
    /// A worker does not count as connected any more.
    WorkerLeft {
        /// The ingester.
        ingester: IngesterName,
        /// The worker.
        worker: WorkerName,
    },
    /// A worker is evicted: it gets nothing more in this scan.
    WorkerEvicted {
        /// The ingester.
        ingester: IngesterName,
        /// The worker.
        worker: WorkerName,
        /// Number of messages for it that are dropped.
        dropped: u64,
        /// Why.
        why: String,
    },
    /// A stream has another source from this scan on.
    SwapEffective {
        /// The stream.
        stream: StreamName,
        /// The number of the swap, see [`Host::swap_receipt`](crate::Host::swap_receipt).
        swap: u64,
        /// The scan.
        scan: ScanId,
    },
    /// Redis does not answer any more.
    RedisLost {
        /// Why.
        why: String,
    },
    /// Redis answers again.
    RedisBack,
    /// So many events were missed here, because this subscription was read too slowly.
    Missed {
        /// Their number.
        count: u64,
    },
}

/// Why a wait ended without its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The time is up.
    #[error("the time is up")]
    TimedOut,
    /// The host has stopped.
    #[error("the host has stopped")]
    Stopped,
}

/// A subscription to the events of a host, from [`Host::events`](crate::Host::events) on. It keeps the latest 1,024.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/counter.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let host = host()?;
/// use std::time::Duration;
///
/// use framegate::HostEvent;
///
/// let mut events = host.events();
/// let mut scan = host.scan().begin()?;
/// loop {
///     match events.wait(Duration::from_secs(10))? {
///         HostEvent::ScanReady { scan, .. } => break println!("scan {scan} is ready"),
///         HostEvent::SourceFailed { stream, why, .. } => eprintln!("{stream}: {why}"),
///         _ => {}
///     }
/// }
/// scan.finish(Duration::from_secs(10))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Events {
    /// `None` is the end.
    receiver: broadcast::Receiver<Option<HostEvent>>,
    ended: bool,
}

impl Events {
    /// Waits for the next event. Blocks the thread.
    ///
    /// # Errors
    /// The time is up; or the host has stopped, and all its events were read.
    pub fn wait(&mut self, limit: Duration) -> Result<HostEvent, WaitError> {
        wait_for(self.wait_async(), Some(limit)).unwrap_or(Err(WaitError::TimedOut))
    }

    /// Does the same as [`Events::wait`] without blocking, and without a limit.
    ///
    /// # Errors
    /// The host has stopped, and all its events were read.
    pub async fn wait_async(&mut self) -> Result<HostEvent, WaitError> {
        if self.ended {
            return Err(WaitError::Stopped);
        }
        match self.receiver.recv().await {
            Ok(Some(event)) => Ok(event),
            Err(broadcast::error::RecvError::Lagged(count)) => Ok(HostEvent::Missed { count }),
            Ok(None) | Err(broadcast::error::RecvError::Closed) => {
                self.ended = true;
                Err(WaitError::Stopped)
            }
        }
    }
}

/// Tells subscribers what happens. Held by the parts of a host.
#[derive(Debug, Clone)]
pub(crate) struct News {
    events: broadcast::Sender<Option<HostEvent>>,
    /// Rung whenever the state has changed. Says whether the host has stopped.
    bell: watch::Sender<bool>,
}

/// Number of events that a subscription keeps.
const KEPT: usize = 1024;

impl News {
    pub(crate) fn new() -> Self {
        Self { events: broadcast::Sender::new(KEPT), bell: watch::Sender::new(false) }
    }

    pub(crate) fn tell(&self, event: HostEvent) {
        // The error means that nobody has subscribed.
        let _ = self.events.send(Some(event));
        self.ring();
    }

    pub(crate) fn ring(&self) {
        self.bell.send_modify(|_| {});
    }

    /// Ends all subscriptions: the host has stopped. Other owners of this may live longer.
    pub(crate) fn close(&self) {
        let _ = self.events.send(None);
        self.bell.send_replace(true);
    }

    pub(crate) fn events(&self) -> Events {
        Events { receiver: self.events.subscribe(), ended: false }
    }

    pub(crate) fn bell(&self) -> watch::Receiver<bool> {
        self.bell.subscribe()
    }
}

/// Rings when it is dropped, however its thread or task ends.
#[derive(Debug)]
pub(crate) struct RingAtEnd(pub(crate) News);

impl Drop for RingAtEnd {
    fn drop(&mut self) {
        self.0.ring();
    }
}
