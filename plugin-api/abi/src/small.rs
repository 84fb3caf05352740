//! Small frames in chunks that they share, so that a copy costs no allocation.
//!
//! Each thread fills a chunk of its own, frame behind frame, and fills it again when its frames are gone. They are read and released
//! on any thread. A chunk is small itself, because a frame that is held for long pins all of it.
#![allow(unsafe_code)]

use std::{
    cell::{RefCell, UnsafeCell},
    collections::VecDeque,
    ffi::c_void,
    mem::MaybeUninit,
    ptr::NonNull,
    sync::atomic::{AtomicUsize, Ordering, fence},
};

use crate::frame::RawFrame;

/// Bytes of a chunk.
const CHUNK: usize = 8 << 10;
/// Longer ones are worth a buffer of their own.
const LONGEST: usize = CHUNK / 4;
/// Full chunks that a thread keeps an eye on, to fill them again: as much as is usually on its way.
const KEPT: usize = 64;

/// A copy of `bytes` in this thread's chunk; none if it is too long, or the thread is about to end.
pub(crate) fn copy(bytes: &[u8]) -> Option<RawFrame> {
    if bytes.is_empty() || bytes.len() > LONGEST {
        return None;
    }
    thread_local!(static FILLER: RefCell<Filler> = RefCell::new(Filler::new()));
    FILLER.try_with(|filler| filler.borrow_mut().copy(bytes)).ok()
}

struct Chunk {
    /// Who needs it: each frame in it, and the thread that fills it or may do so again. While it is filled it has all frames that it could hold, so
    /// that giving one out counts nothing.
    holds: AtomicUsize,
    bytes: UnsafeCell<[MaybeUninit<u8>; CHUNK]>,
}

/// No frame is empty, so there are no more.
const MOST_HOLDS: usize = CHUNK + 1;

impl Chunk {
    fn new() -> NonNull<Self> {
        let bytes = UnsafeCell::new([MaybeUninit::uninit(); CHUNK]);
        NonNull::from(Box::leak(Box::new(Self { holds: AtomicUsize::new(MOST_HOLDS), bytes })))
    }
}

struct Filler {
    /// Invariant: it has [`MOST_HOLDS`], less those of its frames that were released.
    chunk: NonNull<Chunk>,
    /// Bytes of it that belong to frames; the others are this thread's alone.
    used: usize,
    /// Frames in it.
    given: usize,
    /// Earlier ones, oldest first. Invariant: this thread has one hold of each.
    full: VecDeque<NonNull<Chunk>>,
}

impl Filler {
    fn new() -> Self {
        Self { chunk: Chunk::new(), used: 0, given: 0, full: VecDeque::with_capacity(KEPT) }
    }

