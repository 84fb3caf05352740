//! Events of a capture on their way to the disk, in the file's format.
//!
//! Filled on the forwarder thread, which has the events in its processor's cache; written and emptied on the capture
//! thread. Small frames are copied, as in a message; large ones stay where they are.

use std::{
    fs::File,
    io::{self, IoSlice, Write},
};

use smallvec::SmallVec;

use crate::{
    budget::COPY_BELOW,
    capture::write::{FramePosition, StreamRef, write_event},
    ingester::{PairedEvent, message::LargeEvent},
    recycle::Pooled,
};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// All bytes except large frames.
    own: Vec<u8>,
    /// Large frames, in order: the index in `large_events` of the event of each, and its position.
    apart: Vec<(usize, FramePosition)>,
    large_events: Vec<Pooled<LargeEvent>>,
    /// The end of each event, counted from the chunk's first byte.
    ends: Vec<u64>,
}

/// Bytes that are written at once: a slow disk is seen to take them, and a stop need not wait for more. A stop waits 150 ms for
/// them, so a disk of some MB/s must be able to.
const PIECE: usize = 256 << 10;
/// Cost of an event beyond its bytes.
const EVENT_COST: u64 = 128;
/// Maximum size of its own buffer that a chunk keeps when it is emptied.
const LARGEST_SPARE: usize = 2 * super::CHUNK as usize;

impl Chunk {
    pub(super) fn events(&self) -> u64 {
        self.ends.len() as u64
    }

    /// Size in the file.
    pub(super) fn bytes(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Size in memory.
    pub(super) fn cost(&self) -> u64 {
        self.bytes() + EVENT_COST * self.events()
    }

    /// Adds an event.
    pub(super) fn add(&mut self, event: &PairedEvent<'_>) {
        let streams = event.streams.iter().zip(event.assembled.events()).map(|(name, event)| StreamRef {
            name: name.as_str(),
            typ: event.typ,
            frames: &event.frames,
        });
        let (before, mut large) = (self.own.len(), 0);
        write_event(&mut self.own, event.number, event.created_at, streams, |position, frame| {
            let stays = frame.len() >= COPY_BELOW;
            if stays {
                large += frame.len() as u64;
                self.apart.push((self.large_events.len(), position));
            }
            stays
        });
        self.large_events.extend(event.assembled.large_event().cloned());
        self.ends.push(self.bytes() + (self.own.len() - before) as u64 + large);
    }

    /// How many events end within the first `bytes`, and where the last of these ends.
    pub(super) fn whole_events(&self, bytes: u64) -> (u64, u64) {
        let events = self.ends.partition_point(|end| *end <= bytes);
        (events as u64, events.checked_sub(1).map_or(0, |last| self.ends[last]))
    }

    /// Writes everything, or as much as the disk takes: increases `written` accordingly, and asks `goes_on` before each
    /// piece.
    pub(super) fn write(&self, file: &mut File, written: &mut u64, goes_on: impl Fn(u64) -> bool) -> io::Result<()> {
        let mut from = 0;
        let mut slices = SmallVec::<[IoSlice<'_>; 32]>::with_capacity(2 * self.apart.len() + 1);
        for (event, FramePosition { at, stream, frame }) in &self.apart {
            slices.push(IoSlice::new(&self.own[from..*at]));
            let frame = self.large_events[*event].events[*stream].frames[*frame].as_slice();
            slices.extend(frame.chunks(PIECE).map(IoSlice::new));
            from = *at;
        }
        slices.push(IoSlice::new(&self.own[from..]));
        let mut slices = &mut slices[..];
        while !slices.is_empty() {
            if !goes_on(*written) {
                return Err(io::Error::other("its disk is too slow: framegate stops before everything is written"));
            }
            let mut bytes = 0;
            let is_in = |slice: &&IoSlice<'_>| {
                bytes += slice.len();
                bytes <= PIECE
            };
            let piece = slices.iter().take_while(is_in).count().max(1);
            match file.write_vectored(&slices[..piece]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    *written += n as u64;
                    IoSlice::advance_slices(&mut slices, n);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Releases everything except memory that can be reused.
    pub(super) fn empty(&mut self) {
        self.own.clear();
        self.own.shrink_to(LARGEST_SPARE);
        self.apart.clear();
        self.large_events.clear();
        self.ends.clear();
    }
}

#[cfg(test)]
mod tests {
    use crate::event::Event;
    use std::{io::Read as _, os::fd::OwnedFd, thread};

    use framegate_plugin_api::{EventKind, Frame};

    use super::*;
    use crate::{budget::Account, ingester::message::Messages, names::StreamName};

    #[test]
    fn its_bytes_are_those_of_its_events_one_after_the_other_also_where_little_is_taken_at_a_time() {
        let event = |frames: &[usize]| {
            let frames = frames.iter().enumerate().map(|(n, bytes)| Frame::from_vec(vec![n as u8; *bytes])).collect();
            Event { typ: "T", kind: EventKind::Data, frames }
        };
        let names = ["a", "b"].map(|name| StreamName::new(name).unwrap());
        let (mut messages, account) = (Messages::new(), Account::new(0, || ()));
        let (mut chunk, mut expected, mut ends) = (Chunk::default(), Vec::new(), Vec::new());
        for number in 0..40 {
            let large = 100_000 + number as usize;
            let first = match number % 4 {
                0 => event(&[0, COPY_BELOW - 1]),
                1 => event(&[COPY_BELOW, 3, large]),
                2 => event(&[]),
                _ => event(&[large, large]),
            };
            let events = [first, event(&[5, large])].into_iter().take(1 + number as usize % 2);
            let assembled = messages.assemble(events, &account);
            let streams = names.iter().take(assembled.events().len()).collect();
            chunk.add(&PairedEvent { number, created_at: "now", streams, assembled: &assembled });
            let refs = names.iter().zip(assembled.events());
            let refs = refs.map(|(name, event)| StreamRef { name: name.as_str(), typ: "T", frames: &event.frames });
            write_event(&mut expected, number, "now", refs, |_, _| false);
            ends.push(expected.len() as u64);
        }
        assert_eq!((chunk.events(), chunk.bytes()), (40, expected.len() as u64));
        assert_eq!(chunk.whole_events(ends[6] - 1), (6, ends[5]));
        assert_eq!(chunk.whole_events(ends[6]), (7, ends[6]));
        assert_eq!(chunk.whole_events(ends[0] - 1), (0, 0));
        // A pipe accepts some 64 KiB at a time.
        let (mut reader, writer) = io::pipe().unwrap();
        let read = thread::spawn(move || {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).unwrap();
            bytes
        });
        let mut written = 0;
        chunk.write(&mut File::from(OwnedFd::from(writer)), &mut written, |_| true).unwrap();
        assert_eq!(written, chunk.bytes());
        assert!(read.join().unwrap() == expected);
        chunk.empty();
        assert_eq!((chunk.events(), chunk.bytes(), chunk.cost(), chunk.large_events.len()), (0, 0, 0, 0));
    }
}
