//! The arrays that a plugin fills, and the host's checks of their content.
//!
//! A batch is checked as a whole before its first event is handed out. If it breaks a rule, its frames are released and
//! none of its events is used.

use std::{fmt, slice};

use super::{Limits, Refused, typs::Types};
use crate::{
    batch::{Batch, RawEvent},
    catch,
    codes::{EventKind, Outcome},
    frame::{Frame, Ledger},
    raw::RawFrame,
    text::Text,
};

/// A batch with its arrays. The plugin gets the address of the first field.
#[repr(C)]
pub(super) struct BatchBuffer {
    batch: Batch,
    /// The memory behind `batch.events`. The vector's length is always 0: `batch` counts the elements.
    events: Vec<RawEvent>,
    /// The memory behind `batch.frames`; as above.
    frames: Vec<RawFrame>,
    typs: Types,
}

/// Initial capacity; most batches have 64 events of 2 frames and never ask for more.
const EVENTS: usize = 64;
const FRAMES: usize = 128;
/// Limits for `grow`: no detector needs so many, so such a request only shows that the plugin is broken.
const MOST_EVENTS: usize = 1 << 20;
const MOST_FRAMES: usize = 1 << 22;

impl BatchBuffer {
    /// Creates the buffer for an instance of the plugin whose code is at this address.
    pub(super) fn new(code: usize) -> Box<Self> {
        let (mut events, mut frames) = (Vec::with_capacity(EVENTS), Vec::with_capacity(FRAMES));
        let batch = Batch {
            events: events.as_mut_ptr(),
            events_len: 0,
            events_capacity: events.capacity(),
            frames: frames.as_mut_ptr(),
            frames_len: 0,
            frames_capacity: frames.capacity(),
            max_events: 0,
            max_bytes: 0,
            progress: 0,
            grow,
        };
        Box::new(Self { batch, events, frames, typs: Types::new(code) })
    }

    /// Prepares the batch for a call.
    pub(super) fn begin(&mut self, limits: Limits) {
        self.point();
        self.batch.max_events = limits.events;
        self.batch.max_bytes = limits.bytes;
        self.batch.progress = 0;
    }

    /// The pointer for the plugin. It covers the whole buffer, because `grow` needs the whole buffer.
    pub(super) fn raw(&mut self) -> *mut Batch {
        (&raw mut *self).cast()
    }

    pub(super) fn progress(&self) -> i32 {
        self.batch.progress
    }

    /// Empties the batch and sets its pointers and capacities again: a plugin may have overwritten fields that belong
    /// to the host.
    fn point(&mut self) {
        self.batch.events = self.events.as_mut_ptr();
        self.batch.events_len = 0;
        self.batch.events_capacity = self.events.capacity();
        self.batch.frames = self.frames.as_mut_ptr();
        self.batch.frames_len = 0;
        self.batch.frames_capacity = self.frames.capacity();
        self.batch.grow = grow;
    }

