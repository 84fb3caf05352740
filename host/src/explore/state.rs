//! The parts of an ingester's state, as simply as possible: whole lists, no sharing.

use std::collections::VecDeque;

pub(super) const STREAMS: usize = 2;
pub(super) const WORKERS: usize = 2;

/// A message: event number, and its streams with the texts of their frames. A dropped or missing event has `None`.
pub(super) type Message = (u64, Vec<(usize, Option<String>)>);

/// The streams that an event names, each with its workers.
pub(super) type StreamWorkers = Vec<(usize, Vec<usize>)>;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Scan {
    pub(super) number: usize,
    pub(super) phase: Phase,
    pub(super) streams: [StreamSpec; STREAMS],
    pub(super) assigned: VecDeque<(u64, StreamWorkers)>,
    pub(super) next_number: u64,
    pub(super) finish_asked: bool,
    pub(super) broken: bool,
    pub(super) processed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Opening { overdue: bool },
    Running,
    Finishing,
    Closing { overdue: bool },
    Finished,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct StreamSpec {
    pub(super) active: bool,
    pub(super) awaited: bool,
    pub(super) on_demand: bool,
    /// The last number that its source was triggered for.
    pub(super) asked: Option<u64>,
    pub(super) failed: bool,
    /// Events in order; `None` takes the place of a dropped event.
    pub(super) waiting: VecDeque<Option<String>>,
    pub(super) read: u64,
    pub(super) forwarded: u64,
    pub(super) dropped: u64,
    pub(super) discarded: u64,
    pub(super) missing: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct ReaderSpec {
    /// Pending orders.
    pub(super) orders: VecDeque<Order>,
    /// The scan of the open run.
    pub(super) run: Option<usize>,
    /// The run has given its last event.
    pub(super) over: bool,
    /// Number of events given in this run.
    pub(super) given: usize,
}

/// An order to a reader, for a scan; or the request to give the event of a trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Order {
    Open(usize),
    Close(usize),
    Give,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct WorkerSpec {
    pub(super) pending: VecDeque<Message>,
    pub(super) evicted: bool,
    pub(super) unreachable: bool,
    /// It has pinged, in any scan.
    pub(super) known: bool,
    pub(super) restarts: u32,
    pub(super) dropped: u64,
    pub(super) sent: u64,
}

/// A decision of the heart.
#[derive(Debug, Clone, Copy, Hash)]
pub(super) enum Deed {
    /// Trigger a stream.
    Trigger(usize),
    /// Close the capture of a scan.
    Close(usize),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Word {
    Opened,
    Closed,
    Event(String),
    Dropped,
    Ended,
    Failed,
}

/// The outcomes of a stream's events in the scans that were replaced.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Earlier {
    pub(super) read: u64,
    pub(super) replaced: u64,
    pub(super) dropped: u64,
}

impl StreamSpec {
    /// Number of waiting events.
    pub(super) fn queued(&self) -> u64 {
        self.waiting.iter().flatten().count() as u64
    }

    pub(super) fn hear(&mut self, word: Word) {
        match word {
            Word::Opened | Word::Closed | Word::Ended => self.awaited = false,
            Word::Failed => (self.awaited, self.failed) = (false, true),
            Word::Event(_) | Word::Dropped => {
                let event = if let Word::Event(text) = word { Some(text) } else { None };
                self.read += 1;
                self.dropped += u64::from(event.is_none() || self.failed);
                if !self.failed {
                    self.waiting.push_back(event);
                }
            }
        }
    }
}

impl Scan {
    /// Discards the waiting events: they have no assignment.
    pub(super) fn discard(&mut self) {
        for stream in &mut self.streams {
            stream.discarded += stream.waiting.drain(..).flatten().count() as u64;
        }
    }
}

impl ReaderSpec {
    /// The text of the next event: its scan, stream and number in the run.
    pub(super) fn next_event(&mut self, stream: usize) -> String {
        let text = format!("scan {}, stream {stream}, event {}", self.run.unwrap(), self.given);
        self.given += 1;
        text
    }
}
