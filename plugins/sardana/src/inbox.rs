//! The queue between server and run: posts that were not yet read.
//!
//! The server's tasks put packets in, the reader thread takes them out. Bounded in bytes: a client that posts to a full
//! inbox gets its answer when there is room. The inbox is open while a scan is active; posts at other times are counted
//! and dropped. The lock is held only to move packets, never while waiting.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::messages::Packet;

/// Posts that were not yet read.
#[derive(Debug)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    /// Notified for each packet and each refusal; keeps one notification for a reader that is not waiting.
    arrived: Notify,
    /// One permit for each [`UNIT`] of the limit; a packet holds its permits until it is read or dropped.
    room: Arc<Semaphore>,
    /// Total number of permits: a packet larger than the limit takes all of them.
    capacity: u32,
}

#[derive(Debug, Default)]
struct State {
    /// Incremented with each scan, so that a post that waited for room does not get into the next scan.
    scan: u64,
    open: bool,
    queue: VecDeque<(Packet, OwnedSemaphorePermit)>,
    /// Posts without an active scan since the last scan was opened.
    early: u64,
    /// Number of invalid posts that were not yet reported, and what was wrong with the last.
    refused: (u64, String),
}

impl Inbox {
    /// Creates an empty, closed inbox that holds at most `limit` bytes.
    pub(crate) fn new(limit: u64) -> Self {
        let units = limit.div_ceil(UNIT).clamp(1, Semaphore::MAX_PERMITS as u64);
        let capacity = u32::try_from(units).unwrap_or(u32::MAX);
        Self {
            state: Mutex::default(),
            arrived: Notify::new(),
            room: Arc::new(Semaphore::new(capacity as usize)),
            capacity,
        }
    }

    /// Starts a scan; returns the number of posts that arrived while no scan was active.
    pub(crate) fn open(&self) -> u64 {
        let mut state = self.lock();
        state.scan += 1;
        state.open = true;
        state.queue.clear();
        std::mem::take(&mut state.early)
    }

    /// Ends the scan: drops unread posts, and answers clients that wait for room.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.open = false;
        state.early += state.queue.len() as u64;
        state.queue.clear();
    }

    /// Adds a packet; waits for room.
    pub(crate) async fn put(&self, packet: Packet) {
        let Some(scan) = self.active_scan() else { return };
        let units = (packet.json.len() as u64).div_ceil(UNIT).clamp(1, u64::from(self.capacity));
        let units = u32::try_from(units).unwrap_or(self.capacity);
        // The semaphore is never closed.
        let Ok(room) = self.room.clone().acquire_many_owned(units).await else { return };
        let mut state = self.lock();
        if state.open && state.scan == scan {
            state.queue.push_back((packet, room));
            drop(state);
            self.arrived.notify_one();
        } else {
            state.early += 1;
        }
    }

    /// Records an invalid post.
    pub(crate) fn refuse(&self, why: String) {
        let mut state = self.lock();
        state.refused = (state.refused.0 + 1, why);
        drop(state);
        self.arrived.notify_one();
    }

    /// The next packet.
    pub(crate) fn take(&self) -> Option<Packet> {
        self.lock().queue.pop_front().map(|(packet, _room)| packet)
    }

    /// Bytes of unread posts.
    pub(crate) fn bytes(&self) -> u64 {
        self.lock().queue.iter().map(|(packet, _)| packet.json.len() as u64).sum()
    }

    /// Number of invalid posts since the last call, and what was wrong with the last.
    pub(crate) fn take_refused(&self) -> (u64, String) {
        std::mem::take(&mut self.lock().refused)
    }

    /// Returns when something has arrived since the last call.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// The active scan, for a new post; without one, counts the post as early.
    fn active_scan(&self) -> Option<u64> {
        let mut state = self.lock();
        if state.open {
            Some(state.scan)
        } else {
            state.early += 1;
            None
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under the lock can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes per permit: allows limits beyond the semaphore's maximum, and makes a small packet count for its real cost.
const UNIT: u64 = 256;
