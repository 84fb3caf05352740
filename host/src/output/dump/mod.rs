//! The capture of one ingester: takes assembled events and has them written by a thread of its own.
//!
//! [`Dump`] lives on the forwarder thread; the file is with [`writer`] on the capture thread. It owns the queue between
//! them, bounded by bytes. It never waits, whatever the disk does, and never copies a frame: events are shared.
//!
//! Neighbours: `forwarder` calls it, `capture::write` knows the format.

mod root;
mod writer;

use std::{
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    ingester::{message::Whole, report::CaptureReport},
    names::{EventNumber, ScanId, StreamName},
    recycle::Pooled,
    settings::CaptureWhenFull,
};

/// The capture of one ingester. Lives as long as its forwarder; has a file open between `open` and `close`.
pub(crate) struct Dump {
    settings: DumpSettings,
    /// Orders to the writer. Its drop ends the thread.
    orders: Option<mpsc::Sender<Order>>,
    shared: Arc<Shared>,
    /// Hears of the end of the thread: its sender lives there.
    ended: mpsc::Receiver<()>,
    /// The capture that events go to.
    current: Option<Arc<Tally>>,
    /// The last capture, for the report.
    last: Option<Arc<Tally>>,
    /// How often closing was asked for.
    closes: u64,
    /// The scan whose capture is being closed, as which of the `closes`, and when waiting for the disk ends.
    closing: Option<(ScanId, u64, Instant)>,
    /// The scan whose capture was closed last.
    closed: Option<ScanId>,
}

/// Limits and policy of a [`Dump`].
#[derive(Debug, Clone)]
pub(crate) struct DumpSettings {
    /// Bytes of events that may wait for the disk. One event always may.
    pub(crate) limit_bytes: u64,
    /// What happens when they are reached.
    pub(crate) when_full: CaptureWhenFull,
    /// The folder that no capture is outside of, if there is one.
    pub(crate) root: Option<PathBuf>,
}

/// An event as it goes into the capture.
#[derive(Debug, Clone)]
pub(crate) struct Captured {
    /// The event's number.
    pub(crate) number: EventNumber,
    /// When it was assembled, RFC 3339 with six digits.
    pub(crate) created_at: String,
    /// All streams that the event names, also those that go to no worker.
    pub(crate) streams: Vec<StreamName>,
    /// Their events, in the same order.
    pub(crate) whole: Pooled<Whole>,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Wrote {
    /// It waits for the disk.
    Queued,
    /// It is not in the capture; counted.
    Skipped,
    /// It must wait: offer it again after the ring. Only with `block`.
    Full,
}

/// What both threads see.
struct Shared {
    /// Bytes that wait for the disk. Up on the forwarder thread, down on the writer's.
    queued: AtomicU64,
    /// The forwarder was told `Full` and waits for a ring.
    starved: AtomicBool,
    /// How often the writer has closed because it was asked to.
    closed: AtomicU64,
    /// Captures whose path was not allowed, and that were not asked for yet.
    refused: AtomicU64,
    /// Wakes the forwarder.
    ring: Arc<dyn Fn() + Send + Sync>,
}

/// The counts of one capture file. A new file has a new one, so nothing has to be reset.
#[derive(Debug)]
struct Tally {
    path: PathBuf,
    written: AtomicU64,
    not_written: AtomicU64,
    /// Why it is not written any more. Set once, by either thread; whoever sets it logs it.
    fault: OnceLock<String>,
    /// Whether it was logged that events are skipped.
    thinned: AtomicBool,
}

enum Order {
    Open(Arc<Tally>),
    Write(Captured, u64),
    Close,
}

impl Dump {
    /// Starts the writer thread. `ring` is called on it when the file was closed and when there is room again.
    pub(crate) fn start(settings: DumpSettings, ring: Arc<dyn Fn() + Send + Sync>) -> std::io::Result<Self> {
        let (orders, queue) = mpsc::channel();
        let (alive, ended) = mpsc::channel();
        let shared = Arc::new(Shared {
            queued: AtomicU64::new(0),
            starved: AtomicBool::new(false),
            closed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            ring,
        });
        let (for_writer, for_thread) = (shared.clone(), settings.clone());
        thread::Builder::new().name("capture".into()).spawn(move || {
            let _alive: mpsc::Sender<()> = alive;
            writer::Writer::new(for_writer, for_thread).run(&queue);
        })?;
        Ok(Self {
            settings,
            orders: Some(orders),
            shared,
            ended,
            current: None,
            last: None,
            closes: 0,
            closing: None,
            closed: None,
        })
    }

    /// Begins a capture; one that is open is closed first. An existing file is continued. What goes wrong shows in the
    /// report.
    pub(crate) fn open(&mut self, path: PathBuf) {
        let tally = Arc::new(Tally::new(path));
        self.current = Some(tally.clone());
        self.last = Some(tally.clone());
        self.order(Order::Open(tally));
    }

    /// Whether events are wanted; while not, `write` need not be called.
    #[cfg(test)]
    pub(crate) fn is_open(&self) -> bool {
        self.current.is_some()
    }

