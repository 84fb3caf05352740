//! One event with all its streams, as a message to workers.
//!
//! Created by `pair`; it waits with each of its workers, and its bytes are sent to the network. Small frames are copied
//! into one buffer and released at once: passing many small pieces around, and freeing them on other threads, costs
//! more than the copy (at 64 B, more than half of all CPU time). Large frames stay where their source created them.

use std::{iter, mem, sync::Arc};

use framegate_plugin_api::Frame;
use smallvec::SmallVec;

use crate::event::Event;
use crate::{
    budget::{Account, COPY_BELOW, Charge},
    names::EventNumber,
    recycle::{Pool, Pooled, Recycle},
    zmtp,
};

/// Cost of a message beyond its frames: header and our own structures.
pub(crate) const MESSAGE_COST: u64 = 512;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Message {
    /// ZeroMQ's part headers, the message header, and small frames. The first `unused` bytes are not part of the message.
    own: Vec<u8>,
    unused: usize,
    /// Large frames, and their positions in `own`.
    frames: SmallVec<[LargeFrame; 2]>,
    /// A large event's frames.
    apart: Option<Pooled<ChargedEvent>>,
    /// A small event's charge to the account of assembled messages.
    charge: Option<Charge>,
    /// Number of bytes on the wire.
    pub(crate) bytes: usize,
    /// The event's number, and its streams in the order of their frames: for workers in this process, which read no header.
    pub(crate) number: EventNumber,
    pub(crate) streams: SmallVec<[MessageStream; 2]>,
}

/// A stream in a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageStream {
    /// Its place among the ingester's streams.
    pub(crate) stream: usize,
    pub(crate) typ: &'static str,
    /// Number of frames.
    pub(crate) frames: usize,
}

/// A frame that is not copied.
#[derive(Debug, Clone, Copy)]
struct LargeFrame {
    in_own: usize,
    stream: usize,
    frame: usize,
}

/// An event with all its streams, not copied.
#[derive(Debug, Default)]
pub(crate) struct LargeEvent {
    /// In the order of the assignment.
    pub(crate) events: Vec<Event>,
}

/// A large event, shared by its messages. The capture shares only the event: data that waits for the disk must not take
/// room from data that waits for workers.
#[derive(Debug, Default)]
pub(crate) struct ChargedEvent {
    event: Option<Pooled<LargeEvent>>,
    /// Its charge to the account of assembled messages.
    charge: Option<Charge>,
}

impl ChargedEvent {
    fn events(&self) -> &[Event] {
        self.event.as_ref().map_or(&[], |event| &event.events)
    }
}

/// One event with all its streams, before its messages are built. In the order of the assignment.
#[derive(Debug)]
pub(crate) enum AssembledEvent {
    /// Copied into each message; with the number of bytes.
    Small(Vec<Event>, usize),
    /// Shared by the messages.
    Large(Pooled<ChargedEvent>),
}

impl AssembledEvent {
    pub(crate) fn events(&self) -> &[Event] {
        match self {
            Self::Small(events, _) => events,
            Self::Large(charged) => charged.events(),
        }
    }

    /// A large event, without its charge to the account of messages.
    #[cfg_attr(not(feature = "capture"), allow(dead_code, reason = "nothing is captured"))]
    pub(crate) fn large_event(&self) -> Option<&Pooled<LargeEvent>> {
        if let Self::Large(charged) = self { charged.event.as_ref() } else { None }
    }
}

impl Message {
    /// Its bytes on the wire, in pieces.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let mut from = self.unused;
        let with_frame = self.frames.iter().flat_map(move |frame| {
            let own = &self.own[mem::replace(&mut from, frame.in_own)..frame.in_own];
            let events = self.apart.as_ref().map(|charged| charged.events());
            let bytes = events.map(|events| events[frame.stream].frames[frame.frame].as_slice());
            [own].into_iter().chain(bytes)
        });
        let last = self.frames.last().map_or(self.unused, |frame| frame.in_own);
        with_frame.chain([&self.own[last..]])
    }

    /// Its frames, without the header.
    pub(crate) fn frames(&self) -> impl Iterator<Item = &[u8]> {
        let (mut rest, mut large) = (&self.own[self.unused..], self.frames.iter().peekable());
        let parts = iter::from_fn(move || {
            let (length, after) = zmtp::split_head(rest)?;
            let at = self.own.len() - after.len();
            let Some(frame) = large.next_if(|frame| frame.in_own == at) else {
                let part = &after[..length];
                rest = &after[length..];
                return Some(part);
            };
            rest = after;
            let events = self.apart.as_ref()?.events();
            Some(events[frame.stream].frames[frame.frame].as_slice())
        });
        parts.skip(1)
    }
}

