//! One event of all its streams, on its way to workers.
//!
//! Made by `pair`, it waits with each of its workers, and the bytes are what the network gets. What is small is copied into one
//! buffer and gives its frames back at once: handing round many small pieces, and freeing them on other threads, costs more
//! than the copy (at 64 B, more than half of all CPU time). What is large stays where its source made it.

use std::{mem, sync::Arc};

use framegate_plugin_api::{Event, Frame};
use smallvec::SmallVec;

use crate::{
    budget::{Account, Charge},
    recycle::{Pool, Pooled, Recycle},
};

/// What a message costs beyond its frames: header and our own structures.
pub(crate) const MESSAGE_COST: u64 = 512;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Message {
    /// The header, and behind it the frames of a small event.
    own: Vec<u8>,
    /// Where each part in `own` ends.
    ends: SmallVec<[usize; 4]>,
    /// A large event.
    apart: Option<Pooled<Whole>>,
    /// Which of its streams go with this message, in order.
    streams: SmallVec<[usize; 2]>,
    /// A small one's bytes in the account of assembled messages.
    charge: Option<Charge>,
    /// Bytes of header, frames and our own structures.
    pub(crate) bytes: u64,
}

/// An event of all its streams, where it is.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    /// In the order of the assignment.
    pub(crate) events: Vec<Event>,
    /// Its bytes in the account of assembled messages, unless its messages have copies.
    charge: Option<Charge>,
}

/// One event of all its streams, on its way into messages. In the order of the assignment.
#[derive(Debug)]
pub(crate) enum Gathered {
    /// Copied into each message, so many bytes.
    Small(Vec<Event>, usize),
    /// Shared by the messages.
    Large(Pooled<Whole>),
}

#[cfg(test)]
impl Whole {
    /// Of one stream, in no account.
    pub(crate) fn of(event: Event) -> Pooled<Self> {
        Pool::<Self>::new().take(|whole| whole.events.push(event))
    }
}

impl Gathered {
    pub(crate) fn events(&self) -> &[Event] {
        match self {
            Self::Small(events, _) => events,
            Self::Large(whole) => &whole.events,
        }
    }
}

impl Message {
    /// Whether it is sent as a copy.
    pub(crate) fn is_small(&self) -> bool {
        self.apart.is_none()
    }

    /// The header, and the frames of all streams, in order.
    pub(crate) fn parts(&self) -> SmallVec<[&[u8]; 12]> {
        let mut from = 0;
        let own = self.ends.iter().map(|end| &self.own[mem::replace(&mut from, *end)..*end]);
        let apart = self.apart.iter().flat_map(|whole| self.streams.iter().map(|stream| &whole.events[*stream]));
        own.chain(apart.flat_map(|event| &event.frames).map(Frame::as_slice)).collect()
    }
}

/// For a header of one stream or two.
const ROOM: usize = 192;
/// What is larger was rare, and is not kept: so what waits to be used again is a few MiB at most.
const LARGEST_SPARE: usize = 4 << 10;
/// The same of its parts.
const MOST_PARTS: usize = 64;

impl Recycle for Message {
    fn empty(&mut self) {
        (self.apart, self.charge) = (None, None);
        self.own.clear();
        self.own.shrink_to(LARGEST_SPARE);
        self.ends.clear();
        if self.ends.capacity() > MOST_PARTS {
            self.ends = SmallVec::new();
        }
        self.streams.clear();
    }
}

impl Recycle for Whole {
    fn empty(&mut self) {
        self.events.clear();
        self.charge = None;
    }
}

/// What messages are made of: the memory of those that were sent.
#[derive(Debug)]
pub(crate) struct Messages {
    messages: Pool<Message>,
    wholes: Pool<Whole>,
    /// Of the event that is being gathered.
    events: Vec<Event>,
}

impl Messages {
    pub(crate) fn new() -> Self {
        Self { messages: Pool::new(), wholes: Pool::new(), events: Vec::new() }
    }

