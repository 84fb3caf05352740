//! The events of one stream in one scan, between the reader and the forwarder.
//!
//! Filled by the reader, emptied by the forwarder. Each scan has its own queue: events of an old run are
//! put into a queue that nobody empties any more. Bounded by bytes with an [`Account`], which also grants an event
//! above the limit when the forwarder has no other event of the stream.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, PoisonError},
    time::Duration,
};

use crate::event::Event;
use framegate_plugin_api::EventKind;

use crate::{
    batch::{Batch, Remainder, cost},
    budget::Account,
    settings::WhenFull,
    source::RunStatus,
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    turns::Bell,
};

/// The messages of a reader about its stream, in order.
#[derive(Debug)]
pub(crate) enum Item {
    /// The run is open: everything that the detector sends from now on is received.
    Opened,
    /// The events of one call.
    Events(Batch),
    /// This many data events in a row were dropped because the stream was full. They keep their places.
    Dropped {
        /// Their type.
        typ: &'static str,
        /// Their number.
        count: u64,
    },
    /// The run's last event was given.
    Ended,
    /// The run has failed, with the reason.
    Failed(String),
    /// No run is open any more.
    Closed,
}

/// How many bytes of small events a reader may be ahead of a working forwarder.
const STOCK: u64 = 128 << 10;
/// An event with a lower cost is small.
const SMALL: u64 = 4 << 10;
/// Maximum number of emptied batches that wait to be filled again.
const SPARES: usize = 64;

/// See the module.
#[derive(Debug)]
pub(crate) struct Queue {
    when_full: WhenFull,
    account: Arc<Account>,
    state: Mutex<State>,
    space: Arc<Space>,
    forwarder: Bell,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    /// Emptied batches for reuse.
    spares: Vec<VecDeque<Event>>,
    /// Set when the forwarder reports that it holds no event; cleared by a push.
    forwarder_holds_none: bool,
    /// The last events were small.
    small: bool,
    /// The forwarder could do nothing more with the stream's events at its last turn.
    forwarder_rests: bool,
    /// The forwarder no longer reads it.
    abandoned: bool,
    status: RunStatus,
}

/// State that the queues of a stream share: its reader waits here for released bytes.
#[derive(Debug, Default)]
pub(crate) struct Space {
    lock: Mutex<()>,
    freed: Condvar,
    /// Number of events that were read after the end of their scan or run: these are dropped.
    late: AtomicU64,
}

impl Space {
    /// Number of events that came too late for their scan, since the start of the process.
    pub(crate) fn late(&self) -> u64 {
        self.late.load(Ordering::Relaxed) // statistics for people; guards nothing
    }

    /// Called by an account when bytes were released. [any thread]
    pub(crate) fn freed(&self) {
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
        self.freed.notify_all();
    }
}

