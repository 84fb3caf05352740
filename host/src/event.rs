//! One event of one stream, as it goes from a reader to the messages for workers.

use framegate_plugin_api::{EventKind, Frame};
use smallvec::SmallVec;

/// The frames of one event; most events have few, so they are stored inline.
pub(crate) type Frames = SmallVec<[Frame; 2]>;

/// See the module.
#[derive(Debug)]
pub(crate) struct Event {
    /// The protocol's name as workers see it in the header (`STINS`, `contrast`, …).
    pub(crate) typ: &'static str,
    /// The position of the event in its run.
    pub(crate) kind: EventKind,
    /// The event's frames, in order.
    pub(crate) frames: Frames,
}

impl Event {
    /// Sum of the frames' lengths.
    pub(crate) fn bytes(&self) -> usize {
        self.frames.iter().map(Frame::len).sum()
    }
}
