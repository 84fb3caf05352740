//! The step from events and assignments to messages.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Instant, SystemTime},
};

use crate::event::{Event, Frames};
use framegate_plugin_api::EventKind;
use smallvec::SmallVec;

use super::{
    Action, Ingester,
    assemble::{Slot, StreamPart, groups},
    command::{Assignment, Deal},
    header,
    message::{self, AssembledEvent},
    scan::{Phase, Scan},
};
use crate::{
    budget::Account,
    names::{EventNumber, StreamName},
};

/// One event with all the streams that it names, for the capture.
#[derive(Debug)]
#[cfg_attr(not(feature = "capture"), allow(dead_code, reason = "nothing is captured"))]
pub(crate) struct PairedEvent<'a> {
    pub(crate) number: EventNumber,
    /// RFC 3339, as in the header.
    pub(crate) created_at: &'a str,
    /// All streams that it names, including those that are sent to no worker.
    pub(crate) streams: SmallVec<[&'a StreamName; 4]>,
    /// Their events, in the same order.
    pub(crate) assembled: &'a AssembledEvent,
}

/// The next item to pair.
enum Next {
    /// A complete event.
    Event(Assignment),
    /// An event that waits only for triggered sources; each answers, or fails.
    Asked,
    /// An event or an assignment is missing.
    Nothing,
}

impl Ingester {
    /// Takes events, or the places of dropped events.
    pub(crate) fn events(&mut self, index: usize, slot: Slot) {
        let Some(scan) = &mut self.scan else { return };
        let stream = &mut scan.streams[index];
        let count = match &slot {
            Slot::Dropped { count, .. } => *count,
            Slot::Events(batch) => batch.len() as u64,
        };
        stream.counts.read += count;
        if matches!(slot, Slot::Dropped { .. }) && !stream.has_failed() && stream.counts.dropped == 0 {
            tracing::warn!(
                stream = %self.streams[index].name,
                "memory is full: dropping events, because when_full is \"drop\"; their places in messages stay empty, \
                 and status has the count"
            );
        }
        if matches!(slot, Slot::Dropped { .. }) || stream.has_failed() {
            stream.counts.dropped += count;
        }
        // After a failure later pairs would be wrong: the assigned workers get an empty place.
        if !stream.has_failed() {
            stream.flow.push(slot);
        }
    }

    /// Emptied batches of the stream, to be reused.
    pub(crate) fn empties(&mut self, stream: usize) -> Option<&mut Vec<VecDeque<Event>>> {
        Some(&mut self.scan.as_mut()?.streams[stream].flow.empties)
    }

    /// Whether the stream has no event waiting here. Places of dropped events hold no memory.
    pub(crate) fn holds_none(&self, stream: usize) -> bool {
        self.scan.as_ref().is_none_or(|scan| scan.streams[stream].flow.waiting() == 0)
    }

