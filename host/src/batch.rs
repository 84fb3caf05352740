//! Events that a source gave in one go, with their bytes.
//!
//! Filled on the reader thread, emptied on the forwarder thread. They are charged and handed over together: for each event alone, the
//! two threads would get in each other's way at the account and copy the event back and forth.

use std::collections::VecDeque;

use framegate_plugin_api::Event;

use crate::budget::Charge;

/// See the module. Never empty but in the moment in which its last event is taken.
#[derive(Debug)]
pub(crate) struct Batch {
    events: VecDeque<Event>,
    /// Invariant: what all events cost, and `taken`.
    charge: Charge,
    /// Of events that were taken, and not given back yet.
    taken: u64,
}

/// Bytes that an event costs beyond its frames: our own structures and the allocator's.
const EVENT_COST: u64 = 256;
/// Bytes are given back in pieces of this size at least, or with the last event.
const GIVE_BACK: u64 = 16 << 10;

/// Room for events that an empty one keeps: twice as many as sources are asked for.
const LARGEST_EMPTY: usize = 128;

/// What an event costs while it waits.
pub(crate) fn cost(event: &Event) -> u64 {
    event.bytes() as u64 + EVENT_COST
}

/// What is left in a queue that nobody empties any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) events: u64,
    /// Dropped when they came, because the queue was full.
    pub(crate) dropped: u64,
}

impl Batch {
    /// `charge` is what they cost, all together.
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

    /// Whether one more costs no allocation.
    pub(crate) fn has_room(&self) -> bool {
        self.events.len() < self.events.capacity()
    }

    /// Adds an event, for which `charge` is.
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

    /// What it was made of, for other events.
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
