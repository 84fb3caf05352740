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
#[derive(Debug)]
pub(crate) struct Message {
    body: Body,
    /// Bytes of header, frames and our own structures.
    pub(crate) bytes: u64,
}

#[derive(Debug)]
enum Body {
    /// Header and frames, one after the other; where each of them ends; their bytes in the account of assembled messages.
    Together { bytes: Vec<u8>, ends: SmallVec<[usize; 4]>, _charge: Charge },
    /// The charge is shared by the messages of one event, as its frames are.
    Apart { header: Vec<u8>, events: SmallVec<[Arc<Event>; 1]>, _charge: Arc<Charge> },
}

impl Message {
    /// A message of its own. `header` has room for the frames, best.
    pub(crate) fn copied<'a>(header: Vec<u8>, events: impl Iterator<Item = &'a Event>, account: &Arc<Account>) -> Self {
        let (mut bytes, mut ends) = (header, SmallVec::new());
        ends.push(bytes.len());
        for frame in events.flat_map(|event| &event.frames) {
            bytes.extend_from_slice(frame.as_slice());
            ends.push(bytes.len());
        }
        let cost = MESSAGE_COST + bytes.len() as u64;
        Self { body: Body::Together { bytes, ends, _charge: account.take(cost) }, bytes: cost }
    }

    /// A message around frames, of `frames` bytes, that stay where they are.
    pub(crate) fn around(
        header: Vec<u8>,
        events: SmallVec<[Arc<Event>; 1]>,
        frames: usize,
        charge: Arc<Charge>,
    ) -> Self {
        let bytes = MESSAGE_COST + (header.len() + frames) as u64;
        Self { body: Body::Apart { header, events, _charge: charge }, bytes }
    }

    /// Whether it is sent as a copy.
    pub(crate) fn is_small(&self) -> bool {
        matches!(self.body, Body::Together { .. })
    }

    /// The header, and the frames of all streams, in order.
    pub(crate) fn parts(&self) -> SmallVec<[&[u8]; 8]> {
        match &self.body {
            Body::Together { bytes, ends, .. } => {
                let mut from = 0;
                ends.iter().map(|end| &bytes[std::mem::replace(&mut from, *end)..*end]).collect()
            }
            Body::Apart { header, events, .. } => {
                let frames = events.iter().flat_map(|event| &event.frames).map(Frame::as_slice);
                std::iter::once(header.as_slice()).chain(frames).collect()
            }
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
            Arc::new(Event { typ: "T", kind: EventKind::Data, frames })
        };
        let events: SmallVec<[_; 1]> = [event(b""), event(b"abc")].into_iter().collect();
        let account = Account::new(1 << 20, || ());
        let copied = Message::copied(b"head".to_vec(), events.iter().map(|event| &**event), &account);
        assert_eq!(account.used(), copied.bytes);
        let around = Message::around(b"head".to_vec(), events, 9, Arc::new(account.take(0)));
        for (message, small) in [(copied, true), (around, false)] {
            let expected: [&[u8]; 5] = [b"head", b"", &[2; 3], b"abc", &[2; 3]];
            assert_eq!((message.parts().as_slice(), message.is_small()), (&expected[..], small));
            assert_eq!(message.bytes, MESSAGE_COST + 13);
        }
        assert_eq!(account.used(), 0);
    }
}