    /// Gives an event to the writer. Never waits.
    pub(crate) fn write(&mut self, event: &Captured) -> Wrote {
        let Some(tally) = &self.current else { return Wrote::Skipped };
        if tally.fault.get().is_some() {
            return tally.skip();
        }
        let cost = event.cost();
        let limit = self.settings.limit_bytes;
        let has_room = |queued: u64| queued == 0 || queued.saturating_add(cost) <= limit;
        if !has_room(self.shared.queued.load(Ordering::Relaxed)) {
            match self.settings.when_full {
                CaptureWhenFull::Thin => return tally.skip_for_slow_disk(),
                CaptureWhenFull::Close => {
                    tally.fail(format!(
                        "the disk is too slow: {limit} bytes wait for it (capture_limit); capture_when_full is \"close\""
                    ));
                    return tally.skip();
                }
                CaptureWhenFull::Block => {
                    // PAIR starved: the writer takes bytes off and then looks at `starved`; here it is set and then the
                    // bytes are looked at again. Sequentially consistent, so one of the two sees the other.
                    self.shared.starved.store(true, Ordering::SeqCst);
                    if !has_room(self.shared.queued.load(Ordering::SeqCst)) {
                        return Wrote::Full;
                    }
                    self.shared.starved.store(false, Ordering::SeqCst);
                }
            }
        }
        self.shared.queued.fetch_add(cost, Ordering::SeqCst);
        self.order(Order::Write(event.clone(), cost));
        Wrote::Queued
    }

    /// Ends the capture after what is queued, without waiting; [`closed`](Self::closed) tells when it is done. Also
    /// without an open file, so that the caller need not know.
    pub(crate) fn close(&mut self, scan: ScanId) {
        self.current = None;
        self.closed = None;
        self.closes += 1;
        self.closing = Some((scan, self.closes, Instant::now() + DISK_PATIENCE));
        self.order(Order::Close);
    }

    /// The scan whose capture was closed last. After two seconds a hanging disk counts as closed: the file may then still
    /// grow, but nobody waits for it; so ask now and then also without a ring.
    pub(crate) fn closed(&mut self) -> Option<ScanId> {
        if let Some((scan, which, until)) = self.closing {
            let done = self.shared.closed.load(Ordering::Acquire) >= which;
            if !done && Instant::now() >= until {
                tracing::error!("the disk of the capture hangs; the scan ends without waiting for it any longer");
            }
            if done || Instant::now() >= until {
                (self.closing, self.closed) = (None, Some(scan));
            }
        }
        self.closed
    }

    /// Bytes that wait for the disk.
    #[cfg(test)]
    pub(crate) fn queued_bytes(&self) -> u64 {
        self.shared.queued.load(Ordering::Relaxed)
    }

    /// How many captures were refused since the last time, because their path leads out of the root or to what is no file.
    pub(crate) fn take_refused(&self) -> u64 {
        self.shared.refused.swap(0, Ordering::Relaxed) // a count, guards nothing
    }

    /// The current capture, or the last one.
    pub(crate) fn report(&self) -> Option<CaptureReport> {
        self.last.as_ref().map(|tally| CaptureReport {
            path: tally.path.display().to_string(),
            written: tally.written.load(Ordering::Relaxed),
            not_written: tally.not_written.load(Ordering::Relaxed),
            fault: tally.fault.get().cloned(),
        })
    }

    /// Writes what is queued, closes the file and ends the thread; a disk that hangs is left behind at `limit`.
    pub(crate) fn join(mut self, limit: Instant) {
        self.end(limit.saturating_duration_since(Instant::now()));
    }

    fn end(&mut self, patience: Duration) {
        self.current = None;
        if self.orders.take().is_some() && self.ended.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::error!("the disk of the capture hangs; what is still queued is lost");
        }
    }

    /// Sends an order. It can only fail when the thread has panicked; then the capture says so.
    fn order(&self, order: Order) {
        let sent = self.orders.as_ref().map(|orders| orders.send(order));
        if let (Some(Err(_)) | None, Some(tally)) = (sent, &self.last) {
            tally.fail("the capture thread has ended".into());
            tally.not_written.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Dump {
    fn drop(&mut self) {
        self.end(DISK_PATIENCE);
    }
}

impl std::fmt::Debug for Dump {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dump").field("settings", &self.settings).field("current", &self.current).finish_non_exhaustive()
    }
}

impl Captured {
    /// Bytes of memory that it holds while it waits.
    fn cost(&self) -> u64 {
        let frames = self.whole.events.iter().map(|event| event.bytes() + 64 * event.frames.len() + 64);
        128 + frames.sum::<usize>() as u64
    }
}

impl Tally {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            written: AtomicU64::new(0),
            not_written: AtomicU64::new(0),
            fault: OnceLock::new(),
            thinned: AtomicBool::new(false),
        }
    }

    /// Ends the capture for a reason; the first one counts, and is logged.
    fn fail(&self, reason: String) {
        if self.fault.set(reason).is_ok() {
            let reason = self.fault.get().map_or("", String::as_str);
            tracing::error!("capture {} is closed, forwarding goes on: {reason}", self.path.display());
        }
    }

    fn skip(&self) -> Wrote {
        self.not_written.fetch_add(1, Ordering::Relaxed);
        Wrote::Skipped
    }

    fn skip_for_slow_disk(&self) -> Wrote {
        if !self.thinned.swap(true, Ordering::Relaxed) {
            tracing::warn!("capture {} skips events: its disk is too slow", self.path.display());
        }
        self.skip()
    }
}

/// How long a hanging disk can delay the end of a scan, and of the process.
const DISK_PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
