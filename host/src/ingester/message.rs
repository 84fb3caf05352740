//! One event of all its streams, on its way to workers.
//!
//! Made by `pair`, it waits with each of its workers, and the bytes are what the network gets. What is small is copied into one
//! buffer and gives its frames back at once: handing round many small pieces, and freeing them on other threads, costs more
//! than the copy (at 64 B, more than half of all CPU time). What is large stays where its source made it.

use std::sync::Arc;

use framegate_plugin_api::{Event, Frame};
use smallvec::SmallVec;

use crate::budget::{Account, Charge};

/// What a message costs beyond its frames: header and our own structures.
pub(crate) const MESSAGE_COST: u64 = 512;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Message {
    /// The header, and behind it the frames of a small event.
    own: Vec<u8>,
    /// Where each part in `own` ends.
    ends: SmallVec<[usize; 4]>,
    /// A large event, and which of its streams go with this message, in order.
    apart: Option<(Arc<Whole>, SmallVec<[usize; 2]>)>,
    /// A small one's bytes in the account of assembled messages.
    charge: Option<Charge>,
    /// Bytes of header, frames and our own structures.
    pub(crate) bytes: u64,
}

/// An event of all its streams, where it is.
#[derive(Debug)]
pub(crate) struct Whole {
    /// In the order of the assignment.
    pub(crate) events: SmallVec<[Event; 1]>,
    /// Its bytes in the account of assembled messages, unless its messages have copies.
    _charge: Option<Charge>,
}

impl Whole {
    /// Of one stream, in no account.
    #[cfg(test)]
    pub(crate) fn of(event: Event) -> Self {
        Self { events: SmallVec::from_buf([event]), _charge: None }
    }
}

/// One event of all its streams, on its way into messages.
#[derive(Debug)]
pub(crate) enum Gathered {
    /// Copied into each message, so many bytes.
    Small(Whole, usize),
    /// Shared by the messages.
    Large(Arc<Whole>),
}

impl Gathered {
    pub(crate) fn new(events: SmallVec<[Event; 1]>, account: &Arc<Account>, copy_below: usize) -> Self {
        let bytes: usize = events.iter().map(Event::bytes).sum();
        if bytes < copy_below {
            return Self::Small(Whole { events, _charge: None }, bytes);
        }
        let charge = Some(account.take(bytes as u64 + MESSAGE_COST));
        Self::Large(Arc::new(Whole { events, _charge: charge }))
    }

    pub(crate) fn event(&self, part: usize) -> &Event {
        match self {
            Self::Small(whole, _) => &whole.events[part],
            Self::Large(whole) => &whole.events[part],
        }
    }

    /// The event for whoever wants to see all of it.
    pub(crate) fn into_whole(self) -> Arc<Whole> {
        match self {
            Self::Small(whole, _) => Arc::new(whole),
            Self::Large(whole) => whole,
        }
    }
}

impl Message {
    /// Whether it is sent as a copy.
    pub(crate) fn is_small(&self) -> bool {
        self.apart.is_none()
    }

    /// The header, and the frames of all streams, in order.
    pub(crate) fn parts(&self) -> SmallVec<[&[u8]; 8]> {
        let mut from = 0;
        let own = self.ends.iter().map(|end| &self.own[std::mem::replace(&mut from, *end)..*end]);
        let apart = self.apart.iter().flat_map(|(whole, parts)| parts.iter().map(|part| &whole.events[*part]));
        own.chain(apart.flat_map(|event| &event.frames).map(Frame::as_slice)).collect()
    }
}

/// Small messages that were sent: their memory is that of the next.
#[derive(Debug, Default)]
pub(crate) struct Spares(Vec<Arc<Message>>);

/// So many are on their way at once, usually.
const MOST_SPARES: usize = 1024;
/// For a header of one stream or two.
const ROOM: usize = 192;
/// What is larger was rare, and is not kept.
const LARGEST_SPARE: usize = 16 << 10;

impl Spares {
    /// The message of `parts` of an event. `header` writes the header.
    pub(crate) fn message(
        &mut self,
        header: impl FnOnce(&mut Vec<u8>),
        gathered: &Gathered,
        parts: &[usize],
        account: &Arc<Account>,
    ) -> Arc<Message> {
        let mut message = self.0.pop().unwrap_or_default();
        let new = Arc::get_mut(&mut message).expect("a spare has no other owner");
        new.own.reserve(ROOM + if let Gathered::Small(_, bytes) = gathered { *bytes } else { 0 });
        header(&mut new.own);
        new.ends.push(new.own.len());
        match gathered {
            Gathered::Small(whole, _) => {
                for frame in parts.iter().flat_map(|part| &whole.events[*part].frames) {
                    new.own.extend_from_slice(frame.as_slice());
                    new.ends.push(new.own.len());
                }
                new.bytes = MESSAGE_COST + new.own.len() as u64;
                new.charge = Some(account.take(new.bytes));
            }
            Gathered::Large(whole) => {
                let frames: usize = parts.iter().map(|part| whole.events[*part].bytes()).sum();
                new.bytes = MESSAGE_COST + (new.own.len() + frames) as u64;
                new.apart = Some((whole.clone(), parts.into()));
            }
        }
        message
    }

    /// Takes a message back that was sent, if nobody else has it.
    pub(crate) fn give_back(&mut self, mut message: Arc<Message>) {
        let Some(old) = Arc::get_mut(&mut message) else { return };
        if self.0.len() < MOST_SPARES && old.own.capacity() <= LARGEST_SPARE {
            old.own.clear();
            old.ends.clear();
            (old.apart, old.charge) = (None, None);
            self.0.push(message);
        }
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
        let mut spares = Spares::default();
        for (copy_below, small) in [(10, true), (9, false), (10, true)] {
            let events = [event(b""), event(b"abc")].into_iter().collect();
            let gathered = Gathered::new(events, &account, copy_below);
            let header = |own: &mut Vec<u8>| own.extend_from_slice(b"head");
            let message = spares.message(header, &gathered, &[0, 1], &account);
            let expected: [&[u8]; 5] = [b"head", b"", &[2; 3], b"abc", &[2; 3]];
            assert_eq!((message.parts().as_slice(), message.is_small()), (&expected[..], small));
            assert_eq!(message.bytes, MESSAGE_COST + 13);
            assert_eq!(account.used(), if small { message.bytes } else { MESSAGE_COST + 9 });
            // One that somebody still has is left to him.
            let other = message.clone();
            spares.give_back(message);
            assert_eq!((other.parts().len(), spares.0.len()), (5, 0));
            drop(gathered);
            spares.give_back(other);
            assert_eq!((account.used(), spares.0.len()), (0, 1));
        }
    }
}
