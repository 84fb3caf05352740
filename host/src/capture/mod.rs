//! Capture files, `.cbors`: a sequence of CBOR items. [`Capture`] reads them; an ingester with a `dump_path` writes them.
//!
//! Runs on the caller's thread; owns only the file it reads.
//!
//! Two kinds of file have this ending. A *dump* has one item for each event, as the reference writes it:
//! `55799(42877([number, {stream: 42878([typ, [frame, …]])}, 0("time")]))`; older ones lack the time. A *message
//! capture* has one item for each message of a detector: the list of its parts.

mod decode;
mod read;
pub(crate) mod write;

pub use self::read::{Capture, ReadError};

/// "This is CBOR": precedes each event, so that tools recognise the file.
pub(crate) const TAG_SELF_DESCRIBED: u64 = 55799;
/// An event: `[number, streams]` or `[number, streams, time]`.
pub(crate) const TAG_EVENT: u64 = 42877;
/// One stream of an event: `[typ, [frame, …]]`.
pub(crate) const TAG_STREAM: u64 = 42878;
/// A time as text, RFC 3339.
pub(crate) const TAG_TIME_TEXT: u64 = 0;
/// A time as seconds since the epoch.
pub(crate) const TAG_TIME_EPOCH: u64 = 1;

/// One item of a capture file.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// An event of a dump.
    Event(RecordedEvent),
    /// The parts of a detector's message; at least one.
    Message(Vec<Vec<u8>>),
}

/// An event in a dump.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedEvent {
    /// Its number within the scan.
    pub number: u64,
    /// Its streams, in the order of the file.
    pub streams: Vec<RecordedStream>,
    /// Time of assembly, as RFC 3339 text; `None` in old files.
    pub created_at: Option<String>,
}

/// One stream of a [`RecordedEvent`].
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedStream {
    /// The stream's name. Text, not a checked name: other programs write these files too.
    pub name: String,
    /// The protocol's name.
    pub typ: String,
    /// The buffers.
    pub frames: Vec<Vec<u8>>,
}