    /// Hands out every event.
    pub(super) fn take(
        &mut self,
        ledger: &'static Ledger,
        mut take: impl FnMut(&'static str, EventKind, Frames<'_>),
    ) -> Result<(), Refused> {
        let garbage = |answer| Err(Refused::Garbage(answer));
        let (events_len, frames_len) = (self.batch.events_len, self.batch.frames_len);
        self.point();
        if events_len > self.events.capacity() || frames_len > self.frames.capacity() {
            // It is unknown which memory the plugin has written, so the frames cannot be released.
            return garbage(format!("{events_len} events and {frames_len} frames, for which there was no room"));
        }
        // SAFETY: the plugin counts what it has written, which is within the capacity; `self.events` points there.
        let events = unsafe { slice::from_raw_parts_mut(self.events.as_mut_ptr(), events_len) };
        // SAFETY: as above, for frames.
        let frames = unsafe { slice::from_raw_parts(self.frames.as_ptr(), frames_len) };
        ledger.add_delivered(frames_len as u64);
        let mut all = Frames { raw: frames, ledger };
        let mut counted = 0_usize;
        for event in &mut *events {
            counted = counted.saturating_add(event.frames);
            // From here on the text is our own copy: it is read again below.
            // SAFETY: the plugin keeps it until its next call.
            let typ = unsafe { event.typ.as_bytes() };
            event.typ = Text::new(self.typs.get(typ)?);
            if EventKind::from_code(event.kind).is_none() {
                return garbage(format!("an event of kind {}", event.kind));
            }
        }
        if counted != frames_len {
            return garbage(format!("{frames_len} frames for events of {counted}"));
        }
        if let Some(frame) =
            frames.iter().find(|frame| frame.len > isize::MAX as usize || (frame.data.is_null() && frame.len > 0))
        {
            return garbage(format!("a frame of {} bytes at {:?}", frame.len, frame.data));
        }
        for event in events {
            let kind = EventKind::from_code(event.kind).expect("checked above");
            // SAFETY: since the loop above this is one of our own static texts.
            let typ = unsafe { event.typ.as_bytes() };
            // SAFETY: as above; it was created from a `str`.
            let typ = unsafe { str::from_utf8_unchecked(typ) };
            let (mine, rest) = all.raw.split_at(event.frames);
            all.raw = rest;
            take(typ, kind, Frames { raw: mine, ledger });
        }
        Ok(())
    }
}

/// The frames of one event. Drop releases the frames that were not taken.
pub struct Frames<'a> {
    /// Invariant: nobody else owns these frames.
    raw: &'a [RawFrame],
    ledger: &'static Ledger,
}

impl Frames<'_> {
    /// Number of bytes in the frames that were not taken.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.raw.iter().map(|frame| frame.len).fold(0, usize::saturating_add)
    }
}

impl Iterator for Frames<'_> {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        let (first, rest) = self.raw.split_first()?;
        self.raw = rest;
        // SAFETY: the plugin gave the frame to us with the batch and promises that its bytes stay until `release`,
        // which may be called on any thread; `first` is not used again.
        Some(unsafe { Frame::from_raw(*first, Some(self.ledger)) })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.raw.len(), Some(self.raw.len()))
    }
}

impl ExactSizeIterator for Frames<'_> {}

impl Drop for Frames<'_> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}

impl fmt::Debug for Frames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames").field("left", &self.raw.len()).finish_non_exhaustive()
    }
}

/// Makes room for more events and frames.
///
/// # Safety
/// - `batch` is the address of a [`BatchBuffer`], and its arrays hold as many elements as it counts.
unsafe extern "C" fn grow(batch: *mut Batch, events: usize, frames: usize) -> i32 {
    // SAFETY: the plugin passes the pointer that it got: the address of a whole `BatchBuffer`, valid during the call.
    let buffer = unsafe { &mut *batch.cast::<BatchBuffer>() };
    let (events_len, frames_len) = (buffer.batch.events_len, buffer.batch.frames_len);
    let sane = events_len <= buffer.events.capacity() && frames_len <= buffer.frames.capacity();
    if !sane || events_len.saturating_add(events) > MOST_EVENTS || frames_len.saturating_add(frames) > MOST_FRAMES {
        return Outcome::Failed.code();
    }
    let grown = catch::quietly(|| {
        // SAFETY: the plugin has written this many elements, as its count says.
        unsafe { buffer.events.set_len(events_len) };
        // SAFETY: as above.
        unsafe { buffer.frames.set_len(frames_len) };
        buffer.events.reserve(events);
        buffer.frames.reserve(frames);
        buffer.events.clear();
        buffer.frames.clear();
        buffer.batch.events = buffer.events.as_mut_ptr();
        buffer.batch.events_capacity = buffer.events.capacity();
        buffer.batch.frames = buffer.frames.as_mut_ptr();
        buffer.batch.frames_capacity = buffer.frames.capacity();
    });
    (if grown.is_some() { Outcome::Done } else { Outcome::Failed }).code()
}
