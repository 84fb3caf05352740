//! A byte buffer with an owner, and the form in which it crosses the boundary.
//!
//! A frame is created on the reader thread and dropped on any thread: usually on the forwarder's, when the last worker
//! has received it. Its bytes never move and never change in between.
#![allow(unsafe_code)]

use std::{
    ffi::c_void,
    fmt,
    mem::ManuallyDrop,
    ops::Range,
    ptr, slice,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{catch, raw::RawFrame, small};

/// Counts the frames that one loaded plugin delivered, and the frames that were released. Lives as long as the process,
/// like the plugin.
#[derive(Debug, Default)]
pub struct Ledger {
    delivered: Line,
    released: Line,
}

/// Has its own cache line: the instance's thread writes one count, the threads that release frames write the other.
#[repr(align(64))]
#[derive(Debug, Default)]
struct Line(AtomicU64);

impl Ledger {
    /// A ledger for a new plugin.
    #[must_use]
    pub const fn new() -> Self {
        Self { delivered: Line(AtomicU64::new(0)), released: Line(AtomicU64::new(0)) }
    }

    /// Number of frames that the plugin has delivered.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.delivered.0.load(Ordering::Relaxed) // statistics for people; guards nothing
    }

    /// Number of frames that were released.
    #[must_use]
    pub fn released(&self) -> u64 {
        // PAIR released: with the Release in `Frame::drop`: a thread that sees a frame counted also sees what its
        // owner's drop did.
        self.released.0.load(Ordering::Acquire)
    }

    /// Counts released frames that have no ledger of their own.
    pub fn add_released(&self, frames: u64) {
        // PAIR released: see `released`.
        self.released.0.fetch_add(frames, Ordering::Release);
    }

    /// Counts delivered frames.
    pub fn add_delivered(&self, frames: u64) {
        self.delivered.0.fetch_add(frames, Ordering::Relaxed); // see `delivered`
    }
}

/// A byte buffer with an owner. The owner is released once, on the thread that drops the frame.
///
/// In odin-data "frame" means an image; here it is one buffer of an event, as in ZeroMQ and dranspose.
pub struct Frame {
    raw: RawFrame,
    /// The ledger that counts the release; `None` for a frame that has not crossed the boundary.
    ledger: Option<&'static Ledger>,
}

// SAFETY: the owner behind a frame is `Send` (required by `from_owner`; promised by the plugin for `from_raw`), and the
// contract of `RawFrame::release` allows it on any thread.
unsafe impl Send for Frame {}
// SAFETY: a shared frame exposes only `&[u8]`, and nobody changes these bytes while the frame lives.
unsafe impl Sync for Frame {}

impl Frame {
    /// Takes the vector's memory without copying it.
    #[must_use]
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        Self::from_owner(bytes)
    }

    /// Copies `bytes`. For small frames this is cheaper than keeping a big receive buffer: frames of up to 2 KiB share
    /// chunks that their thread reuses, so that a copy allocates nothing.
    #[must_use]
    pub fn copy(bytes: &[u8]) -> Self {
        match small::copy(bytes) {
            Some(raw) => Self { raw, ledger: None },
            None if bytes.is_empty() => Self::from_static(&[]),
            None => Self::from_owner(Box::<[u8]>::from(bytes)),
        }
    }

    /// Uses bytes that live as long as the process.
    #[must_use]
    pub fn from_static(bytes: &'static [u8]) -> Self {
        let raw = RawFrame { data: bytes.as_ptr(), len: bytes.len(), owner: ptr::null_mut(), release: None };
        Self { raw, ledger: None }
    }

    /// Uses the bytes of `owner` in place; `owner` is dropped on any thread, when the last worker has received the
    /// frame.
    ///
    /// `owner` moves first, so bytes that it keeps inline are safe too. A small owner (one that only points to its
    /// bytes) moves into a chunk that its thread reuses, so that this allocates nothing; a larger one moves to the
    /// heap. A panic in its `Drop` is caught.
    #[must_use]
    pub fn from_owner<O: AsRef<[u8]> + Send + 'static>(owner: O) -> Self {
        let owner = match small::keep(owner) {
            Ok(raw) => return Self { raw, ledger: None },
            Err(owner) => Box::into_raw(Box::new(owner)),
        };
        // SAFETY: created one line up, and nobody else has it. Bytes that are inside the owner are borrowed from their
        // final place: the box does not move again.
        let bytes = unsafe { &*owner }.as_ref();
        let (data, len) = (bytes.as_ptr(), bytes.len());
        let raw = RawFrame { data, len, owner: owner.cast(), release: Some(release_box::<O>) };
        Self { raw, ledger: None }
    }

    /// Uses a range of a buffer that several frames share; the buffer is dropped with its last frame, on any thread.
    ///
    /// # Panics
    /// If `range` is not within the buffer.
    #[must_use]
    pub fn part_of<O: AsRef<[u8]> + Send + Sync + 'static>(owner: &Arc<O>, range: Range<usize>) -> Self {
        let bytes = &(**owner).as_ref()[range];
        let (data, len) = (bytes.as_ptr(), bytes.len());
        let owner = Arc::into_raw(owner.clone()).cast_mut().cast();
        let raw = RawFrame { data, len, owner, release: Some(release_arc::<O>) };
        Self { raw, ledger: None }
    }

    /// The frame in the form that crosses the boundary; the receiver must call `release` once.
    #[must_use]
    pub fn into_raw(self) -> RawFrame {
        ManuallyDrop::new(self).raw
    }

    /// Takes over a frame that crossed the boundary; the ledger counts its release.
    ///
    /// # Safety
    /// - `raw.data` points to `raw.len` bytes that stay readable and unchanged until `raw.release` is called;
    /// - `raw.release` may be called once with `raw.owner`, on any thread;
    /// - nobody else calls it.
    #[must_use]
    pub unsafe fn from_raw(raw: RawFrame, ledger: Option<&'static Ledger>) -> Self {
        Self { raw, ledger }
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        if self.raw.len == 0 {
            return &[];
        }
        // SAFETY: `data` and `len` describe bytes that the owner keeps readable and unchanged until `release`, which is
        // called only in `drop`; the borrow of `self` ends before that.
        unsafe { slice::from_raw_parts(self.raw.data, self.raw.len) }
    }

    /// Number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.raw.len
    }

    /// The address of the owner, 0 for bytes that live as long as the process. Two frames of one owner return the same
    /// address.
    #[must_use]
    pub fn owner(&self) -> usize {
        self.raw.owner as usize
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.raw.len == 0
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        if let Some(release) = self.raw.release {
            // SAFETY: `into_raw` forgets the frame, so this runs once for each owner; `release` is allowed on any
            // thread.
            unsafe { release(self.raw.owner) }
        }
        if let Some(ledger) = self.ledger {
            ledger.add_released(1);
        }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({} bytes)", self.raw.len)
    }
}

impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

/// Drops the boxed owner; a panic is caught here and does not reach the host.
///
/// # Safety
/// - `owner` came from `Box::into_raw` of a `Box<O>`, and was not passed here before.
unsafe extern "C" fn release_box<O>(owner: *mut c_void) {
    catch::quietly(|| {
        // SAFETY: `from_owner` created `owner` from a `Box<O>`, and `Frame::drop` calls once.
        drop(unsafe { Box::from_raw(owner.cast::<O>()) });
    });
}

/// Releases one count of a shared owner; a panic of its drop is caught here and does not reach the host.
///
/// # Safety
/// - `owner` came from `Arc::into_raw` of an `Arc<O>`, and was not passed here before for this count.
unsafe extern "C" fn release_arc<O>(owner: *mut c_void) {
    catch::quietly(|| {
        // SAFETY: `part_of` took one count of an `Arc<O>` for this frame, and `Frame::drop` calls once.
        drop(unsafe { Arc::from_raw(owner.cast::<O>()) });
    });
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    struct Counted(Vec<u8>, Arc<AtomicUsize>);
    impl AsRef<[u8]> for Counted {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    impl Drop for Counted {
        fn drop(&mut self) {
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn frames_that_share_a_buffer_keep_it_until_the_last_is_gone() {
        let drops = Arc::new(AtomicUsize::new(0));
        let owner = Arc::new(Counted(b"abcdef".to_vec(), drops.clone()));
        let frames = [0..2, 2..2, 2..6].map(|range| Frame::part_of(&owner, range));
        drop(owner);
        assert_eq!(frames.each_ref().map(Frame::as_slice), [&b"ab"[..], b"", b"cdef"]);
        let [first, middle, last] = frames;
        drop((first, middle));
        assert_eq!(drops.load(Ordering::SeqCst), 0);
        std::thread::spawn(move || drop(last)).join().unwrap();
        assert_eq!(drops.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn the_owner_is_dropped_once_on_another_thread() {
        let drops = Arc::new(AtomicUsize::new(0));
        let frame = Frame::from_owner(Counted(vec![1, 2, 3], drops.clone()));
        std::thread::spawn(move || assert_eq!(frame.as_slice(), [1, 2, 3])).join().unwrap();
        assert_eq!(drops.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_frame_that_crossed_as_raw_is_released_once() {
        let drops = Arc::new(AtomicUsize::new(0));
        let raw = Frame::from_owner(Counted(vec![7; 10], drops.clone())).into_raw();
        assert_eq!(drops.load(Ordering::SeqCst), 0);
        // SAFETY: `raw` came from `into_raw` one line up and is used once.
        let frame = unsafe { Frame::from_raw(raw, None) };
        assert_eq!(frame.len(), 10);
        drop(frame);
        assert_eq!(drops.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn inline_bytes_do_not_move() {
        let frame = Frame::from_owner([9u8; 4]);
        let moved = frame;
        assert_eq!(moved.as_slice(), [9; 4]);
    }
}
