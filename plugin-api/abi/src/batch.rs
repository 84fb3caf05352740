//! The events of one call of `next`, in arrays that the host owns and the plugin fills.
//!
//! The frames of all events are in one array, in the order of the events. The host offers room for a usual batch; an
//! event with many frames asks for more. Nothing is allocated per event, and the arrays are not cleared in advance.
#![allow(unsafe_code)]

use std::fmt;

#[cfg(feature = "layout")]
use abi_stable::StableAbi;

use crate::{
    codes::{EventKind, Progress},
    error::SourceError,
    frame::Frame,
    raw::RawFrame,
    text::Text,
};

/// One event in the form that crosses the boundary.
#[repr(C)]
#[cfg_attr(feature = "layout", derive(StableAbi))]
#[derive(Debug, Clone, Copy)]
pub struct RawEvent {
    /// The protocol's name as workers see it in the header; the host reads it before its next call.
    pub typ: Text,
    /// Number of frames; they are the next ones in the frames array.
    pub frames: usize,
    /// An [`EventKind`]'s code.
    pub kind: i32,
}

/// The arrays of a batch.
#[repr(C)]
#[cfg_attr(feature = "layout", derive(StableAbi))]
#[derive(Debug)]
pub struct Batch {
    /// Room for events; not initialised.
    pub events: *mut RawEvent,
    /// Number of events in the array; the plugin increments it.
    pub events_len: usize,
    /// Capacity of the array.
    pub events_capacity: usize,
    /// Room for frames; not initialised.
    pub frames: *mut RawFrame,
    /// Number of frames in the array. The plugin increments it after it has written the frame: a counted frame belongs
    /// to the host, even if the call fails.
    pub frames_len: usize,
    /// Capacity of the array.
    pub frames_capacity: usize,
    /// The batch is full at this number of events …
    pub max_events: usize,
    /// … or at this number of frame bytes.
    pub max_bytes: usize,
    /// A [`Progress`]'s code; `next` sets it.
    pub progress: i32,
    /// `[instance thread, inside the call that got the batch]` Makes room for this many more events and frames; keeps
    /// the existing ones. Returns an outcome's code: `Failed` when the host refuses.
    pub grow: unsafe extern "C" fn(batch: *mut Batch, events: usize, frames: usize) -> i32,
}

/// The plugin's side of a batch, for one call.
pub struct BatchWriter {
    /// A pointer, not a reference: `grow` gets the same pointer and changes the struct behind it.
    batch: *mut Batch,
    /// Number of frames that the host refused to take.
    refused: Option<usize>,
}

impl BatchWriter {
    /// Writes into a batch.
    ///
    /// # Safety
    /// - `batch` and its arrays are valid, and nobody else uses them while the writer lives.
    #[must_use]
    pub unsafe fn new(batch: *mut Batch) -> Self {
        Self { batch, refused: None }
    }

    /// Adds one event to the batch; returns the number of bytes in its frames.
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

    /// Number of events at which the batch is full.
    #[must_use]
    pub fn max_events(&self) -> usize {
        // SAFETY: `batch` is valid while the writer lives.
        unsafe { (*self.batch).max_events }
    }

    /// Number of bytes at which the batch is full.
    #[must_use]
    pub fn max_bytes(&self) -> usize {
        // SAFETY: `batch` is valid while the writer lives.
        unsafe { (*self.batch).max_bytes }
    }

    /// Ends the batch.
    ///
    /// # Errors
    /// The host refused an event: that event is lost, so the run is over.
    pub fn finish(self, progress: Progress) -> Result<(), SourceError> {
        if let Some(frames) = self.refused {
            return Err(SourceError::internal(format!("the host has no room for an event of {frames} frames")));
        }
        // SAFETY: `batch` is valid while the writer lives.
        unsafe { (*self.batch).progress = progress.code() };
        Ok(())
    }

    /// The batch, with room for one more event and `frames` more frames, if the host grants it.
    fn with_room_for(&mut self, frames: usize) -> Option<&mut Batch> {
        let fits = |batch: &Batch| {
            batch.events_len < batch.events_capacity && batch.frames_capacity - batch.frames_len >= frames
        };
        // SAFETY: valid and used by nobody else while the writer lives; `grow` is called when this borrow is over.
        let batch = unsafe { &mut *self.batch };
        if !fits(batch) {
            let grow = batch.grow;
            // SAFETY: called inside the call that got the batch, on its thread; no earlier reference to the batch is
            // used afterwards.
            unsafe { grow(self.batch, 1, frames) };
        }
        // SAFETY: as above.
        let batch = unsafe { &mut *self.batch };
        fits(batch).then_some(batch)
    }
}

/// An event while its frames are being written. If the source's iterator panics before `finish`, drop releases these
/// frames: the host must not find frames that belong to no event.
struct Unfinished<'a> {
    writer: &'a mut BatchWriter,
    /// Invariant: the last `frames` frames of the batch belong to this event.
    frames: usize,
}

impl Unfinished<'_> {
    fn add(&mut self, frame: Frame) {
        let Some(batch) = self.writer.with_room_for(1) else {
            self.writer.refused = Some(self.frames + 1);
            return;
        };
        // SAFETY: there is room for one more frame.
        unsafe { put(batch.frames, batch.frames_len, frame.into_raw()) }
        batch.frames_len += 1;
        self.frames += 1;
    }

    fn finish(mut self, typ: &'static str, kind: EventKind) {
        // An event that lacks a frame is not valid; dropping `self` releases its frames.
        if self.writer.refused.is_some() {
            return;
        }
        let Some(batch) = self.writer.with_room_for(0) else {
            self.writer.refused = Some(self.frames);
            return;
        };
        let event = RawEvent { typ: Text::new(typ), frames: self.frames, kind: kind.code() };
        // SAFETY: there is room for one more event.
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
            // SAFETY: `add` wrote this frame, so it is within the array.
            let last = unsafe { batch.frames.add(batch.frames_len) };
            // SAFETY: as above; the frame is no longer counted, so nobody reads it again.
            let raw = unsafe { last.read() };
            // SAFETY: `add` created `raw` from a frame, and nobody else owns it.
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
    // SAFETY: as above; the old content needs no drop.
    unsafe { place.write(element) }
}

impl fmt::Debug for BatchWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchWriter").finish_non_exhaustive()
    }
}