/// Room for a header of one or two streams.
const ROOM: usize = 256;
/// Larger buffers are rare, and not kept: so spare memory is a few MiB at most.
const LARGEST_SPARE: usize = 8 << 10;
/// The same limit for frames.
const MOST_FRAMES: usize = 64;

impl Recycle for Message {
    fn empty(&mut self) {
        (self.apart, self.charge) = (None, None);
        self.own.clear();
        self.own.shrink_to(LARGEST_SPARE);
        self.streams.clear();
        self.frames.clear();
        if self.frames.capacity() > MOST_FRAMES {
            self.frames = SmallVec::new();
        }
    }
}

impl Recycle for LargeEvent {
    fn empty(&mut self) {
        self.events.clear();
    }
}

impl Recycle for ChargedEvent {
    fn empty(&mut self) {
        self.event = None; // before the bytes are released
        self.charge = None;
    }
}

/// Recycled memory for messages.
#[derive(Debug)]
pub(crate) struct Messages {
    messages: Pool<Message>,
    large_events: Pool<LargeEvent>,
    charged: Pool<ChargedEvent>,
    /// The parts of the event that is being assembled.
    events: Vec<Event>,
}

impl Messages {
    pub(crate) fn new() -> Self {
        Self { messages: Pool::new(), large_events: Pool::new(), charged: Pool::new(), events: Vec::new() }
    }

    /// Assembles an event's streams. An event is small if all its frames are.
    pub(crate) fn assemble(&mut self, events: impl Iterator<Item = Event>, account: &Arc<Account>) -> AssembledEvent {
        let mut assembled = mem::take(&mut self.events);
        assembled.extend(events);
        let bytes: usize = assembled.iter().map(Event::bytes).sum();
        if assembled.iter().flat_map(|event| &event.frames).all(|frame| frame.as_slice().len() < COPY_BELOW) {
            return AssembledEvent::Small(assembled, bytes);
        }
        let charge = account.take(bytes as u64 + MESSAGE_COST);
        let event = self.large_events.take(|event| mem::swap(&mut event.events, &mut assembled));
        self.events = assembled;
        AssembledEvent::Large(self.charged.take(|charged| {
            charged.event = Some(event);
            charged.charge = Some(charge);
        }))
    }

    /// Builds the message for some streams of an event, which `named` names. `header` writes the header.
    pub(crate) fn message(
        &mut self,
        number: EventNumber,
        named: impl Iterator<Item = MessageStream>,
        header: impl FnOnce(&mut Vec<u8>),
        assembled: &AssembledEvent,
        streams: &[usize],
        account: &Arc<Account>,
    ) -> Pooled<Message> {
        self.messages.take(|new| {
            let small = if let AssembledEvent::Small(_, bytes) = assembled { *bytes } else { 0 };
            // In steps: a buffer stays large enough when a number in the events gets one more digit.
            new.number = number;
            new.streams.extend(named);
            new.own.reserve((ROOM + small).next_multiple_of(ROOM));
            let events = streams.iter().map(|stream| (*stream, &assembled.events()[*stream]));
            let mut left: usize = events.clone().map(|(_, event)| event.frames.len()).sum();
            // The header's length is known only after it is written; its part header ends where it begins.
            new.own.resize(zmtp::LONGEST_HEAD, 0);
            header(&mut new.own);
            let length = new.own.len() - zmtp::LONGEST_HEAD;
            let head = zmtp::head(length, left > 0);
            new.unused = zmtp::LONGEST_HEAD - head.len();
            new.own[new.unused..zmtp::LONGEST_HEAD].copy_from_slice(&head);
            new.bytes = head.len() + length;
            for (stream, event) in events {
                for (frame, bytes) in event.frames.iter().map(Frame::as_slice).enumerate() {
                    left -= 1;
                    let head = zmtp::head(bytes.len(), left > 0);
                    new.bytes += head.len() + bytes.len();
                    new.own.extend_from_slice(&head);
                    if bytes.len() < COPY_BELOW {
                        new.own.extend_from_slice(bytes);
                    } else {
                        new.frames.push(LargeFrame { in_own: new.own.len(), stream, frame });
                    }
                }
            }
            match assembled {
                AssembledEvent::Small(..) => new.charge = Some(account.take(MESSAGE_COST + new.bytes as u64)),
                AssembledEvent::Large(charged) => new.apart = Some(charged.clone()),
            }
        })
    }

