//! The capture thread: writes events to the file.
//!
//! Owns the open file and a small buffer. Each event is written whole or not at all: after a failure the file is cut back
//! to its last whole event. It never touches a socket and never stops for good: after a failure it counts what it was
//! given until the next file is opened.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Write},
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use super::{Captured, DumpSettings, Order, Shared, Tally, root};
use crate::capture::write::{StreamRef, write_event};

/// What the capture thread owns.
pub(super) struct Writer {
    shared: Arc<Shared>,
    /// Room in the queue is announced at half of its limit, so that a starved forwarder gets more than one event in.
    settings: DumpSettings,
    /// The capture that is being written, and its file while it is whole.
    capture: Option<(Arc<Tally>, Option<Sink>)>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, settings: DumpSettings) -> Self {
        Self { shared, settings, capture: None }
    }

    /// Serves orders until nobody can give any more.
    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        loop {
            let order = match self.idle_limit() {
                Some(limit) => orders.recv_timeout(limit),
                None => orders.recv().map_err(RecvTimeoutError::from),
            };
            match order {
                Ok(Order::Open(tally)) => self.open(tally),
                Ok(Order::Write(event, cost)) => {
                    self.write(&event);
                    drop(event); // before the bytes are given back
                    self.give_back(cost);
                }
                Ok(Order::Close) => {
                    self.close();
                    self.shared.closed.fetch_add(1, Ordering::Release);
                    (self.shared.ring)();
                }
                // Nothing came for a while: who watches the file sees what there is.
                Err(RecvTimeoutError::Timeout) => self.step(Sink::flush),
                Err(RecvTimeoutError::Disconnected) => return self.close(),
            }
        }
    }

    fn open(&mut self, tally: Arc<Tally>) {
        self.close();
        let sink = root::open(self.settings.root.as_deref(), &tally.path).and_then(|file| Ok(Sink::new(file)?));
        let sink = sink.map_err(|error| {
            self.shared.refused.fetch_add(u64::from(error.is_refusal()), Ordering::Relaxed); // a count, guards nothing
            tally.fail(error.to_string());
        });
        let sink = sink.ok();
        if sink.is_some() {
            tracing::info!("capturing to {}", tally.path.display());
        }
        self.capture = Some((tally, sink));
    }

    fn write(&mut self, event: &Captured) {
        match &self.capture {
            Some((_, Some(_))) => self.step(|sink| sink.event(event)),
            Some((tally, None)) => _ = tally.skip(),
            None => {}
        }
    }

    fn close(&mut self) {
        self.step(Sink::flush);
        let Some((tally, sink)) = self.capture.take() else { return };
        let Some(sink) = sink else { return };
        // A network disk may report only now that it is full.
        if let Err(error) = nix::unistd::close(sink.file) {
            tally.fail(format!("the disk failed when the file was closed, its end may be missing: {error}"));
            return;
        }
        let (written, missing) = (tally.written.load(Ordering::Relaxed), tally.not_written.load(Ordering::Relaxed));
        tracing::info!("capture {} has {written} events, {missing} are missing", tally.path.display());
    }

    /// Does something with the file, and gives it up when that fails.
    fn step(&mut self, action: impl FnOnce(&mut Sink) -> io::Result<()>) {
        let Some((tally, slot @ Some(_))) = &mut self.capture else { return };
        let Some(sink) = slot else { return };
        let result = action(sink);
        tally.written.fetch_add(sink.settle(), Ordering::Relaxed);
        if let Err(error) = result {
            tally.fail(error.to_string());
            tally.not_written.fetch_add(sink.cut_back(), Ordering::Relaxed);
            *slot = None;
        }
    }

    fn give_back(&self, cost: u64) {
        // PAIR starved: with `Dump::write`.
        let left = self.shared.queued.fetch_sub(cost, Ordering::SeqCst) - cost;
        if left <= self.settings.limit_bytes / 2 && self.shared.starved.swap(false, Ordering::SeqCst) {
            (self.shared.ring)();
        }
    }

    /// How long to wait for orders: not long while something is buffered.
    fn idle_limit(&self) -> Option<Duration> {
        match &self.capture {
            Some((_, Some(sink))) if !sink.buffer.is_empty() => Some(FLUSH_AFTER),
            _ => None,
        }
    }
}

/// An open file, what is buffered for it, and where its whole events end.
struct Sink {
    file: File,
    buffer: Vec<u8>,
    /// Length of the file, as far as it was written here.
    end: u64,
    /// Where the last event ends that is wholly in the file.
    whole: u64,
    /// Where the later events end, as soon as all of their bytes are buffered.
    ends: VecDeque<u64>,
    /// Whether an event is begun, whose end is not known yet.
    begun: bool,
}

impl Sink {
    fn new(file: File) -> io::Result<Self> {
        let end = file.metadata()?.len();
        Ok(Self { file, buffer: Vec::with_capacity(2 * BUFFER), end, whole: end, ends: VecDeque::new(), begun: false })
    }

    fn event(&mut self, event: &Captured) -> io::Result<()> {
        self.begun = true;
        let streams = event.streams.iter().zip(&event.whole.events).map(|(name, event)| StreamRef {
            name: name.as_str(),
            typ: event.typ,
            frames: &event.frames,
        });
        write_event(self, event.number, &event.created_at, streams)?;
        self.begun = false;
        self.ends.push_back(self.end + self.buffer.len() as u64);
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    /// Events whose end has reached the file since the last call.
    fn settle(&mut self) -> u64 {
        let mut events = 0;
        while let Some(&end) = self.ends.front()
            && end <= self.end
        {
            self.ends.pop_front();
            self.whole = end;
            events += 1;
        }
        events
    }

    /// Takes the torn event off the end of the file. Returns how many events are lost with it.
    fn cut_back(&mut self) -> u64 {
        // Works on a full disk too; what is no regular file has nothing to cut.
        if self.end > self.whole && self.file.set_len(self.whole).is_err() {
            tracing::debug!("the last event of the capture is incomplete");
        }
        self.ends.len() as u64 + u64::from(self.begun)
    }

    fn write_to_file(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.end += n as u64;
                    bytes = &bytes[n..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Write for Sink {
    /// Collects heads and small frames; large frames go to the file from where they are.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() >= BUFFER {
            self.flush()?;
            self.write_to_file(bytes)?;
        } else {
            if self.buffer.len() >= BUFFER {
                self.flush()?;
            }
            self.buffer.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = self.write_to_file(&buffer);
        buffer.clear();
        self.buffer = buffer;
        result
    }
}

/// Bytes that are collected before they are written: frames below this are copied once, which costs less than a system
/// call for each.
const BUFFER: usize = 64 << 10;

/// How long what is collected may wait while nothing more comes.
const FLUSH_AFTER: Duration = Duration::from_millis(200);
