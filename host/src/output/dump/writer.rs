//! The capture thread: writes events to the file.
//!
//! Owns the open file. Each event is written whole or not at all: after a failure the file is truncated to its last
//! whole event. It never touches a socket and never stops for good: after a failure, including a panic of its own, it
//! counts all events until the next file is opened.

use std::{
    fs::File,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, SyncSender},
    },
};

use super::{CaptureOrder, CaptureStatus, Chunk, DumpSettings, Shared, root};

/// The state of the capture thread.
pub(super) struct Writer {
    shared: Arc<Shared>,
    /// Rings for room at half of the queue's limit, so that a starved forwarder can queue more than one event.
    settings: DumpSettings,
    /// Returns written chunks.
    spares: SyncSender<Chunk>,
    /// The current capture, and its file unless writing has failed.
    capture: Option<(Arc<CaptureStatus>, Option<Sink>)>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, settings: DumpSettings, spares: SyncSender<Chunk>) -> Self {
        Self { shared, settings, spares, capture: None }
    }

    /// Serves orders until all senders are gone.
    pub(super) fn run(mut self, orders: &Receiver<CaptureOrder>) {
        for order in orders {
            match order {
                CaptureOrder::Open(status) => _ = self.guarded(|writer| writer.open(status)),
                CaptureOrder::Write(mut chunk) => {
                    let cost = chunk.cost();
                    if !self.guarded(|writer| writer.write(&chunk)) {
                        self.skip(chunk.events());
                    }
                    // Before the bytes are released.
                    if self.guarded(|_| chunk.empty()) {
                        // If enough are waiting already, its memory is freed.
                        let _ = self.spares.try_send(chunk);
                    }
                    self.give_back(cost);
                }
                #[cfg(test)]
                CaptureOrder::Panic => _ = self.guarded(|_| panic!("as a test wants it")),
                CaptureOrder::Close => {
                    self.guarded(Self::close);
                    self.shared.closed.fetch_add(1, Ordering::Release);
                    (self.shared.ring)();
                }
            }
        }
        self.guarded(Self::close);
    }

    /// Does one step. If it panics, the capture ends, and the thread continues: with `capture_when_full = "block"` a forwarder that
    /// waits for room sends no further order, so it could not learn that the thread is gone. Returns whether it did not panic.
    fn guarded(&mut self, step: impl FnOnce(&mut Self)) -> bool {
        let goes_on = catch_unwind(AssertUnwindSafe(|| step(self))).is_ok();
        if !goes_on && let Some((status, sink)) = &mut self.capture {
            *sink = None;
            status.fail("the capture thread panicked, see the log; the next scan is captured again".into());
        }
        goes_on
    }

    fn open(&mut self, status: Arc<CaptureStatus>) {
        self.close();
        let sink = root::open(self.settings.root.as_deref(), &status.path).and_then(|file| Ok(Sink::new(file)?));
        let sink = sink.map_err(|error| {
            self.shared.refused.fetch_add(u64::from(error.is_refusal()), Ordering::Relaxed); // a count, guards nothing
            status.fail(error.to_string());
        });
        let sink = sink.ok();
        if sink.is_some() {
            tracing::info!("capturing to {}", status.path.display());
        }
        self.capture = Some((status, sink));
    }

    fn write(&mut self, chunk: &Chunk) {
        let Some((status, slot)) = &mut self.capture else { return };
        let Some(sink) = slot else { return self.skip(chunk.events()) };
        let goes_on = |taken| {
            self.shared.taken.store(taken, Ordering::Relaxed); // for the time limit of a stop, guards nothing
            !self.shared.abandoned.load(Ordering::Relaxed) // see `Dump::end`
        };
        let (written, result) = sink.write(chunk, goes_on);
        status.written.fetch_add(written, Ordering::Relaxed);
        if let Err(error) = result {
            status.fail(error.to_string());
            status.not_written.fetch_add(chunk.events() - written, Ordering::Relaxed);
            *slot = None;
        }
    }

    fn skip(&self, events: u64) {
        if let Some((status, _)) = &self.capture {
            status.not_written.fetch_add(events, Ordering::Relaxed);
        }
    }

    fn close(&mut self) {
        let Some((status, sink)) = self.capture.take() else { return };
        match sink.map(|sink| nix::unistd::close(sink.file)) {
            // A network disk may report only now that it is full.
            Some(Err(error)) => {
                return status
                    .fail(format!("the disk failed when the file was closed, its end may be missing: {error}"));
            }
            // It was never opened.
            None if status.written.load(Ordering::Relaxed) == 0 => return,
            _ => {}
        }
        let (written, missing) = (status.written.load(Ordering::Relaxed), status.not_written.load(Ordering::Relaxed));
        tracing::info!("capture {} has {written} events, {missing} were not written", status.path.display());
    }

    fn give_back(&self, cost: u64) {
        self.shared.taken.store(0, Ordering::Relaxed); // see `write`
        // PAIR starved: with `Dump::holds_back`.
        let left = self.shared.queued.fetch_sub(cost, Ordering::SeqCst) - cost;
        if left <= self.settings.limit_bytes / 2 && self.shared.starved.swap(false, Ordering::SeqCst) {
            (self.shared.ring)();
        }
    }
}

/// An open file.
struct Sink {
    file: File,
    /// The file's length, as far as it was written here.
    end: u64,
}

impl Sink {
    fn new(file: File) -> io::Result<Self> {
        Ok(Self { end: file.metadata()?.len(), file })
    }

    /// Writes a chunk, or as many whole events as possible. Returns the number of written events.
    fn write(&mut self, chunk: &Chunk, goes_on: impl Fn(u64) -> bool) -> (u64, io::Result<()>) {
        let mut bytes = 0;
        let result = chunk.write(&mut self.file, &mut bytes, goes_on);
        let (events, whole) = chunk.whole_events(bytes);
        // Cuts off an incomplete event. That works on a full disk too; something other than a regular file cannot be truncated.
        if bytes > whole && self.file.set_len(self.end + whole).is_err() {
            tracing::debug!("the last event of the capture is incomplete");
        }
        self.end += whole;
        (events, result)
    }
}
