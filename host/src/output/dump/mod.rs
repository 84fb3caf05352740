//! The capture of one ingester: takes assembled events and writes them on a separate thread.
//!
//! [`Dump`] lives on the forwarder thread; the capture thread owns the file ([`writer`]). [`Dump`] owns the queue
//! between them, bounded by bytes. It never waits for the disk, and never copies a large frame: events are
//! shared. Events are sent to the other thread together, in a [`Chunk`]: single events would cost a thread switch each,
//! and memory would have to be returned event by event.
//!
//! Neighbours: `forwarder` calls it, `capture::write` knows the format.

mod chunk;
mod root;
mod writer;

use std::{
    mem,
    path::{Path, PathBuf},
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
    ingester::{PairedEvent, report::CaptureReport},
    names::ScanId,
    settings::{CaptureWhenFull, IngesterSettings},
};

/// The capture of one ingester. Lives as long as its forwarder; has a file open between `open` and `close`.
pub(crate) struct Dump {
    settings: DumpSettings,
    /// Orders to the writer. Dropping it ends the thread.
    orders: Option<mpsc::Sender<CaptureOrder>>,
    shared: Arc<Shared>,
    /// Events that were not sent to the writer yet.
    chunk: Chunk,
    /// Written and emptied chunks, to be filled again.
    spares: mpsc::Receiver<Chunk>,
    /// Disconnected when the thread ends: its sender lives there.
    ended: mpsc::Receiver<()>,
    /// The capture that is being written.
    current: Option<Arc<CaptureStatus>>,
    /// The last capture, for the report.
    last: Option<Arc<CaptureStatus>>,
    /// How often closing was requested.
    closes: u64,
    /// The scan whose capture is being closed, and the number of the close request.
    closing: Option<(ScanId, u64)>,
    /// The last scan whose capture was closed.
    closed: Option<ScanId>,
}

/// Limits and policy of a [`Dump`].
#[derive(Debug, Clone)]
struct DumpSettings {
    /// Maximum number of event bytes that wait for the disk, plus the event that reaches it.
    limit_bytes: u64,
    /// The policy when the limit is reached.
    when_full: CaptureWhenFull,
    /// The folder for all captures, if configured.
    root: Option<PathBuf>,
}

/// State that both threads see.
struct Shared {
    /// Bytes that wait for the disk. The forwarder thread adds, the writer's thread subtracts.
    queued: AtomicU64,
    /// The forwarder waits for room and a ring.
    starved: AtomicBool,
    /// How often the writer has closed on request.
    closed: AtomicU64,
    /// Bytes of the chunk under way that the disk has taken.
    taken: AtomicU64,
    /// The process is about to end: nothing more is written.
    abandoned: AtomicBool,
    /// Number of captures whose path was not allowed, since it was last read.
    refused: AtomicU64,
    /// Wakes the forwarder.
    ring: Arc<dyn Fn() + Send + Sync>,
}

/// The state of one capture file, for both threads. Each new file has its own, so nothing has to be reset.
#[derive(Debug)]
struct CaptureStatus {
    path: PathBuf,
    written: AtomicU64,
    not_written: AtomicU64,
    /// Why writing has stopped. Either thread sets it, once, and logs it.
    fault: OnceLock<String>,
    /// Whether skipped events were logged.
    thinned: AtomicBool,
}

enum CaptureOrder {
    Open(Arc<CaptureStatus>),
    Write(Chunk),
    Close,
    #[cfg(test)]
    Panic,
}

impl Dump {
    /// Starts the writer thread, which calls `ring` when the file is closed and when there is room again. `root`: the
    /// folder for all captures, if configured.
    pub(crate) fn start(
        ingester: &IngesterSettings,
        root: Option<&Path>,
        ring: Arc<dyn Fn() + Send + Sync>,
    ) -> std::io::Result<Self> {
        let root = root.map(Path::to_owned);
        let settings =
            DumpSettings { limit_bytes: ingester.capture_limit, when_full: ingester.capture_when_full, root };
        Self::with(settings, ring)
    }