    /// Gathers an event's streams. It is small below `copy_below`.
    pub(crate) fn gather(
        &mut self,
        events: impl Iterator<Item = Event>,
        account: &Arc<Account>,
        copy_below: usize,
    ) -> Gathered {
        let mut gathered = mem::take(&mut self.events);
        gathered.extend(events);
        let bytes: usize = gathered.iter().map(Event::bytes).sum();
        if bytes < copy_below {
            return Gathered::Small(gathered, bytes);
        }
        let charge = account.take(bytes as u64 + MESSAGE_COST);
        let whole = self.wholes.take(|whole| {
            mem::swap(&mut whole.events, &mut gathered);
            whole.charge = Some(charge);
        });
        self.events = gathered;
        Gathered::Large(whole)
    }

    /// The message of some streams of an event. `header` writes the header.
    pub(crate) fn message(
        &mut self,
        header: impl FnOnce(&mut Vec<u8>),
        gathered: &Gathered,
        streams: &[usize],
        account: &Arc<Account>,
    ) -> Pooled<Message> {
        self.messages.take(|new| {
            new.own.reserve(ROOM + if let Gathered::Small(_, bytes) = gathered { *bytes } else { 0 });
            header(&mut new.own);
            new.ends.push(new.own.len());
            match gathered {
                Gathered::Small(events, _) => {
                    for frame in streams.iter().flat_map(|stream| &events[*stream].frames) {
                        new.own.extend_from_slice(frame.as_slice());
                        new.ends.push(new.own.len());
                    }
                    new.bytes = MESSAGE_COST + new.own.len() as u64;
                    new.charge = Some(account.take(new.bytes));
                }
                Gathered::Large(whole) => {
                    let frames: usize = streams.iter().map(|stream| whole.events[*stream].bytes()).sum();
                    new.bytes = MESSAGE_COST + (new.own.len() + frames) as u64;
                    new.apart = Some(whole.clone());
                    new.streams.extend_from_slice(streams);
                }
            }
        })
    }

    /// An event has gone into its messages.
    pub(crate) fn gathered(&mut self, gathered: Gathered) {
        if let Gathered::Small(mut events, _) = gathered {
            events.clear();
            self.events = events;
        }
    }

    /// The same, for whoever wants to see all of it.
    pub(crate) fn whole(&mut self, gathered: Gathered) -> Pooled<Whole> {
        match gathered {
            Gathered::Small(mut events, _) => {
                let whole = self.wholes.take(|whole| mem::swap(&mut whole.events, &mut events));
                self.events = events;
                whole
            }
            Gathered::Large(whole) => whole,
        }
    }

    /// Takes a message back that was sent.
    pub(crate) fn give_back(&mut self, message: Pooled<Message>) {
        self.messages.give_back(message);
    }
}

#[cfg(test)]
mod tests {
    use framegate_plugin_api::EventKind;

    use super::*;

    #[test]
    fn copied_or_not_its_parts_are_the_header_and_the_frames_in_order() {
        let event = |first: &[u8]| {
            let frames = [Frame::from_vec(first.to_vec()), Frame::from_vec(vec![2; 3])].into_iter().collect();
            Event { typ: "T", kind: EventKind::Data, frames }
        };
        let account = Account::new(1 << 20, || ());
        let mut messages = Messages::new();
        for (copy_below, small) in [(10, true), (9, false), (10, true)] {
            let events = [event(b""), event(b"abc")].into_iter();
            let gathered = messages.gather(events, &account, copy_below);
            let header = |own: &mut Vec<u8>| own.extend_from_slice(b"head");
            let message = messages.message(header, &gathered, &[0, 1], &account);
            let expected: [&[u8]; 5] = [b"head", b"", &[2; 3], b"abc", &[2; 3]];
            assert_eq!((message.parts().as_slice(), message.is_small()), (&expected[..], small));
            assert_eq!(message.bytes, MESSAGE_COST + 13);
            assert_eq!(account.used(), if small { message.bytes } else { MESSAGE_COST + 9 });
            // One that somebody still has is left to him.
            let other = message.clone();
            messages.give_back(message);
            assert_eq!(other.parts().len(), 5);
            let whole = messages.whole(gathered);
            assert_eq!(whole.events.len(), 2);
            drop(whole);
            assert_ne!(account.used(), 0);
            drop(other);
            assert_eq!(account.used(), 0);
        }
    }
}