impl Queue {
    pub(crate) fn new(
        when_full: WhenFull,
        account: Arc<Account>,
        space: Arc<Space>,
        forwarder: impl Into<Bell>,
    ) -> Arc<Self> {
        let state = Mutex::new(State { forwarder_holds_none: true, ..State::default() });
        Arc::new(Self { when_full, account, state, space, forwarder: forwarder.into() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an item that is not an event. [reader thread]
    pub(crate) fn tell(&self, item: Item) {
        self.state().items.push_back(item);
        self.forwarder.ring();
    }

    /// Replaces what the run tells about itself. [reader thread]
    pub(crate) fn set_status(&self, status: RunStatus) {
        self.state().status = status;
    }

    /// Moves events of `batch` into the queue while their bytes are granted; the others are dropped, or stay in
    /// `batch`, according to the stream's policy. Then wakes the forwarder. Returns whether `batch` is empty. [reader thread]
    pub(crate) fn push(&self, batch: &mut VecDeque<Event>) -> bool {
        if self.put(batch) {
            self.forwarder.ring();
        }
        batch.is_empty()
    }

    /// The same, but then forwards on this thread, if the forwarder sleeps. [reader thread]
    pub(crate) fn push_and_forward(&self, batch: &mut VecDeque<Event>) -> bool {
        if self.put(batch) {
            self.forwarder.take_turn();
        }
        batch.is_empty()
    }

    /// Returns whether the queue has something new.
    fn put(&self, batch: &mut VecDeque<Event>) -> bool {
        if batch.is_empty() {
            return false;
        }
        let mut state = self.state();
        if state.abandoned {
            drop(state);
            self.too_late(batch);
            return false;
        }
        let bytes = batch.iter().map(cost).sum();
        state.small = bytes < SMALL * batch.len() as u64;
        if let Some(charge) = self.account.try_take(bytes) {
            let empty = state.spares.pop().unwrap_or_default();
            state.forwarder_holds_none = false;
            state.items.push_back(Item::Events(Batch::new(mem::replace(batch, empty), charge)));
            return true;
        }
        let mut pushed = false;
        while let Some(event) = batch.front() {
            let bytes = cost(event);
            let stands_still = state.forwarder_holds_none && !state.items.iter().any(|i| matches!(i, Item::Events(_)));
            let charge = self.account.try_take(bytes).or_else(|| stands_still.then(|| self.account.take(bytes)));
            match charge {
                Some(charge) => {
                    let event = batch.pop_front().expect("it was at the front one line up");
                    state.forwarder_holds_none = false;
                    let state = &mut *state;
                    match state.items.back_mut() {
                        Some(Item::Events(last)) if last.has_room() => last.add(event, charge),
                        _ => {
                            let mut one = state.spares.pop().unwrap_or_default();
                            one.push_back(event);
                            state.items.push_back(Item::Events(Batch::new(one, charge)));
                        }
                    }
                }
                None if self.when_full == WhenFull::Drop && event.kind == EventKind::Data => {
                    let typ = event.typ;
                    batch.pop_front();
                    match state.items.back_mut() {
                        Some(Item::Dropped { typ: last, count }) if *last == typ => *count += 1,
                        _ => state.items.push_back(Item::Dropped { typ, count: 1 }),
                    }
                }
                None => break,
            }
            pushed = true;
        }
        pushed
    }

    /// Drops and counts events that are too late for the scan. [reader thread]
    pub(crate) fn too_late(&self, batch: &mut VecDeque<Event>) {
        self.space.late.fetch_add(batch.len() as u64, Ordering::Relaxed);
        batch.clear();
    }

    /// Waits until bytes may have been released, at most `limit`. [reader thread]
    pub(crate) fn wait_for_space(&self, limit: Duration) {
        let guard = self.space.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.account.wait_for_bytes();
        // A charge that was dropped before the line above did not ring; so this waits in short steps, only while blocked.
        let step = limit.min(Duration::from_millis(5));
        drop(self.space.freed.wait_timeout(guard, step).unwrap_or_else(PoisonError::into_inner));
    }

    /// For a reader that is ahead with small events: lets the forwarder catch up, and waits for that at most `limit`.
    /// Events that wait longer than necessary are no longer in the cache when they are sent. Returns whether the wait
    /// was useless, because the forwarder itself waits for something else. [reader thread]
    pub(crate) fn let_forwarder_catch_up(&self, limit: Duration) -> bool {
        if !self.is_ahead() {
            return false;
        }
        let guard = self.space.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.account.wait_for_at_most(STOCK / 2);
        // Checked again, because bytes may have been released before the ring was requested.
        if self.is_ahead() && !self.is_abandoned() {
            drop(self.space.freed.wait_timeout(guard, limit).unwrap_or_else(PoisonError::into_inner));
        }
        let state = self.state();
        state.forwarder_rests && state.items.is_empty() && self.used() > STOCK
    }

    fn is_ahead(&self) -> bool {
        self.used() > STOCK && self.state().small
    }

    /// The forwarder has done all it can with the taken events, and is about to sleep. [forwarder]
    pub(crate) fn rest(&self) {
        if self.used() > STOCK {
            let mut state = self.state();
            state.forwarder_rests = state.items.is_empty();
        }
    }

    /// Takes everything. `holds_none`: the forwarder has no event of this stream left; `empties`: its emptied batches,
    /// for reuse. [forwarder]
    pub(crate) fn take_all(
        &self,
        into: &mut VecDeque<Item>,
        holds_none: bool,
        empties: Option<&mut Vec<VecDeque<Event>>>,
    ) {
        let mut state = self.state();
        if let Some(empties) = empties {
            state.spares.append(empties);
            state.spares.truncate(SPARES);
        }
        state.forwarder_holds_none = holds_none && state.items.is_empty();
        state.forwarder_rests = false;
        if into.is_empty() {
            mem::swap(into, &mut state.items);
        } else {
            into.append(&mut state.items);
        }
    }

    /// Bytes of its events that are still held. [forwarder]
    pub(crate) fn used(&self) -> u64 {
        self.account.used()
    }

    /// What the run tells about itself. [forwarder]
    pub(crate) fn status(&self) -> RunStatus {
        self.state().status.clone()
    }

    /// Drops the queued events and tells the reader that no more are wanted. Returns what was left. [forwarder]
    pub(crate) fn abandon(&self) -> Remainder {
        let items = {
            let mut state = self.state();
            state.abandoned = true;
            mem::take(&mut state.items)
        };
        let mut left = Remainder::default();
        for item in &items {
            match item {
                Item::Events(batch) => left.events += batch.len() as u64,
                Item::Dropped { count, .. } => left.dropped += count,
                Item::Opened | Item::Ended | Item::Failed(_) | Item::Closed => {}
            }
        }
        drop(items);
        self.space.freed();
        left
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.state().abandoned
    }
}