    fn copy(&mut self, bytes: &[u8]) -> RawFrame {
        if CHUNK - self.used < bytes.len() {
            self.next_chunk();
        }
        // SAFETY: this thread has holds, so the chunk is there. Only the field's address is taken.
        let start = unsafe { &raw const (*self.chunk.as_ptr()).bytes };
        // SAFETY: `used + bytes.len()` is within the chunk: looked at above.
        let place = unsafe { UnsafeCell::raw_get(start).cast::<u8>().add(self.used) };
        // SAFETY: from `used` on nobody else reads or writes, and `bytes` is none of it: it would belong to a frame.
        unsafe { place.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        self.used += bytes.len();
        self.given += 1;
        RawFrame { data: place, len: bytes.len(), owner: self.chunk.as_ptr().cast(), release: Some(release) }
    }

    /// Puts the chunk away, and takes an earlier one of which no frame is left, or a new one.
    fn next_chunk(&mut self) {
        let full = self.put_away();
        self.full.push_back(full);
        let oldest = self.full.front().copied().expect("one was pushed a line up");
        // SAFETY: this thread has a hold, so the chunk is there.
        let holds = unsafe { &(*oldest.as_ptr()).holds };
        // PAIR holds: with the Release of whoever released its last frame: his reads come before our writes.
        self.chunk = if holds.load(Ordering::Acquire) == 1 {
            // Relaxed: nobody else has it.
            holds.store(MOST_HOLDS, Ordering::Relaxed);
            self.full.pop_front();
            oldest
        } else {
            if self.full.len() == KEPT {
                self.full.pop_front();
                // SAFETY: the one hold of what is in `full`, which it has just left.
                unsafe { let_go(oldest, 1) };
            }
            Chunk::new()
        };
        (self.used, self.given) = (0, 0);
    }

    /// The chunk, with this thread's one hold and those of its frames.
    fn put_away(&mut self) -> NonNull<Chunk> {
        // SAFETY: so many holds were never given out, and one is left to this thread.
        unsafe { let_go(self.chunk, MOST_HOLDS - 1 - self.given) };
        self.chunk
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        let last = self.put_away();
        for chunk in self.full.drain(..).chain([last]) {
            // SAFETY: this thread's one hold, which nobody uses after this.
            unsafe { let_go(chunk, 1) };
        }
    }
}

/// Gives holds back; frees the chunk with the last.
///
/// # Safety
/// - The caller owns so many holds, and forgets them.
unsafe fn let_go(chunk: NonNull<Chunk>, holds: usize) {
    // SAFETY: it is there for as long as somebody has a hold.
    let count = unsafe { &(*chunk.as_ptr()).holds };
    // PAIR holds: what this thread has read or written of the chunk comes before it is freed or filled again.
    if count.fetch_sub(holds, Ordering::Release) == holds {
        fence(Ordering::Acquire);
        // SAFETY: made by `Chunk::new`, and these were the last holds.
        drop(unsafe { Box::from_raw(chunk.as_ptr()) });
    }
}

/// [any thread] Gives back one frame.
///
/// # Safety
/// - `owner` is that of a frame made here, which is used no more.
unsafe extern "C" fn release(owner: *mut c_void) {
    // SAFETY: frames are made with the address of their chunk.
    let chunk = unsafe { NonNull::new_unchecked(owner.cast::<Chunk>()) };
    // SAFETY: the frame's one hold.
    unsafe { let_go(chunk, 1) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Frame;

    fn frame(filler: &mut Filler, number: u8, len: usize) -> Frame {
        // SAFETY: it was just made, and nobody else has it.
        unsafe { Frame::from_raw(filler.copy(&vec![number; len]), None) }
    }

    #[test]
    fn frames_keep_their_bytes_whoever_holds_them_for_how_long() {
        let mut filler = Filler::new();
        let mut held = VecDeque::new();
        for number in 0..2000_usize {
            held.push_back((number as u8, frame(&mut filler, number as u8, 1 + number * 7 % LONGEST)));
            // From none to more than all chunks that are kept, and back.
            while held.len() > number % 1000 {
                let (number, frame) = held.pop_front().unwrap();
                assert!(frame.as_slice().iter().all(|byte| *byte == number));
            }
        }
        // The thread that filled them may be gone.
        drop(filler);
        std::thread::spawn(move || {
            assert!(held.iter().all(|(number, frame)| frame.as_slice().iter().all(|byte| byte == number)));
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_chunk_is_filled_again_when_its_frames_are_gone() {
        let mut filler = Filler::new();
        let first = frame(&mut filler, 1, LONGEST);
        let chunk = first.owner();
        let others: Vec<_> = (0..3).map(|_| frame(&mut filler, 2, LONGEST)).collect();
        assert!(others.iter().all(|frame| frame.owner() == chunk));
        drop(others);
        assert_ne!(frame(&mut filler, 3, LONGEST).owner(), chunk, "one of its frames is held");
        drop(first);
        let owners: Vec<_> = (0..4).map(|_| frame(&mut filler, 4, LONGEST).owner()).collect();
        assert_eq!(owners[3], chunk);
        assert_eq!(filler.full.len(), 1);
    }

    #[test]
    fn what_is_long_or_empty_has_no_place_here() {
        assert!(copy(b"").is_none());
        assert!(copy(&[0; LONGEST + 1]).is_none());
        for len in [1, LONGEST] {
            // SAFETY: as above.
            let frame = unsafe { Frame::from_raw(copy(&vec![7; len]).unwrap(), None) };
            assert_eq!(frame.as_slice(), vec![7; len]);
        }
    }
}