    /// All messages of an event were built.
    pub(crate) fn finish(&mut self, assembled: AssembledEvent) {
        if let AssembledEvent::Small(mut events, _) = assembled {
            events.clear();
            self.events = events;
        }
    }

    /// Takes back a message that was sent.
    pub(crate) fn give_back(&mut self, message: Pooled<Message>) {
        self.messages.give_back(message);
    }
}

#[cfg(test)]
impl Message {
    /// Its parts, parsed from its bytes.
    pub(crate) fn parts(&self) -> Vec<Vec<u8>> {
        let bytes: Vec<u8> = self.pieces().flatten().copied().collect();
        assert_eq!(bytes.len(), self.bytes);
        zmtp::tests::parts(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use framegate_plugin_api::EventKind;

    use super::*;

    #[test]
    fn copied_or_not_its_parts_are_the_header_and_the_frames_in_order() {
        let event = |frames: &[usize]| {
            let frames = frames.iter().map(|length| Frame::from_vec(vec![*length as u8; *length])).collect();
            Event { typ: "T", kind: EventKind::Data, frames }
        };
        let account = Account::new(1 << 20, || ());
        let mut messages = Messages::new();
        for (large, small) in [(COPY_BELOW - 1, true), (COPY_BELOW, false), (COPY_BELOW + 300, false), (255, true)] {
            let events = [event(&[0, large]), event(&[256, large, 3])];
            let frames = events.iter().flat_map(|event| &event.frames).map(|frame| frame.as_slice().to_vec());
            let mut expected = vec![vec![b'h'; large % 300]];
            expected.extend(frames);
            let bytes: u64 = expected[1..].iter().map(|frame| frame.len() as u64).sum();
            let assembled = messages.assemble(events.into_iter(), &account);
            assert_eq!(matches!(assembled, AssembledEvent::Small(..)), small);
            let header = |own: &mut Vec<u8>| own.extend_from_slice(&expected[0]);
            let message = messages.message(0, iter::empty(), header, &assembled, &[0, 1], &account);
            assert_eq!(message.parts(), expected);
            assert_eq!(message.frames().map(<[u8]>::to_vec).collect::<Vec<_>>(), expected[1..]);
            assert_eq!(account.used(), MESSAGE_COST + if small { message.bytes as u64 } else { bytes });
            // A message that somebody still holds is not recycled.
            let other = message.clone();
            messages.give_back(message);
            assert_eq!(other.parts().len(), 6);
            messages.finish(assembled);
            assert_ne!(account.used(), 0);
            drop(other);
            assert_eq!(account.used(), 0);
        }
    }

    #[test]
    fn of_several_streams_those_that_are_named_go_in_a_message_of_their_own() {
        let event = |byte: u8| Event {
            typ: "T",
            kind: EventKind::Data,
            frames: [Frame::from_vec(vec![byte; COPY_BELOW + usize::from(byte)])].into_iter().collect(),
        };
        let account = Account::new(1 << 20, || ());
        let mut messages = Messages::new();
        let assembled = messages.assemble([event(1), event(2), event(3)].into_iter(), &account);
        let message = messages.message(0, iter::empty(), |own| own.push(b'h'), &assembled, &[0, 2], &account);
        assert_eq!(message.parts(), [vec![b'h'], vec![1; COPY_BELOW + 1], vec![3; COPY_BELOW + 3]]);
        let message = messages.message(0, iter::empty(), |own| own.push(b'h'), &assembled, &[], &account);
        assert_eq!(message.parts(), [[b'h']]);
    }
}
