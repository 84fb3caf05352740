//! The memory that a host and a child share: frames, which the child writes and the host reads, and a board, on which the
//! host says what it has taken and released.
//!
//! The host never reads the board, and no index, length or flag of the shared memory: places of frames come in messages,
//! and are checked here. What a child can change is the content of a frame, also while it is sent.
//!
//! The memory has its final size at once and is sealed, so no access can be behind its end; pages are reserved as it
//! grows, so that a lack of memory is an error of the host's call and not of a later access.
#![allow(unsafe_code)]

use std::{
    fs::File,
    io::{self, IoSliceMut, Read as _, Write as _},
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    slice,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use framegate_plugin_abi::frame::{Frame, Ledger};
use memmap2::{MmapOptions, MmapRaw};
use nix::{
    cmsg_space,
    fcntl::{FallocateFlags, FcntlArg, OFlag, SealFlag, fallocate, fcntl},
    sys::{
        memfd::{MFdFlags, memfd_create},
        socket::{ControlMessageOwned, MsgFlags, recvmsg},
    },
    unistd::pipe2,
};

use crate::wire::{BLOCK, WireFrame};

/// Where the counts of releases begin on the board.
const RELEASES: usize = 64;
/// Bytes that wake a child.
const WAKE: usize = 8;

/// The host's side.
#[derive(Debug)]
pub struct Arena {
    memory: MmapRaw,
    file: File,
    board: Board,
    board_file: File,
    /// Blocks that frames may be in.
    usable: AtomicU32,
    most: u32,
    /// Bytes of frames taken, and the number of releases: the same as on the board, which anybody may overwrite.
    taken: AtomicU64,
    released: AtomicU32,
    /// The child waits for room.
    waiting: AtomicBool,
    /// A pipe and not an eventfd: a child can set the flags of what it has, and an eventfd that it fills and makes blocking
    /// would stop this side.
    room: File,
    /// The child's end of `room`.
    room_end: OwnedFd,
}

/// The child's side.
#[derive(Debug)]
pub struct Memory {
    memory: MmapRaw,
    board: Board,
    room: File,
}

/// The board, as both sides have it.
#[derive(Debug)]
struct Board(MmapRaw);

impl Arena {
    /// Creates memory for at most `most` blocks. The child can use the first `first` blocks at once.
    ///
    /// # Errors
    /// The machine has not so much memory, or refuses it.
    pub fn new(first: u32, most: u32) -> io::Result<Self> {
        let file = sealed(u64::from(most) * BLOCK as u64)?;
        let board_bytes = RELEASES + 4 * most as usize;
        let board_file = sealed(board_bytes as u64)?;
        fallocate(&board_file, FallocateFlags::empty(), 0, board_bytes as i64)?;
        let (room_end, room) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let arena = Self {
            memory: MmapOptions::new().map_raw_read_only(&file)?,
            board: Board(MmapOptions::new().map_raw(&board_file)?),
            file,
            board_file,
            usable: AtomicU32::new(0),
            most,
            taken: AtomicU64::new(0),
            released: AtomicU32::new(0),
            waiting: AtomicBool::new(false),
            room: File::from(room),
            room_end,
        };
        arena.grow(first)?;
        Ok(arena)
    }

    /// The descriptors for the child: memory, board, end of a pipe.
    #[must_use]
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 3] {
        [self.file.as_fd(), self.board_file.as_fd(), self.room_end.as_fd()]
    }

    /// Makes this many blocks usable in all, or the most that there can be; returns how many there are.
    ///
    /// # Errors
    /// The machine has not so much memory.
    pub fn grow(&self, blocks: u32) -> io::Result<u32> {
        let (now, then) = (self.usable(), blocks.min(self.most));
        if then > now {
            let (from, to) = (i64::from(now) * BLOCK as i64, i64::from(then) * BLOCK as i64);
            fallocate(&self.file, FallocateFlags::empty(), from, to - from)?;
            self.usable.store(then, Ordering::Relaxed); // one thread grows and checks
        }
        Ok(now.max(then))
    }

    /// Number of blocks that can be used.
    #[must_use]
    pub fn usable(&self) -> u32 {
        self.usable.load(Ordering::Relaxed) // see `grow`
    }

    /// Number of blocks that there can be.
    #[must_use]
    pub fn most(&self) -> u32 {
        self.most
    }

    /// Checks the place of a frame.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, frame: WireFrame) -> Result<(), String> {
        let end = u64::from(frame.block) * BLOCK as u64 + u64::from(frame.offset) + u64::from(frame.len);
        if frame.block < self.usable() && frame.offset < BLOCK as u32 && end <= u64::from(self.usable()) * BLOCK as u64
        {
            return Ok(());
        }
        let WireFrame { block, offset, len } = frame;
        Err(format!("a frame of {len} bytes at byte {offset} of block {block}, of {} blocks", self.usable()))
    }

    /// A copy of a frame's bytes. The caller releases its block.
    ///
    /// # Panics
    /// If its place was not checked.
    #[must_use]
    pub fn copy(&self, frame: WireFrame) -> Frame {
        Frame::copy(self.bytes(frame))
    }

    /// The frame, where it is. Dropping it releases it, and counts it in the ledger.
    ///
    /// # Panics
    /// If its place was not checked.
    #[must_use]
    pub fn lend(self: &Arc<Self>, frame: WireFrame, ledger: &'static Ledger) -> Frame {
        self.check(frame).expect("the place of a frame is checked");
        Frame::from_owner(Lent { arena: self.clone(), frame, ledger })
    }

    fn bytes(&self, frame: WireFrame) -> &[u8] {
        self.check(frame).expect("the place of a frame is checked");
        let start = frame.block as usize * BLOCK + frame.offset as usize;
        // SAFETY: within the mapping, which has `most` blocks, since `check` has passed.
        let data = unsafe { self.memory.as_ptr().add(start) };
        // SAFETY: the mapping is readable as long as `self` lives, and sealed against shrinking. A child that keeps the
        // rules does not change these bytes until their release; if another one does, only what is read differs: nothing
        // here depends on their values.
        unsafe { slice::from_raw_parts(data, frame.len as usize) }
    }

    /// So many frames that begin in a block are not used any more. [any thread]
    pub fn release(&self, block: u32, frames: u32) {
        self.board.release(block, frames);
        // PAIR room: with `wait_for`: either this sees that the child waits, or that sees this release.
        self.released.fetch_add(frames, Ordering::SeqCst);
        self.wake();
    }

    /// So many bytes of frames were taken out of messages.
    pub fn take(&self, bytes: u64) {
        // PAIR room: see `release`.
        let taken = self.taken.fetch_add(bytes, Ordering::SeqCst) + bytes;
        self.board.set_taken(taken);
        self.wake();
    }

    /// The child waits for room, and has seen so many bytes taken and frames released. Returns whether this is all.
    pub fn wait_for(&self, taken: u64, released: u32) -> bool {
        self.waiting.store(true, Ordering::SeqCst); // PAIR room: see `release`
        let is_all = self.taken.load(Ordering::SeqCst) == taken && self.released.load(Ordering::SeqCst) == released;
        if !is_all {
            self.wake();
        }
        is_all
    }

    /// Number of frames that were released, modulo 2³².
    #[must_use]
    pub fn released(&self) -> u32 {
        self.released.load(Ordering::Relaxed) // a later look sees a later number
    }

    fn wake(&self) {
        // PAIR room: see `release`.
        if self.waiting.load(Ordering::SeqCst) && self.waiting.swap(false, Ordering::SeqCst) {
            // It fails only if the pipe is full, which is readable then.
            let _ = (&self.room).write(&[1; WAKE]);
        }
    }
}