    /// Pairs the next event. Returns false if an event or an assignment is missing. The caller checks first that `account`
    /// has room. `capture` gets the event.
    pub(crate) fn pair(
        &mut self,
        now: Instant,
        wall: SystemTime,
        account: &Arc<Account>,
        capture: impl FnOnce(&PairedEvent<'_>),
    ) -> bool {
        self.asking = false;
        let Some(scan) = &mut self.scan else { return false };
        if !matches!(scan.phase, Phase::Running | Phase::Finishing) {
            return false;
        }
        let next = if scan.broken.is_some() {
            Next::Nothing
        } else if scan.deal == Deal::Controller {
            self.assigned_event()
        } else {
            self.dealt_event(now)
        };
        match next {
            Next::Event(assigned) => {
                self.dispatch(&assigned, now, wall, account, capture);
                return true;
            }
            // A finish and a stop wait for them too.
            Next::Asked => self.asking = true,
            Next::Nothing => {
                let Some(scan) = &mut self.scan else { return false };
                if scan.phase == Phase::Finishing {
                    self.close_scan(now);
                } else if scan.broken.is_some() {
                    scan.discard_waiting();
                } else if scan.assigned.is_empty() && scan.streams.iter().any(|stream| !stream.flow.is_empty()) {
                    scan.pace.waits_for_assignment();
                    self.pace.waits_for_assignment();
                }
            }
        }
        false
    }

    /// Whether the next event waits only for triggered sources; each answers, or fails.
    pub(crate) fn is_asking(&self) -> bool {
        self.asking
    }

    /// The first assignment, if all its events have arrived.
    fn assigned_event(&mut self) -> Next {
        let Some(scan) = &mut self.scan else { return Next::Nothing };
        let Some(first) = scan.assigned.front() else { return Next::Nothing };
        let mut on_demand_missing = SmallVec::<[usize; 2]>::new();
        for (index, _) in &first.streams {
            let stream = &scan.streams[*index];
            if stream.flow.is_empty() && !stream.has_failed() {
                if !self.streams[*index].on_demand {
                    return Next::Nothing;
                }
                on_demand_missing.push(*index);
            }
        }
        let number = first.number;
        if on_demand_missing.is_empty() {
            return scan.assigned.pop().map_or(Next::Nothing, Next::Event);
        }
        // All other events have arrived: now the on-demand sources are triggered, each once.
        for stream in on_demand_missing {
            if scan.streams[stream].triggered != Some(number) {
                scan.streams[stream].triggered = Some(number);
                self.actions.push(Action::Trigger { stream, number });
            }
        }
        Next::Asked
    }

    /// Without a controller: the next event of every stream that still runs, for the next worker in turn or for all.
    fn dealt_event(&mut self, now: Instant) -> Next {
        let Some(scan) = &mut self.scan else { return Next::Nothing };
        let mut named = SmallVec::<[usize; 4]>::new();
        let (mut for_all, min_workers) = match scan.deal {
            Deal::ToAll { min_workers } => (true, min_workers),
            Deal::InTurn { min_workers } => (false, min_workers),
            Deal::Controller => return Next::Nothing,
        };
        for (index, stream) in scan.streams.iter().enumerate().filter(|(_, stream)| stream.active && !stream.is_over())
        {
            match stream.flow.first_kind() {
                Some(kind) => for_all |= kind != EventKind::Data,
                None if self.streams[index].on_demand => {}
                None => return Next::Nothing,
            }
            named.push(index);
        }
        if named.iter().all(|index| self.streams[*index].on_demand) {
            return Next::Nothing;
        }
        // `min_workers` applies to the first event only: later the remaining workers continue without those that leave.
        let begins = scan.next_number == 0;
        let dealt_to: SmallVec<[usize; 2]> = self.workers.to_deal_to(now, !for_all).collect();
        if dealt_to.is_empty() || (begins && dealt_to.len() < min_workers) {
            return Next::Nothing;
        }
        let mut waits = false;
        for index in &named {
            if !scan.streams[*index].flow.is_empty() {
                continue;
            }
            if scan.streams[*index].triggered != Some(scan.next_number) {
                scan.streams[*index].triggered = Some(scan.next_number);
                self.actions.push(Action::Trigger { stream: *index, number: scan.next_number });
            }
            waits = true;
        }
        if waits {
            return Next::Asked;
        }
        let workers = if for_all {
            dealt_to
        } else {
            scan.turn = (scan.turn + 1) % dealt_to.len();
            SmallVec::from_elem(dealt_to[scan.turn], 1)
        };
        let number = scan.next_number;
        scan.next_number += 1;
        Next::Event(Assignment { number, streams: named.iter().map(|index| (*index, workers.clone())).collect() })
    }

    /// Takes the events of an assignment and queues messages for its workers.
    fn dispatch(
        &mut self,
        assigned: &Assignment,
        now: Instant,
        wall: SystemTime,
        account: &Arc<Account>,
        capture: impl FnOnce(&PairedEvent<'_>),
    ) {
        let Some(scan) = &mut self.scan else { return };
        scan.processed += 1;
        let events = assigned.streams.iter().map(|(index, workers)| take(scan, *index, !workers.is_empty()));
        let assembled = self.messages.assemble(events, account);
        let created_at = self.created_at.text(wall);
        for (parts, workers) in groups(assigned) {
            let named = parts.iter().map(|part| {
                let (stream, event) = (assigned.streams[*part].0, &assembled.events()[*part]);
                message::MessageStream { stream, typ: event.typ, frames: event.frames.len() }
            });
            let in_header = named.clone().map(|message::MessageStream { stream, typ, frames }| header::Part {
                stream: &self.streams[stream].escaped,
                typ,
                frames,
            });
            let header = |out: &mut Vec<u8>| header::write(out, assigned.number, in_header, created_at);
            let message = self.messages.message(assigned.number, named, header, &assembled, &parts, account);
            let (last, others) = workers.split_last().expect("a group has workers");
            for worker in others {
                self.workers.give(*worker, message.clone(), now);
            }
            self.workers.give(*last, message, now);
        }
        capture(&PairedEvent {
            number: assigned.number,
            created_at,
            streams: assigned.streams.iter().map(|(index, _)| &self.streams[*index].name).collect(),
            assembled: &assembled,
        });
        self.messages.finish(assembled);
    }

    /// The network has taken this many more messages for a worker, and this many bytes of the next.
    pub(crate) fn sent(&mut self, worker: usize, messages: usize, begun: usize, now: Instant) {
        for message in self.workers.sent(worker, messages, begun, now) {
            self.messages.give_back(message);
        }
    }
}

/// Takes a stream's event. A dropped event, or one that a failed source will never give, becomes an event without
/// frames: its message keeps the worker in step.
fn take(scan: &mut Scan, index: usize, wanted: bool) -> Event {
    let stream = &mut scan.streams[index];
    let tombstone = |typ| Event { typ, kind: EventKind::Data, frames: Frames::new() };
    match stream.flow.take() {
        // From here on the bytes are charged to the account of messages.
        Some(StreamPart::Event(event)) => {
            let count = if wanted { &mut stream.counts.forwarded } else { &mut stream.counts.discarded };
            *count += 1;
            event
        }
        Some(StreamPart::Tombstone { typ }) => tombstone(typ),
        None => {
            stream.counts.missing += 1;
            tombstone(stream.flow.last_typ)
        }
    }
}
