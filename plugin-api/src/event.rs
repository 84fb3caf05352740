//! Events, and the batch that `next` fills.

use std::fmt;

use framegate_plugin_abi::batch::BatchWriter;

use crate::{EventKind, Frame};

/// One event of one stream, as a test sees it.
#[derive(Debug)]
pub struct Event {
    /// The protocol's name as workers see it in the header (`STINS`, `contrast`, …).
    pub typ: &'static str,
    /// The position of the event in its run.
    pub kind: EventKind,
    /// The event's frames, in order.
    pub frames: Vec<Frame>,
}

impl Event {
    /// Sum of the frames' lengths.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.frames.iter().map(Frame::len).sum()
    }
}

/// The batch that [`SourceRun::next`](crate::SourceRun::next) fills.
pub struct EventSink<'a> {
    target: Target<'a>,
    events: usize,
    bytes: usize,
    max_events: usize,
    max_bytes: usize,
}

/// Where events go.
enum Target<'a> {
    /// A function, as in tests.
    Function(&'a mut dyn FnMut(Event)),
    /// The arrays of the boundary, directly: building an [`Event`] first would cost more than everything else.
    Batch(&'a mut BatchWriter),
}

impl<'a> EventSink<'a> {
    /// A sink that hands each event to `push`; full after `max_events` or `max_bytes`.
    pub fn new(push: &'a mut dyn FnMut(Event), max_events: usize, max_bytes: usize) -> Self {
        Self { target: Target::Function(push), events: 0, bytes: 0, max_events, max_bytes }
    }

    /// A sink that writes into a batch, with the batch's limits.
    pub(crate) fn into_batch(batch: &'a mut BatchWriter) -> Self {
        let (max_events, max_bytes) = (batch.max_events(), batch.max_bytes());
        Self { target: Target::Batch(batch), events: 0, bytes: 0, max_events, max_bytes }
    }

    /// Gives one event to the host.
    pub fn push(&mut self, typ: &'static str, kind: EventKind, frames: impl IntoIterator<Item = Frame>) {
        self.events += 1;
        match &mut self.target {
            Target::Function(push) => {
                let event = Event { typ, kind, frames: frames.into_iter().collect() };
                self.bytes += event.bytes();
                push(event);
            }
            Target::Batch(batch) => self.bytes += batch.push(typ, kind, frames.into_iter()),
        }
    }

    /// Whether the batch is full: return [`Progress::More`](crate::Progress::More) now. Further events are accepted,
    /// but the host cannot apply back-pressure in the middle of a batch.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.events >= self.max_events || self.bytes >= self.max_bytes
    }

    /// Number of events given so far in this call.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events
    }

    /// Whether no event was given so far in this call.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events == 0
    }
}

impl fmt::Debug for EventSink<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSink").field("events", &self.events).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
