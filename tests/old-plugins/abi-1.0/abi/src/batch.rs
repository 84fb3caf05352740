//! The events of one call of `next`, in arrays that the host owns and the plugin fills.
//!
//! An event's frames lie behind those of the event before it. The host offers room for a usual batch; an event of many
//! frames asks for more. Nothing is allocated for an event, and nothing is cleared in advance.
#![allow(unsafe_code)]

use std::fmt;

use abi_stable::StableAbi;

use crate::{
    codes::{EventKind, Progress},
    error::SourceError,
    frame::{Frame, RawFrame},
    text::Text,
};

/// One event as it crosses.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Copy)]
pub struct RawEvent {
    /// The protocol's name as workers see it in the header; read by the host before it calls again.
    pub typ: Text,
    /// Number of frames; they are the next ones in the array of frames.
    pub frames: usize,
    /// An [`EventKind`]'s code.
    pub kind: i32,
}

/// The arrays of a batch.
#[repr(C)]
#[derive(StableAbi, Debug)]
pub struct Batch {
    /// Room for events; not initialised.
    pub events: *mut RawEvent,
    /// Events in it; the plugin counts up.
    pub events_len: usize,
    /// Size of the room.
    pub events_capacity: usize,
    /// Room for frames; not initialised.
    pub frames: *mut RawFrame,
    /// Frames in it; the plugin counts up, after it wrote the frame: a frame that is counted belongs to the host, whatever comes then.
    pub frames_len: usize,
    /// Size of the room.
    pub frames_capacity: usize,
    /// A batch is large enough with this many events …
    pub max_events: usize,
    /// … or with this many bytes of frames.
    pub max_bytes: usize,
    /// A [`Progress`]'s code; `next` sets it.
    pub progress: i32,
    /// `[instance thread, inside the call that got the batch]` Makes room for so many events and frames more, and keeps what is there. Answers an outcome's
    /// code: `Failed` when the host refuses.
    pub grow: unsafe extern "C" fn(batch: *mut Batch, events: usize, frames: usize) -> i32,
}

/// The plugin's side of a batch, for one call.
pub struct BatchWriter {
    /// Not a reference: `grow` is given the same pointer and changes what it points to.
    batch: *mut Batch,
    /// What the host refused to take.
    refused: Option<usize>,
}

impl BatchWriter {
    /// Writes into a batch.
    ///
    /// # Safety
    /// - `batch` and its arrays are valid, and nobody else uses them, as long as the writer lives.
    #[must_use]
    pub unsafe fn new(batch: *mut Batch) -> Self {
        Self { batch, refused: None }
    }

    /// Puts one event into the batch; returns how many bytes its frames have.
    pub fn push(&mut self, typ: &'static str, kind: EventKind, frames: impl Iterator<Item = Frame>) -> usize {
        let mut event = Unfinished { writer: self, frames: 0 };
        let mut bytes = 0;
        for frame in frames {
            bytes += frame.len();
            event.add(frame);
        }
        event.finish(typ, kind);
        bytes
    }

    /// Events after which the batch is large enough.
    #[must_use]
    pub fn max_events(&self) -> usize {
        // SAFETY: `batch` is valid while the writer lives.
        unsafe { (*self.batch).max_events }
    }

    /// Bytes after which the batch is large enough.
    #[must_use]
    pub fn max_bytes(&self) -> usize {
        // SAFETY: `batch` is valid while the writer lives.
        unsafe { (*self.batch).max_bytes }
    }

    /// Ends the batch.
    ///
    /// # Errors
    /// When the host refused an event: it is lost, so the run is over.
    pub fn finish(self, progress: Progress) -> Result<(), SourceError> {
        if let Some(frames) = self.refused {
            return Err(SourceError::internal(format!("the host has no room for an event of {frames} frames")));
        }
        // SAFETY: `batch` is valid while the writer lives.
        unsafe { (*self.batch).progress = progress.code() };
        Ok(())
    }

    /// The batch, with room for one event more and so many frames more, if the host gives it.
    fn with_room_for(&mut self, frames: usize) -> Option<&mut Batch> {
        let fits = |batch: &Batch| {
            batch.events_len < batch.events_capacity && batch.frames_capacity - batch.frames_len >= frames
        };
        // SAFETY: valid and used by nobody else while the writer lives; `grow` is called when this borrow is over.
        let batch = unsafe { &mut *self.batch };
        if !fits(batch) {
            let grow = batch.grow;
            // SAFETY: called inside the call that got the batch, on its thread; no reference to it is used after.
            unsafe { grow(self.batch, 1, frames) };
        }
        // SAFETY: as above.
        let batch = unsafe { &mut *self.batch };
        fits(batch).then_some(batch)
    }
}

/// An event whose frames are being written. If it is not finished, because the source's iterator panicked, they are released:
/// the host must not find frames of no event.
struct Unfinished<'a> {
    writer: &'a mut BatchWriter,
    /// Invariant: so many frames at the end of the batch belong to this event.
    frames: usize,
}

impl Unfinished<'_> {
    fn add(&mut self, frame: Frame) {
        let Some(batch) = self.writer.with_room_for(1) else {
            self.writer.refused = Some(self.frames + 1);
            return;
        };
        // SAFETY: there is room for one frame more.
        unsafe { put(batch.frames, batch.frames_len, frame.into_raw()) }
        batch.frames_len += 1;
        self.frames += 1;
    }

    fn finish(mut self, typ: &'static str, kind: EventKind) {
        // An event that lacks a frame is no event; its frames go with `self`.
        if self.writer.refused.is_some() {
            return;
        }
        let Some(batch) = self.writer.with_room_for(0) else {
            self.writer.refused = Some(self.frames);
            return;
        };
        let event = RawEvent { typ: Text::new(typ), frames: self.frames, kind: kind.code() };
        // SAFETY: there is room for one event more.
        unsafe { put(batch.events, batch.events_len, event) }
        batch.events_len += 1;
        self.frames = 0;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        for _ in 0..std::mem::take(&mut self.frames) {
            // SAFETY: valid and used by nobody else while the writer lives.
            let batch = unsafe { &mut *self.writer.batch };
            batch.frames_len -= 1;
            // SAFETY: this frame was written by `add`, so it is within the array.
            let last = unsafe { batch.frames.add(batch.frames_len) };
            // SAFETY: as above; it is not counted any more, so nobody reads it again.
            let raw = unsafe { last.read() };
            // SAFETY: `add` made it from a frame, and nobody else owns it.
            drop(unsafe { Frame::from_raw(raw, None) });
        }
    }
}

/// Writes an element into an array that is not initialised.
///
/// # Safety
/// - `start` points to room for more than `at` elements, which nobody else uses.
unsafe fn put<T>(start: *mut T, at: usize, element: T) {
    // SAFETY: within the room, as the caller promises.
    let place = unsafe { start.add(at) };
    // SAFETY: as above; what was there needs no drop.
    unsafe { place.write(element) }
}

impl fmt::Debug for BatchWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchWriter").finish_non_exhaustive()
    }
}
