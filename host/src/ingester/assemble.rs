//! Pairs the k-th event of a stream with the k-th assignment that names it, and gathers an event's streams.
//!
//! Events are paired strictly in the order of their numbers: if the first assignment still waits for one of its
//! streams, all later ones wait too, because a worker takes the next message for its next assignment and must find the
//! same number. So the k-th event of a stream always meets the k-th assignment that names it, without any counting.

use std::collections::VecDeque;

use crate::event::Event;
use framegate_plugin_api::EventKind;
use smallvec::SmallVec;

use super::command::Assignment;
use crate::batch::Batch;

/// The front entry of a stream.
#[derive(Debug)]
pub(crate) enum Slot {
    Events(Batch),
    /// Dropped events, whose places are kept.
    Dropped {
        typ: &'static str,
        count: u64,
    },
}

/// The events of one stream in one scan.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    slots: VecDeque<Slot>,
    waiting: u64,
    bytes: u64,
    /// Emptied batches.
    pub(crate) empties: Vec<VecDeque<Event>>,
    pub(crate) last_typ: &'static str,
}

/// A stream's part of one event.
#[derive(Debug)]
pub(crate) enum StreamPart {
    Event(Event),
    /// The event was dropped, or the source has failed: the message says `length` 0.
    Tombstone {
        typ: &'static str,
    },
}

impl Flow {
    pub(crate) fn push(&mut self, slot: Slot) {
        match &slot {
            Slot::Events(batch) => {
                self.waiting += batch.len() as u64;
                self.bytes += batch.iter().map(|event| event.bytes() as u64).sum::<u64>();
            }
            Slot::Dropped { .. } => {}
        }
        self.slots.push_back(slot);
    }

    /// Number of waiting events, without the places of dropped ones.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting
    }

    /// Number of bytes in their frames.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The kind of the first event.
    pub(crate) fn first_kind(&self) -> Option<EventKind> {
        self.slots.front().map(|slot| match slot {
            Slot::Events(batch) => batch.iter().next().map_or(EventKind::Data, |event| event.kind),
            Slot::Dropped { .. } => EventKind::Data,
        })
    }

    /// Takes the first event.
    pub(crate) fn take(&mut self) -> Option<StreamPart> {
        let part = match self.slots.front_mut()? {
            Slot::Dropped { typ, count } if *count > 1 => {
                *count -= 1;
                StreamPart::Tombstone { typ }
            }
            Slot::Dropped { typ, .. } => {
                let typ = *typ;
                self.slots.pop_front();
                StreamPart::Tombstone { typ }
            }
            Slot::Events(batch) => {
                let event = batch.take()?;
                if batch.is_empty()
                    && let Some(Slot::Events(batch)) = self.slots.pop_front()
                {
                    self.empties.push(batch.into_empty());
                }
                StreamPart::Event(event)
            }
        };
        self.last_typ = match &part {
            StreamPart::Event(event) => {
                self.waiting -= 1;
                self.bytes -= event.bytes() as u64;
                event.typ
            }
            StreamPart::Tombstone { typ } => typ,
        };
        Some(part)
    }
}

/// A subset of an event's streams (indexes into [`Assignment::streams`]), and the workers (by index) that get exactly these.
pub(crate) type Group = (SmallVec<[usize; 4]>, SmallVec<[usize; 2]>);

/// Which workers get which streams of one event: one group for each distinct set of streams, so that a header is
/// written once for all workers with the same set.
pub(crate) fn groups(assigned: &Assignment) -> SmallVec<[Group; 1]> {
    if let [(_, workers)] = assigned.streams.as_slice() {
        let mut workers = workers.clone();
        dedup(&mut workers);
        return if workers.is_empty() {
            SmallVec::new()
        } else {
            SmallVec::from_buf([(SmallVec::from_slice(&[0]), workers)])
        };
    }
    let mut by_worker: SmallVec<[(usize, SmallVec<[usize; 4]>); 4]> = SmallVec::new();
    for (part, (_, workers)) in assigned.streams.iter().enumerate() {
        for worker in workers {
            match by_worker.iter_mut().find(|(known, _)| known == worker) {
                Some((_, parts)) if parts.last() == Some(&part) => {}
                Some((_, parts)) => parts.push(part),
                None => by_worker.push((*worker, SmallVec::from_slice(&[part]))),
            }
        }
    }
    let mut groups: SmallVec<[Group; 1]> = SmallVec::new();
    for (worker, parts) in by_worker {
        match groups.iter_mut().find(|(known, _)| *known == parts) {
            Some((_, workers)) => workers.push(worker),
            None => groups.push((parts, SmallVec::from_elem(worker, 1))),
        }
    }
    groups
}

/// A worker named twice for a stream gets one message.
fn dedup(workers: &mut SmallVec<[usize; 2]>) {
    let mut index = 1;
    while index < workers.len() {
        if workers[..index].contains(&workers[index]) {
            workers.remove(index);
        } else {
            index += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;

    fn assigned(streams: &[&[usize]]) -> Assignment {
        let streams = streams.iter().enumerate().map(|(index, workers)| (index, workers.iter().copied().collect()));
        Assignment { number: 0, streams: streams.collect() }
    }

    #[test]
    fn a_worker_named_for_several_streams_gets_one_message() {
        let groups = groups(&assigned(&[&[1, 2], &[1], &[2, 2]]));
        let expected: SmallVec<[Group; 1]> =
            smallvec![(smallvec![0, 1], smallvec![1]), (smallvec![0, 2], smallvec![2])];
        assert_eq!(groups, expected);
    }

    #[test]
    fn workers_that_see_the_same_share_a_group() {
        assert_eq!(groups(&assigned(&[&[3, 4, 3], &[3, 4]])).len(), 1);
        assert_eq!(groups(&assigned(&[&[3, 4, 3]])).as_slice(), [(smallvec![0], smallvec![3, 4])]);
    }

    #[test]
    fn nobody_named_is_no_message() {
        assert!(groups(&assigned(&[&[], &[]])).is_empty() && groups(&assigned(&[&[]])).is_empty());
    }

    #[test]
    fn dropped_events_keep_their_places() {
        let mut flow = Flow::default();
        flow.push(Slot::Dropped { typ: "X", count: 2 });
        assert!(flow.waiting() == 0 && !flow.is_empty(), "a place is no event");
        assert!(matches!(flow.take(), Some(StreamPart::Tombstone { typ: "X" })));
        assert!(matches!(flow.take(), Some(StreamPart::Tombstone { typ: "X" })));
        assert!(flow.take().is_none() && flow.is_empty());
    }
}