    fn with(settings: DumpSettings, ring: Arc<dyn Fn() + Send + Sync>) -> std::io::Result<Self> {
        let (orders, queue) = mpsc::channel();
        let (alive, ended) = mpsc::channel();
        let (give_back, spares) = mpsc::sync_channel(SPARES);
        let shared = Arc::new(Shared {
            queued: AtomicU64::new(0),
            starved: AtomicBool::new(false),
            closed: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            abandoned: AtomicBool::new(false),
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

    /// Begins a capture; closes an open one first. Appends to an existing file. Problems are shown in the report.
    pub(crate) fn open(&mut self, path: PathBuf) {
        self.flush();
        let status = Arc::new(CaptureStatus::new(path));
        self.current = Some(status.clone());
        self.last = Some(status.clone());
        self.order(CaptureOrder::Open(status));
    }

    /// Whether events are wanted; otherwise the caller need not call `write`.
    pub(crate) fn is_open(&self) -> bool {
        self.current.is_some()
    }

    /// Whether pairing must wait until the disk has taken some events, as with `capture_when_full = "block"`. Rings when there is room.
    pub(crate) fn holds_back(&mut self) -> bool {
        let goes_on = self.current.as_ref().is_none_or(|status| status.fault.get().is_some());
        if goes_on || self.settings.when_full != CaptureWhenFull::Block || !self.is_full() {
            return false;
        }
        self.flush();
        // PAIR starved: the writer subtracts bytes and then reads `starved`; here it is set and then the bytes are read
        // again. Sequentially consistent, so one of the two sees the other.
        self.shared.starved.store(true, Ordering::SeqCst);
        let is_full = self.is_full();
        if !is_full {
            self.shared.starved.store(false, Ordering::SeqCst);
        }
        is_full
    }

    /// Queues an event for the writer. Never waits. Returns whether it was queued; if not, it is counted.
    pub(crate) fn write(&mut self, event: &PairedEvent<'_>) -> bool {
        let Some(status) = &self.current else { return false };
        if status.fault.get().is_some() {
            status.skip();
            return false;
        }
        // With `block`, no event is paired while it is full.
        if self.settings.when_full != CaptureWhenFull::Block && self.is_full() {
            if self.settings.when_full == CaptureWhenFull::Close {
                let limit = self.settings.limit_bytes;
                status.fail(format!(
                    "the disk is too slow: {limit} bytes wait for it (capture_limit); capture_when_full is \"close\""
                ));
                status.skip();
            } else {
                status.skip_for_slow_disk();
            }
            self.flush();
            return false;
        }
        self.chunk.add(event);
        // What is not given to the disk says nothing about the disk.
        if self.chunk.cost() >= CHUNK.min(self.settings.limit_bytes / 2) {
            self.flush();
        }
        true
    }

    /// One event may always wait, even if it exceeds the limit.
    fn is_full(&self) -> bool {
        self.waiting_bytes() >= self.settings.limit_bytes.max(1)
    }

    /// Sends the collected events to the writer. Called regularly, so that a reader of the file sees all events soon.
    pub(crate) fn flush(&mut self) {
        if self.chunk.events() > 0 {
            let next = self.spares.try_recv().unwrap_or_default();
            let chunk = mem::replace(&mut self.chunk, next);
            self.shared.queued.fetch_add(chunk.cost(), Ordering::SeqCst);
            self.order(CaptureOrder::Write(chunk));
        }
    }

    /// Ends the capture after the queued events, without waiting; [`closed`](Self::closed) returns when it is done.
    /// Also allowed without an open file, so that the caller need not check.
    pub(crate) fn close(&mut self, scan: ScanId) {
        self.flush();
        self.current = None;
        self.closed = None;
        self.closes += 1;
        self.closing = Some((scan, self.closes));
        self.order(CaptureOrder::Close);
    }

    /// The last scan whose capture was closed. A hanging disk never closes it: callers need a time limit.
    pub(crate) fn closed(&mut self) -> Option<ScanId> {
        if let Some((scan, which)) = self.closing
            && self.shared.closed.load(Ordering::Acquire) >= which
        {
            (self.closing, self.closed) = (None, Some(scan));
        }
        self.closed
    }

    /// Number of bytes that wait for the disk.
    pub(crate) fn waiting_bytes(&self) -> u64 {
        self.shared.queued.load(Ordering::SeqCst) + self.chunk.cost()
    }

    /// About how many of these the disk has not taken yet: falls while it writes.
    pub(crate) fn left_to_write(&self) -> u64 {
        self.waiting_bytes().saturating_sub(self.shared.taken.load(Ordering::Relaxed)) // see `Writer::write`
    }

    /// Number of captures refused since the last call, because their path leads out of the root or to something that is not a file.
    pub(crate) fn take_refused(&self) -> u64 {
        self.shared.refused.swap(0, Ordering::Relaxed) // a count, guards nothing
    }

    /// The current capture, or the last one.
    pub(crate) fn report(&self) -> Option<CaptureReport> {
        self.last.as_ref().map(|status| CaptureReport {
            path: status.path.display().to_string(),
            written: status.written.load(Ordering::Relaxed),
            not_written: status.not_written.load(Ordering::Relaxed),
            bytes_waiting: self.waiting_bytes(),
            fault: status.fault.get().cloned(),
        })
    }

    /// Writes the queued events, closes the file and ends the thread. At `limit` a slow disk gets no further events, so that
    /// the file ends with a whole one, and a hanging disk is abandoned.
    pub(crate) fn join(mut self, limit: Instant) {
        self.end(limit.saturating_duration_since(Instant::now()));
    }

    fn end(&mut self, patience: Duration) {
        self.flush();
        self.current = None;
        if self.orders.take().is_none() {
            return;
        }
        let goes_on = |patience| self.ended.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Timeout);
        if !goes_on(patience) {
            return;
        }
        self.shared.abandoned.store(true, Ordering::Relaxed); // the writer looks before each piece
        if goes_on(LAST_CHUNK) {
            let waiting = self.shared.queued.load(Ordering::SeqCst);
            tracing::error!("the disk of the capture hangs: {waiting} bytes of waiting events are not written");
        }
    }

    /// Sends an order. Fails only if the thread has panicked; then the capture reports it.
    fn order(&self, order: CaptureOrder) {
        let events = if let CaptureOrder::Write(chunk) = &order { chunk.events() } else { 0 };
        let sent = self.orders.as_ref().map(|orders| orders.send(order));
        if let (Some(Err(_)) | None, Some(status)) = (sent, &self.last) {
            status.fail("the capture thread has ended".into());
            status.not_written.fetch_add(events, Ordering::Relaxed);
        }
    }
}

impl Drop for Dump {
    fn drop(&mut self) {
        self.end(DISK_PATIENCE);
    }
}

impl CaptureStatus {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            written: AtomicU64::new(0),
            not_written: AtomicU64::new(0),
            fault: OnceLock::new(),
            thinned: AtomicBool::new(false),
        }
    }

    /// Ends the capture with a reason; only the first reason is kept and logged.
    fn fail(&self, reason: String) {
        if self.fault.set(reason).is_ok() {
            let reason = self.fault.get().map_or("", String::as_str);
            tracing::error!("capture {} is closed, forwarding continues: {reason}", self.path.display());
        }
    }

    fn skip(&self) {
        self.not_written.fetch_add(1, Ordering::Relaxed);
    }

    fn skip_for_slow_disk(&self) {
        if !self.thinned.swap(true, Ordering::Relaxed) {
            tracing::warn!("capture {} leaves out events: its disk is too slow", self.path.display());
        }
        self.skip();
    }
}

/// Minimum number of event bytes that are sent to the disk together.
const CHUNK: u64 = 256 << 10;
/// Maximum number of chunks that wait to be filled again: as many as accumulate while the disk's thread waits for its
/// turn on a busy machine. With small events, each keeps 512 KiB at most.
const SPARES: usize = 64;
/// How long the write that is under way may take at the end.
const LAST_CHUNK: Duration = Duration::from_millis(150);
/// How long a hanging disk can delay the end of a dropped capture.
const DISK_PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
