//! The events that a source gave in one call, with their bytes.
//!
//! Filled on the reader thread, emptied on the forwarder thread. Charged and handed over together: for single events,
//! the two threads would compete for the account and copy each event between their caches.

use std::collections::VecDeque;

use crate::budget::Charge;
use crate::event::Event;

/// See the module. Empty only while its last event is being taken.
#[derive(Debug)]
pub(crate) struct Batch {
    events: VecDeque<Event>,
    /// Invariant: the cost of all events, plus `taken`.
    charge: Charge,
    /// Bytes of events that were taken and are still charged.
    taken: u64,
}

/// Bytes that an event costs beyond its frames: for our own structures and the allocator.
const EVENT_COST: u64 = 256;
/// Bytes are released in steps of at least this size, or with the last event.
const GIVE_BACK: u64 = 16 << 10;

/// Capacity that an empty one keeps: twice the number of events that the host asks for.
const LARGEST_EMPTY: usize = 128;

/// The cost of an event while it waits.
pub(crate) fn cost(event: &Event) -> u64 {
    event.bytes() as u64 + EVENT_COST
}

/// The rest of a queue that nobody empties any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Remainder {
    pub(crate) events: u64,
    /// Events that were dropped on arrival, because the queue was full.
    pub(crate) dropped: u64,
}

impl Batch {
    /// `charge` covers the cost of all events.
    pub(crate) fn new(events: VecDeque<Event>, charge: Charge) -> Self {
        Self { events, charge, taken: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Event> {
        self.events.iter()
    }

    /// Whether another event fits without an allocation.
    pub(crate) fn has_room(&self) -> bool {
        self.events.len() < self.events.capacity()
    }

    /// Adds an event with its charge.
    pub(crate) fn add(&mut self, event: Event, charge: Charge) {
        self.charge.add(charge);
        self.events.push_back(event);
    }

    /// Takes the first event.
    pub(crate) fn take(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        self.taken += cost(&event);
        if self.taken >= GIVE_BACK || self.events.is_empty() {
            self.charge.give_back(std::mem::take(&mut self.taken));
        }
        Some(event)
    }

    /// Returns the allocation, for other events.
    pub(crate) fn into_empty(mut self) -> VecDeque<Event> {
        self.events.clear();
        self.events.shrink_to(LARGEST_EMPTY);
        self.events
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use framegate_plugin_api::{EventKind, Frame};

    use super::*;
    use crate::budget::Account;

    #[test]
    fn bytes_come_back_as_its_events_are_taken_and_all_with_the_last_or_with_itself() {
        let account: Arc<Account> = Account::new(1 << 20, || ());
        let batch = || {
            let event = |bytes: usize| {
                let frames = [Frame::from_vec(vec![0; bytes])].into_iter().collect();
                Event { typ: "T", kind: EventKind::Data, frames }
            };
            let events: VecDeque<_> = [10, 20_000, 30, 0].map(event).into();
            let charge = account.take(events.iter().map(cost).sum());
            Batch::new(events, charge)
        };
        let mut first = batch();
        let mut used = Vec::new();
        while first.take().is_some() {
            used.push(account.used());
        }
        let all = 4 * EVENT_COST + 20_040;
        assert_eq!(used, [all, 2 * EVENT_COST + 30, 2 * EVENT_COST + 30, 0]);
        let mut second = batch();
        second.take();
        drop(second);
        assert_eq!(account.used(), 0);
    }
}
