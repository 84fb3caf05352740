//! Memory for parts: buffers that are used again when the last worker has received a frame.
//!
//! A frame is dropped on any thread. Allocation can fail, and then fails alone: the part is skipped.

use std::{
    collections::TryReserveError,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use framegate_plugin_api::Frame;

/// Buffers that are free, of all sizes, up to a limit in bytes.
#[derive(Debug)]
pub(crate) struct Pool {
    free: Mutex<Free>,
    limit: usize,
}

#[derive(Debug, Default)]
struct Free {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

/// Memory for one part, which is filled from its beginning.
#[derive(Debug)]
pub(crate) struct Buffer {
    /// Its capacity is enough for the part; what is written to is initialised in steps, so that a part that was only
    /// announced costs no memory.
    bytes: Vec<u8>,
    filled: usize,
    length: usize,
    pool: Arc<Pool>,
}

/// Smaller parts have a size of their own. Larger ones are rounded up, by an eighth at most, so that frames of changing
/// sizes use the same buffers.
const STEP: usize = 4096;
/// Bytes to initialise at once: at first little, because nothing but the announcement may come; then as many as there are
/// already, up to the second of these.
const AT_FIRST: usize = 64 << 10;
const AT_ONCE: usize = 1 << 20;
/// Free buffers to look at for one of the right size: those that came back last.
const LOOK: usize = 8;

impl Pool {
    /// Keeps at most this many bytes for the next parts.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { free: Mutex::default(), limit })
    }

    /// A buffer for a part of this length.
    ///
    /// # Errors
    /// There is no memory.
    pub(crate) fn buffer(self: &Arc<Self>, length: usize) -> Result<Buffer, TryReserveError> {
        let size = length.next_multiple_of((length.next_power_of_two() / 8).max(STEP));
        let bytes = match self.free().take(size) {
            Some(bytes) => bytes,
            None => {
                let mut bytes = Vec::new();
                bytes.try_reserve_exact(size)?;
                bytes
            }
        };
        Ok(Buffer { bytes, filled: 0, length, pool: self.clone() })
    }

    fn free(&self) -> MutexGuard<'_, Free> {
        // Nothing panics while it is held.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Free {
    fn take(&mut self, size: usize) -> Option<Vec<u8>> {
        let from = self.buffers.len().saturating_sub(LOOK);
        let place = self.buffers[from..].iter().rposition(|buffer| buffer.capacity() == size)?;
        let buffer = self.buffers.swap_remove(from + place);
        self.bytes -= buffer.capacity();
        Some(buffer)
    }

    /// Keeps a buffer, in place of the oldest ones if there are too many.
    fn put(&mut self, buffer: Vec<u8>, limit: usize) {
        if buffer.capacity() > limit {
            return;
        }
        self.bytes += buffer.capacity();
        self.buffers.push(buffer);
        if self.bytes > limit {
            let (mut over, mut drop) = (self.bytes - limit, 0);
            while over > 0 {
                over = over.saturating_sub(self.buffers[drop].capacity());
                drop += 1;
            }
            self.bytes -= self.buffers.drain(..drop).map(|buffer| buffer.capacity()).sum::<usize>();
        }
    }
}

impl Buffer {
    /// Bytes that are there.
    pub(crate) fn filled(&self) -> usize {
        self.filled
    }

    /// Bytes that are missing.
    pub(crate) fn missing(&self) -> usize {
        self.length - self.filled
    }

    /// Where the next bytes belong; then call [`Buffer::advance`].
    pub(crate) fn room(&mut self) -> &mut [u8] {
        let mut end = self.length.min(self.filled + AT_ONCE);
        if self.bytes.len() < end {
            end = self.length.min(self.filled + self.filled.clamp(AT_FIRST, AT_ONCE)).max(self.bytes.len());
            // Within the capacity.
            self.bytes.resize(end, 0);
        }
        &mut self.bytes[self.filled..end]
    }

    /// So many bytes were written to its room.
    pub(crate) fn advance(&mut self, bytes: usize) {
        self.filled = (self.filled + bytes).min(self.length);
    }

    /// Copies the beginning of these bytes, as many as are missing; returns their number.
    pub(crate) fn copy(&mut self, from: &[u8]) -> usize {
        let taken = from.len().min(self.missing());
        let end = self.filled + taken;
        // What was initialised for an earlier part is overwritten, the rest appended.
        let kept = self.bytes.len().min(end) - self.filled.min(self.bytes.len());
        self.bytes[self.filled..self.filled + kept].copy_from_slice(&from[..kept]);
        self.bytes.extend_from_slice(&from[kept..taken]);
        self.filled = end;
        taken
    }

    /// The filled buffer as a frame.
    pub(crate) fn into_frame(self) -> Frame {
        Frame::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.free().put(std::mem::take(&mut self.bytes), self.pool.limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_has_what_was_read_and_copied_also_when_it_was_used_before() {
        let pool = Pool::new(1 << 20);
        for round in 0..3u8 {
            let mut buffer = pool.buffer(10_000).unwrap();
            assert_eq!(buffer.copy(&[round; 100]), 100);
            let room = buffer.room();
            assert_eq!(room.len(), 9_900);
            room[..50].fill(round + 10);
            buffer.advance(50);
            assert_eq!(buffer.copy(&[round + 20; 20_000]), 9_850);
            let expected = [&[round; 100][..], &[round + 10; 50], &[round + 20; 9_850]].concat();
            assert_eq!(buffer.into_frame().as_slice(), expected);
            assert_eq!(pool.free().buffers.len(), 1, "the same one is used");
        }
    }

    #[test]
    fn what_is_kept_has_a_limit_and_the_newest_stay() {
        let pool = Pool::new(100_000);
        let buffers: Vec<_> = (1..=10).map(|size| pool.buffer(size * 4096).unwrap()).collect();
        drop(buffers);
        let free = pool.free();
        assert!(free.bytes <= 100_000 && free.buffers.last().unwrap().capacity() == 40_960, "{free:?}");
        assert_eq!(free.bytes, free.buffers.iter().map(Vec::capacity).sum::<usize>());
        drop(free);
        drop(pool.buffer(200_000).unwrap());
        assert!(pool.free().bytes <= 100_000);
    }

    #[test]
    fn what_was_only_announced_costs_no_memory_and_what_is_impossible_is_an_error() {
        let pool = Pool::new(1 << 20);
        let mut buffer = pool.buffer(1 << 30).unwrap();
        buffer.room()[0] = 1;
        assert_eq!(buffer.bytes.len(), AT_FIRST);
        assert!(pool.buffer(1 << 62).is_err());
    }
}