/// The owner of a frame in the arena.
#[derive(Debug)]
struct Lent {
    arena: Arc<Arena>,
    frame: WireFrame,
    ledger: &'static Ledger,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.arena.bytes(self.frame)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.arena.release(self.frame.block, 1);
        self.ledger.add_released(1);
    }
}

impl Memory {
    /// Maps what a host has sent: memory of this many blocks, its board, and its pipe.
    ///
    /// # Errors
    /// The descriptors are no such thing.
    pub fn new([memory, board, room]: [OwnedFd; 3], blocks: u32) -> io::Result<Self> {
        let large = |file: &File, bytes: u64| match file.metadata()?.len() {
            len if len >= bytes => Ok(()),
            len => Err(io::Error::other(format!("shared memory of {len} bytes instead of {bytes}"))),
        };
        let (memory, board) = (File::from(memory), File::from(board));
        large(&memory, u64::from(blocks) * BLOCK as u64)?;
        large(&board, RELEASES as u64 + 4 * u64::from(blocks))?;
        Ok(Self {
            memory: MmapOptions::new().map_raw(&memory)?,
            board: Board(MmapOptions::new().map_raw(&board)?),
            room: File::from(room),
        })
    }

    /// Copies bytes to a place.
    ///
    /// # Panics
    /// If the place is not in the memory.
    pub fn write(&self, frame: WireFrame, bytes: &[u8]) {
        let start = frame.block as usize * BLOCK + frame.offset as usize;
        assert!(bytes.len() == frame.len as usize && start + bytes.len() <= self.memory.len(), "a place in the memory");
        // SAFETY: within the mapping, as asserted.
        let to = unsafe { self.memory.as_mut_ptr().add(start) };
        // SAFETY: as above; `bytes` cannot be in the same place, because nobody has a reference into the mapping.
        unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) }
    }

    /// Bytes of frames that the host has taken.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.board.taken()
    }

    /// Number of frames of a block that were released, modulo 2³².
    ///
    /// # Panics
    /// If there is no such block.
    #[must_use]
    pub fn released(&self, block: u32) -> u32 {
        self.board.count(block).load(Ordering::Acquire)
    }

    /// Readable when there is room.
    #[must_use]
    pub fn room(&self) -> BorrowedFd<'_> {
        self.room.as_fd()
    }

    /// Makes [`Memory::room`] unreadable until there is room again.
    pub fn clear_room(&self) {
        let _ = (&self.room).read(&mut [0; 64 * WAKE]);
    }
}

