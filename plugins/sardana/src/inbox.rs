//! Between the server and the run: what was posted and not yet read.
//!
//! The server's tasks put in, the reader thread takes out. Bounded in bytes: who posts to a full inbox is answered when there is room. It
//! is open while a scan is active; what comes otherwise is counted and dropped. The lock is held for moves only, never over a wait.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::messages::Packet;

/// What was posted and not yet read.
#[derive(Debug)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    /// Rung for each packet and each refusal; keeps one ring for a reader that is not waiting.
    arrived: Notify,
    /// A permit for each [`UNIT`] of the limit; a packet holds its own until it is read or dropped.
    room: Arc<Semaphore>,
    /// All permits there are: a packet larger than the limit passes alone.
    capacity: u32,
}

#[derive(Debug, Default)]
struct State {
    /// Goes up with each scan, so that a post that waited for room does not get into the next.
    scan: u64,
    open: bool,
    queue: VecDeque<(Packet, OwnedSemaphorePermit)>,
    /// Posts that came while no scan was active, since the last scan was opened.
    early: u64,
    /// Posts that did not validate and were not told yet, and why the last did not.
    refused: (u64, String),
}

impl Inbox {
    /// Empty and closed; holds at most `limit` bytes.
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

    /// A scan begins; the number of posts that came while none was active.
    pub(crate) fn open(&self) -> u64 {
        let mut state = self.lock();
        state.scan += 1;
        state.open = true;
        state.queue.clear();
        std::mem::take(&mut state.early)
    }

    /// The scan is over; what was not read is dropped, and who waits for room is answered.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.open = false;
        state.early += state.queue.len() as u64;
        state.queue.clear();
    }

    /// Puts a packet in, waiting for room.
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

    /// A post did not validate.
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

    /// Bytes that were posted and not yet read.
    pub(crate) fn bytes(&self) -> u64 {
        self.lock().queue.iter().map(|(packet, _)| packet.json.len() as u64).sum()
    }

    /// How many posts did not validate since the last time, and why the last did not.
    pub(crate) fn take_refused(&self) -> (u64, String) {
        std::mem::take(&mut self.lock().refused)
    }

    /// Returns when something has arrived since the last time.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// The scan that a post belongs to; counts it if there is none.
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
        // Nothing that can panic runs under it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes for a permit: limits beyond the semaphore's counter stay possible, and a small packet counts for what it costs.
const UNIT: u64 = 256;
