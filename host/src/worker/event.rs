//! One event, as a worker inside the program gets it.

use std::{fmt, sync::Arc};

use crate::{
    budget::Charge,
    ingester::message::{Message, MessageStream},
    names::{EventNumber, IngesterName, ScanId, StreamName},
    recycle::Pooled,
};

/// One event: its number, and the frames of the streams that are assigned to this worker.
///
/// It holds the memory of its frames, which counts against the worker's limit and the ingester's `memory_limit`, until it
/// is dropped. Frames of 2 KiB and more are where their source has put them; smaller ones were copied once.
pub struct WorkerEvent {
    pub(super) origin: Arc<Origin>,
    pub(super) scan: ScanId,
    pub(super) message: Pooled<Message>,
    pub(super) _held: Charge,
}

/// The ingester that events come from.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) ingester: IngesterName,
    /// All its streams.
    pub(crate) streams: Vec<StreamName>,
}

/// The frames of one stream in a [`WorkerEvent`].
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct StreamFrames<'a> {
    /// The stream.
    pub stream: &'a StreamName,
    /// The protocol of its source, such as `STINS`.
    pub typ: &'static str,
    /// Number of frames; 0 for an event that was dropped, or that the source never gave.
    pub length: usize,
    before: usize,
    message: &'a Message,
}

impl WorkerEvent {
    /// Its ingester. A host with several sends the streams of each in an event of its own, with the same number.
    #[must_use]
    pub fn ingester(&self) -> &IngesterName {
        &self.origin.ingester
    }

    /// Its scan.
    #[must_use]
    pub fn scan(&self) -> ScanId {
        self.scan
    }

    /// Its number in the scan.
    #[must_use]
    pub fn number(&self) -> EventNumber {
        self.message.number
    }

    /// Its streams, with their frames.
    pub fn streams(&self) -> impl Iterator<Item = StreamFrames<'_>> {
        self.message.streams.iter().scan(0, |frames, &MessageStream { stream, typ, frames: length }| {
            let before = *frames;
            *frames += length;
            Some(StreamFrames { stream: &self.origin.streams[stream], typ, length, before, message: &self.message })
        })
    }

    /// The frames of one stream; `None` if the event does not have it.
    #[must_use]
    pub fn stream(&self, name: &str) -> Option<StreamFrames<'_>> {
        self.streams().find(|stream| stream.stream.as_str() == name)
    }
}

impl<'a> StreamFrames<'a> {
    /// The frames, in order.
    pub fn frames(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.message.frames().skip(self.before).take(self.length)
    }
}

impl fmt::Debug for WorkerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("WorkerEvent");
        shown.field("ingester", &self.origin.ingester).field("number", &self.number());
        shown.field("streams", &self.streams().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

impl fmt::Debug for StreamFrames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamFrames")
            .field("stream", &self.stream)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}
