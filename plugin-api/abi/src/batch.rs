//! The events of one call of `next`, in arrays that the host owns and the plugin fills.
//!
//! An event's frames lie behind those of the event before it. The host offers room for a usual batch; an event of many
//! frames asks for more. Nothing is allocated for an event, and nothing is cleared in advance.
#![allow(unsafe_code)]

use std::{fmt, marker::PhantomData};

use abi_stable::StableAbi;

use crate::{
    codes::{EventKind, Outcome, Progress},
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

/// The plugin's side of a batch.
pub struct BatchWriter<'a> {
    /// Not a reference: `grow` is given the same pointer and changes what it points to.
    batch: *mut Batch,
    /// What the host refused to take.
    refused: Option<usize>,
    lent: PhantomData<&'a mut Batch>,
}

impl BatchWriter<'_> {
    /// Writes into a batch.
    ///
    /// # Safety
    /// - `batch` and its arrays are valid, and nobody else uses them, as long as the writer lives.
    #[must_use]
    pub unsafe fn new(batch: *mut Batch) -> Self {
        Self { batch, refused: None, lent: PhantomData }
    }

    /// Puts one event into the batch.
    pub fn push(&mut self, typ: &'static str, kind: EventKind, frames: impl ExactSizeIterator<Item = Frame>) {
        let count = frames.len();
        if !self.has_room_for(count) {
            self.refused = Some(count);
            return;
        }
        // SAFETY: valid and used by nobody else while the writer lives; `grow` is not called before this borrow ends.
        let batch = unsafe { &mut *self.batch };
        let before = batch.frames_len;
        // Not more than there is room for, whatever the iterator says of itself.
        for frame in frames.take(count) {
            // SAFETY: there is room for `count` frames behind `before`.
            unsafe { put(batch.frames, batch.frames_len, frame.into_raw()) }
            batch.frames_len += 1;
        }
        let event = RawEvent { typ: Text::new(typ), frames: batch.frames_len - before, kind: kind.code() };
        // SAFETY: there is room for one event more.
        unsafe { put(batch.events, batch.events_len, event) }
        batch.events_len += 1;
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

    /// Whether there is room for one event of so many frames, after the host was asked for it.
    fn has_room_for(&self, frames: usize) -> bool {
        let batch = self.batch;
        let fits = || {
            // SAFETY: `batch` is valid while the writer lives.
            let batch = unsafe { &*batch };
            batch.events_capacity - batch.events_len >= 1 && batch.frames_capacity - batch.frames_len >= frames
        };
        if fits() {
            return true;
        }
        // SAFETY: `batch` is valid while the writer lives.
        let grow = unsafe { (*batch).grow };
        // SAFETY: called inside the call that got the batch, on its thread, with no reference to the batch alive.
        (unsafe { grow(batch, 1, frames) }) == Outcome::Done.code() && fits()
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

impl fmt::Debug for BatchWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchWriter").finish_non_exhaustive()
    }
}
