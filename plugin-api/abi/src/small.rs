//! Small frames, and small owners of large frames, in shared chunks, so that they cost no allocation.
//!
//! Each thread fills its own chunk, entry after entry. Any thread may read and release an entry; when the last entry is
//! released, the chunk returns to its thread, which fills it again. Chunks are small, because a frame that is held for
//! long pins its whole chunk.
#![allow(unsafe_code)]

use std::{
    cell::{RefCell, UnsafeCell},
    ffi::c_void,
    mem::MaybeUninit,
    ptr::{self, NonNull},
    sync::{
        atomic::{AtomicUsize, Ordering, fence},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

use crate::{catch, raw::RawFrame};

/// Size of a chunk in bytes.
const CHUNK: usize = 8 << 10;
/// Maximum size of an entry; longer ones get their own buffer.
const LONGEST: usize = CHUNK / 4;
/// Maximum number of empty chunks that wait to be filled again; further ones are freed. Usually no more return at once.
const MOST_EMPTY: usize = 128;

/// Copies `bytes` into this thread's chunk; `None` if they are too long, or the thread is about to end.
pub(crate) fn copy(bytes: &[u8]) -> Option<RawFrame> {
    if bytes.is_empty() || bytes.len() > LONGEST {
        return None;
    }
    FILLER.try_with(|filler| filler.borrow_mut().copy(bytes)).ok()
}

/// Moves `owner` into this thread's chunk and returns its bytes. Returns `owner` if it does not fit, or the thread is
/// about to end.
pub(crate) fn keep<O: AsRef<[u8]> + Send + 'static>(owner: O) -> Result<RawFrame, O> {
    if size_of::<Placed<O>>() > LONGEST || align_of::<Placed<O>>() > align_of::<Chunk>() {
        return Err(owner);
    }
    let mut owner = Some(owner);
    let placed = FILLER.try_with(|filler| filler.borrow_mut().place(owner.take().expect("it is taken once")));
    let Ok(placed) = placed else { return Err(owner.expect("nobody has taken it")) };
    // SAFETY: it was just placed, and stays there until its release, which the frame's holder controls. The filler is
    // not borrowed any more, because `as_ref` is foreign code, which may create frames.
    let bytes = unsafe { (*placed.as_ptr()).owner.as_ref() };
    Ok(RawFrame {
        data: bytes.as_ptr(),
        len: bytes.len(),
        owner: placed.as_ptr().cast(),
        release: Some(release_owner::<O>),
    })
}

thread_local!(static FILLER: RefCell<Filler> = RefCell::new(Filler::new()));

/// An owner in a chunk.
struct Placed<O> {
    chunk: NonNull<Chunk>,
    owner: O,
}

/// In the order of C, because an owner in `bytes` must be aligned relative to the chunk.
#[repr(C)]
struct Chunk {
    /// Number of users: the frames in it, and the thread that fills it. While the thread fills it, the count includes
    /// all frames that the chunk could hold, so that adding a frame changes no count.
    holds: AtomicUsize,
    /// Returns the chunk to the thread that fills it.
    home: SyncSender<Box<Chunk>>,
    bytes: UnsafeCell<[MaybeUninit<u8>; CHUNK]>,
}

/// An owner's offset in `bytes` is a multiple of its alignment, which is at most the chunk's alignment: so `bytes` must
/// have the chunk's alignment too, on every target.
const _: () = assert!(std::mem::offset_of!(Chunk, bytes).is_multiple_of(align_of::<Chunk>()));

/// The maximum number of users: the frames (none is empty), and the thread that fills the chunk.
const MOST_HOLDS: usize = CHUNK + 1;

struct Filler {
    /// Invariant: this thread has [`MOST_HOLDS`] holds, minus the frames that were given out.
    chunk: NonNull<Chunk>,
    /// Bytes that belong to frames; the other bytes belong to this thread alone.
    used: usize,
    /// Number of frames in the chunk.
    given: usize,
    /// Receives chunks whose frames were all released.
    returned: Receiver<Box<Chunk>>,
    /// Empty chunks that were received there. The last one is used first: it is the most likely to be in the
    /// processor's cache.
    empty: Vec<Box<Chunk>>,
}

impl Filler {
    fn new() -> Self {
        let (home, returned) = sync_channel(MOST_EMPTY);
        Self { chunk: Self::first(home), used: 0, given: 0, returned, empty: Vec::new() }
    }

    /// Creates a new chunk.
    fn first(home: SyncSender<Box<Chunk>>) -> NonNull<Chunk> {
        let bytes = UnsafeCell::new([MaybeUninit::uninit(); CHUNK]);
        NonNull::from(Box::leak(Box::new(Chunk { holds: AtomicUsize::new(MOST_HOLDS), home, bytes })))
    }

    fn copy(&mut self, bytes: &[u8]) -> RawFrame {
        let place = self.room(bytes.len(), 1);
        // SAFETY: the room belongs to this frame alone, and does not overlap `bytes`, which belong to somebody else.
        unsafe { place.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        RawFrame { data: place, len: bytes.len(), owner: self.chunk.as_ptr().cast(), release: Some(release) }
    }

    /// `O` must not be longer than [`LONGEST`], nor have a larger alignment than a chunk.
    fn place<O>(&mut self, owner: O) -> NonNull<Placed<O>> {
        let place = self.room(size_of::<Placed<O>>(), align_of::<Placed<O>>()).cast::<Placed<O>>();
        // SAFETY: the room belongs to this owner alone, is long enough, and is aligned.
        unsafe { place.write(Placed { chunk: self.chunk, owner }) };
        // SAFETY: within a chunk, so not null.
        unsafe { NonNull::new_unchecked(place) }
    }

    /// Reserves room in the chunk, with one hold.
    fn room(&mut self, len: usize, align: usize) -> *mut u8 {
        self.used = self.used.next_multiple_of(align);
        if self.used + len > CHUNK {
            self.next_chunk();
        }
        // SAFETY: this thread has holds, so the chunk exists. Only the field's address is taken.
        let start = unsafe { &raw const (*self.chunk.as_ptr()).bytes };
        // SAFETY: `used + len` is within the chunk, as checked above. Nobody else reads or writes from `used` on.
        let place = unsafe { UnsafeCell::raw_get(start).cast::<u8>().add(self.used) };
        self.used += len;
        self.given += 1;
        place
    }

    /// Gives up the chunk to its frames, and takes an empty one.
    fn next_chunk(&mut self) {
        if self.empty.is_empty() {
            self.empty.extend(self.returned.try_iter());
        }
        let next = match self.empty.pop() {
            Some(chunk) => {
                // Relaxed: nobody else has it.
                chunk.holds.store(MOST_HOLDS, Ordering::Relaxed);
                NonNull::from(Box::leak(chunk))
            }
            None => {
                // SAFETY: this thread has holds, so the chunk exists.
                let home = unsafe { &(*self.chunk.as_ptr()).home };
                Self::first(home.clone())
            }
        };
        self.leave();
        (self.chunk, self.used, self.given) = (next, 0, 0);
    }

    /// Gives up the chunk to its frames.
    fn leave(&mut self) {
        // SAFETY: these holds were never given out, including this thread's own, and the thread uses the chunk no more.
        unsafe { let_go(self.chunk, MOST_HOLDS - self.given) };
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Releases holds; the last one returns the chunk to its thread.
///
/// # Safety
/// - The caller owns this many holds, and uses them no more.
unsafe fn let_go(chunk: NonNull<Chunk>, holds: usize) {
    // SAFETY: the chunk exists as long as anybody has a hold.
    let count = unsafe { &(*chunk.as_ptr()).holds };
    // PAIR holds: this thread's reads and writes of the chunk happen before it is freed or filled again.
    if count.fetch_sub(holds, Ordering::Release) == holds {
        fence(Ordering::Acquire);
        // SAFETY: its thread leaked it from a box, and these were the last holds.
        let chunk = unsafe { Box::from_raw(chunk.as_ptr()) };
        let home = chunk.home.clone();
        // If the channel is full, or the thread is gone, the error returns the chunk, and it is freed.
        let _ = home.try_send(chunk);
    }
}

/// [any thread] Releases one frame.
///
/// # Safety
/// - `owner` belongs to a frame that was created here and is not used again.
unsafe extern "C" fn release(owner: *mut c_void) {
    // SAFETY: each frame's owner is the address of its chunk.
    let chunk = unsafe { NonNull::new_unchecked(owner.cast::<Chunk>()) };
    // SAFETY: the frame's one hold.
    unsafe { let_go(chunk, 1) };
}

/// [any thread] Drops an owner, and releases its place. A panic of its drop is caught here and does not reach the host.
///
/// # Safety
/// - `owner` belongs to a frame that [`keep`] created from an `O`, and that is not used again.
unsafe extern "C" fn release_owner<O>(owner: *mut c_void) {
    let placed = owner.cast::<Placed<O>>();
    // SAFETY: the frame's hold keeps it where `keep` placed it.
    let Placed { chunk, owner } = unsafe { &mut *placed };
    let chunk = *chunk;
    // SAFETY: nobody uses it any more, and it is dropped only here.
    catch::quietly(|| unsafe { ptr::drop_in_place(owner) });
    // SAFETY: the frame's one hold.
    unsafe { let_go(chunk, 1) };
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeSet, VecDeque},
        sync::Arc,
    };

    use super::*;
    use crate::frame::Frame;

    fn frame(filler: &mut Filler, number: u8, len: usize) -> Frame {
        // SAFETY: just created, and nobody else has it.
        unsafe { Frame::from_raw(filler.copy(&vec![number; len]), None) }
    }

    #[test]
    fn frames_keep_their_bytes_whoever_holds_them_for_how_long() {
        let mut filler = Filler::new();
        let mut held = VecDeque::new();
        // Slices are compared as a whole, because comparing single bytes is too slow under Miri.
        let is_whole = |(number, frame): &(u8, Frame)| frame.as_slice() == vec![*number; frame.len()];
        for number in 0..2000_usize {
            held.push_back((number as u8, frame(&mut filler, number as u8, 1 + number * 7 % LONGEST)));
            // The number of held frames grows from none to many, and shrinks again.
            while held.len() > number % 1000 {
                assert!(is_whole(&held.pop_front().unwrap()));
            }
        }
        // The frames may outlive the thread that filled them.
        drop(filler);
        std::thread::spawn(move || assert!(held.iter().all(is_whole))).join().unwrap();
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
    }

    #[test]
    fn as_many_chunks_are_used_again_as_are_on_their_way_and_few_are_kept_empty() {
        let mut filler = Filler::new();
        let mut held: VecDeque<_> = (0..4 * 500).map(|_| frame(&mut filler, 1, LONGEST)).collect();
        let owners = |held: &VecDeque<Frame>| BTreeSet::from_iter(held.iter().map(Frame::owner));
        let chunks = owners(&held);
        for _ in 0..1000 {
            held.drain(..4);
            held.extend((0..4).map(|_| frame(&mut filler, 2, LONGEST)));
        }
        assert!(owners(&held) == chunks && chunks.len() == 500);
        held.clear();
        assert_eq!(filler.returned.try_iter().count(), MOST_EMPTY);
        assert!(filler.empty.len() <= MOST_EMPTY);
    }

    #[test]
    fn one_that_is_held_for_long_does_not_keep_the_others_from_being_filled() {
        let mut filler = Filler::new();
        let held = frame(&mut filler, 1, LONGEST);
        let owners = BTreeSet::from_iter((0..4 * 1000).map(|_| frame(&mut filler, 1, LONGEST).owner()));
        assert!(owners.len() <= 3 && owners.contains(&held.owner()));
    }

    #[test]
    fn an_owner_is_aligned_and_dropped_once_whatever_lies_around_it() {
        #[repr(align(8))]
        struct Owner(Arc<AtomicUsize>, [u8; 5]);
        impl AsRef<[u8]> for Owner {
            fn as_ref(&self) -> &[u8] {
                &self.1
            }
        }
        impl Drop for Owner {
            fn drop(&mut self) {
                assert!(ptr::from_ref(self).is_aligned());
                if self.0.fetch_add(1, Ordering::SeqCst) == 0 {
                    panic!("for this test");
                }
            }
        }
        let drops = Arc::new(AtomicUsize::new(0));
        let frames: Vec<_> = (0..2000)
            .map(|number| {
                let small = Frame::copy(&vec![1; 1 + number % 13]);
                (small, Frame::from_owner(Owner(drops.clone(), [number as u8; 5])))
            })
            .collect();
        std::thread::spawn(move || {
            for (number, (small, large)) in frames.into_iter().enumerate() {
                assert_eq!((small.len(), large.as_slice()), (1 + number % 13, &[number as u8; 5][..]));
            }
        })
        .join()
        .unwrap();
        assert_eq!(drops.load(Ordering::SeqCst), 2000);
        assert_eq!(Arc::strong_count(&drops), 1);
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
