//! The capture of one ingester: takes assembled events and has them written by a thread of its own.
//!
//! [`Dump`] lives on the forwarder thread; the file is with [`writer`] on the capture thread. It owns the queue between
//! them, bounded by bytes. It never waits, whatever the disk does, and never copies a large frame: events are shared. They go to
//! the other thread in a [`Chunk`] together: each alone would cost a switch of threads, and the way back of what it is made of.
//!
//! Neighbours: `forwarder` calls it, `capture::write` knows the format.

mod chunk;
mod root;
mod writer;

use std::{
    mem,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use chunk::Chunk;

use crate::{
    ingester::{Seen, report::CaptureReport},
    names::ScanId,
    settings::CaptureWhenFull,
};

/// The capture of one ingester. Lives as long as its forwarder; has a file open between `open` and `close`.
pub(crate) struct Dump {
    settings: DumpSettings,
    /// Orders to the writer. Its drop ends the thread.
    orders: Option<mpsc::Sender<Order>>,
    shared: Arc<Shared>,
    /// Events that the writer does not have yet.
    chunk: Chunk,
    /// Chunks that were written and are empty, to be filled again.
    spares: mpsc::Receiver<Chunk>,
    /// Hears of the end of the thread: its sender lives there.
    ended: mpsc::Receiver<()>,
    /// The capture that events go to.
    current: Option<Arc<Tally>>,
    /// The last capture, for the report.
    last: Option<Arc<Tally>>,
    /// How often closing was asked for.
    closes: u64,
    /// The scan whose capture is being closed, and as which of the `closes`.
    closing: Option<(ScanId, u64)>,
    /// The scan whose capture was closed last.
    closed: Option<ScanId>,
}

/// Limits and policy of a [`Dump`].
#[derive(Debug, Clone)]
pub(crate) struct DumpSettings {
    /// Bytes of events that wait for the disk at most, and the event that reaches it.
    pub(crate) limit_bytes: u64,
    /// What happens when they are reached.
    pub(crate) when_full: CaptureWhenFull,
    /// The folder that no capture is outside of, if there is one.
    pub(crate) root: Option<PathBuf>,
}

/// What both threads see.
struct Shared {
    /// Bytes that wait for the disk. Up on the forwarder thread, down on the writer's.
    queued: AtomicU64,
    /// The forwarder holds back and waits for a ring.
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
    Write(Chunk),
    Close,
    #[cfg(test)]
    Panic,
}

impl Dump {
    /// Starts the writer thread. `ring` is called on it when the file was closed and when there is room again.
    pub(crate) fn start(settings: DumpSettings, ring: Arc<dyn Fn() + Send + Sync>) -> std::io::Result<Self> {
        let (orders, queue) = mpsc::channel();
        let (alive, ended) = mpsc::channel();
        let (give_back, spares) = mpsc::sync_channel(SPARES);
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
            writer::Writer::new(for_writer, for_thread, give_back).run(&queue);
        })?;
        Ok(Self {
            settings,
            orders: Some(orders),
            shared,
            chunk: Chunk::default(),
            spares,
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
        self.flush();
        let tally = Arc::new(Tally::new(path));
        self.current = Some(tally.clone());
        self.last = Some(tally.clone());
        self.order(Order::Open(tally));
    }

    /// Whether events are wanted; while not, `write` need not be called.
    pub(crate) fn is_open(&self) -> bool {
        self.current.is_some()
    }

    /// Whether no event shall be paired until the disk has taken some, as `capture_when_full = "block"` has it. It rings when there is room.
    pub(crate) fn holds_back(&mut self) -> bool {
        let goes_on = self.current.as_ref().is_none_or(|tally| tally.fault.get().is_some());
        if goes_on || self.settings.when_full != CaptureWhenFull::Block || !self.is_full() {
            return false;
        }
        self.flush();
        // PAIR starved: the writer takes bytes off and then looks at `starved`; here it is set and then the
        // bytes are looked at again. Sequentially consistent, so one of the two sees the other.
        self.shared.starved.store(true, Ordering::SeqCst);
        let is_full = self.is_full();
        if !is_full {
            self.shared.starved.store(false, Ordering::SeqCst);
        }
        is_full
    }

    /// Gives an event to the writer. Never waits. Returns whether it took it; if not, that is counted.
    pub(crate) fn write(&mut self, event: &Seen<'_>) -> bool {
        let Some(tally) = &self.current else { return false };
        if tally.fault.get().is_some() {
            tally.skip();
            return false;
        }
        // With `block` it was not paired while that was so.
        if self.settings.when_full != CaptureWhenFull::Block && self.is_full() {
            if self.settings.when_full == CaptureWhenFull::Close {
                let limit = self.settings.limit_bytes;
                tally.fail(format!(
                    "the disk is too slow: {limit} bytes wait for it (capture_limit); capture_when_full is \"close\""
                ));
                tally.skip();
            } else {
                tally.skip_for_slow_disk();
            }
            self.flush();
            return false;
        }
        self.chunk.add(event);
        if self.chunk.bytes() >= CHUNK {
            self.flush();
        }
        true
    }

    /// One event may always wait, whatever the limit.
    fn is_full(&self) -> bool {
        self.waiting_bytes() >= self.settings.limit_bytes.max(1)
    }

    /// Gives the writer what was kept to go together. Called now and then: whoever watches the file sees what there is.
    pub(crate) fn flush(&mut self) {
        if self.chunk.events() > 0 {
            let next = self.spares.try_recv().unwrap_or_default();
            let chunk = mem::replace(&mut self.chunk, next);
            self.shared.queued.fetch_add(chunk.cost(), Ordering::SeqCst);
            self.order(Order::Write(chunk));
        }
    }

    /// Ends the capture after what is queued, without waiting; [`closed`](Self::closed) tells when it is done. Also
    /// without an open file, so that the caller need not know.
    pub(crate) fn close(&mut self, scan: ScanId) {
        self.flush();
        self.current = None;
        self.closed = None;
        self.closes += 1;
        self.closing = Some((scan, self.closes));
        self.order(Order::Close);
    }

    /// The scan whose capture was closed last. A disk that hangs never closes one: who waits has a limit.
    pub(crate) fn closed(&mut self) -> Option<ScanId> {
        if let Some((scan, which)) = self.closing
            && self.shared.closed.load(Ordering::Acquire) >= which
        {
            (self.closing, self.closed) = (None, Some(scan));
        }
        self.closed
    }

    /// Bytes that wait for the disk.
    pub(crate) fn waiting_bytes(&self) -> u64 {
        self.shared.queued.load(Ordering::SeqCst) + self.chunk.cost()
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
            bytes_waiting: self.waiting_bytes(),
            fault: tally.fault.get().cloned(),
        })
    }

    /// Writes what is queued, closes the file and ends the thread; a disk that hangs is left behind at `limit`.
    pub(crate) fn join(mut self, limit: Instant) {
        self.end(limit.saturating_duration_since(Instant::now()));
    }

    fn end(&mut self, patience: Duration) {
        self.flush();
        self.current = None;
        if self.orders.take().is_some() && self.ended.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Timeout) {
            let waiting = self.shared.queued.load(Ordering::SeqCst);
            tracing::error!("the disk of the capture hangs: {waiting} bytes of events that wait for it are lost");
        }
    }

    /// Sends an order. It can only fail when the thread has panicked; then the capture says so.
    fn order(&self, order: Order) {
        let events = if let Order::Write(chunk) = &order { chunk.events() } else { 0 };
        let sent = self.orders.as_ref().map(|orders| orders.send(order));
        if let (Some(Err(_)) | None, Some(tally)) = (sent, &self.last) {
            tally.fail("the capture thread has ended".into());
            tally.not_written.fetch_add(events, Ordering::Relaxed);
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

    fn skip(&self) {
        self.not_written.fetch_add(1, Ordering::Relaxed);
    }

    fn skip_for_slow_disk(&self) {
        if !self.thinned.swap(true, Ordering::Relaxed) {
            tracing::warn!("capture {} skips events: its disk is too slow", self.path.display());
        }
        self.skip();
    }
}

/// Bytes of events that go to the disk together, at least.
const CHUNK: u64 = 256 << 10;
/// Chunks that wait to be filled again: as many as come together while the disk's thread waits for its turn on a busy machine. Of small
/// events each keeps 512 KiB at most.
const SPARES: usize = 64;
/// How long a hanging disk can delay the end of a capture that is dropped.
const DISK_PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