impl Board {
    fn count(&self, block: u32) -> &AtomicU32 {
        let at = RELEASES + 4 * block as usize;
        assert!(at + 4 <= self.0.len(), "a block on the board");
        // SAFETY: within the mapping, as asserted.
        let place = unsafe { self.0.as_mut_ptr().add(at) }.cast::<u32>();
        // SAFETY: aligned, because mappings begin with a page; mapped as long as `self` lives; both processes access it
        // by atomic operations only.
        unsafe { AtomicU32::from_ptr(place) }
    }

    fn first(&self) -> &AtomicU64 {
        assert!(self.0.len() >= 8, "a board");
        // SAFETY: as in `count`.
        unsafe { AtomicU64::from_ptr(self.0.as_mut_ptr().cast()) }
    }

    fn release(&self, block: u32, frames: u32) {
        // Release: the child that sees it may overwrite the bytes, which were read before. The answer is not used.
        self.count(block).fetch_add(frames, Ordering::Release);
    }

    fn set_taken(&self, bytes: u64) {
        self.first().store(bytes, Ordering::Release);
    }

    fn taken(&self) -> u64 {
        self.first().load(Ordering::Acquire)
    }
}

/// Receives a host's first message, and the descriptors that come with it. Waits for it.
///
/// # Errors
/// There is no host, or it sends none.
pub fn receive(socket: &UnixStream) -> io::Result<(Vec<u8>, [OwnedFd; 3])> {
    let mut bytes = vec![0; 4096];
    let mut room = cmsg_space!([RawFd; 3]);
    let mut pieces = [IoSliceMut::new(&mut bytes)];
    let received = recvmsg::<()>(socket.as_raw_fd(), &mut pieces, Some(&mut room), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let len = received.bytes;
    let descriptors = received.cmsgs()?.find_map(|part| match part {
        ControlMessageOwned::ScmRights(descriptors) => <[RawFd; 3]>::try_from(descriptors).ok(),
        _ => None,
    });
    let descriptors = descriptors.ok_or_else(|| io::Error::other("the host sent no shared memory"))?;
    bytes.truncate(len);
    // SAFETY: the kernel has just opened them for this process, and nobody else knows them.
    Ok((bytes, descriptors.map(|descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) })))
}

/// Memory in a file without a name, whose size is final.
fn sealed(bytes: u64) -> io::Result<File> {
    let file = File::from(memfd_create(c"framegate", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
    file.set_len(bytes)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL))?;
    Ok(file)
}
