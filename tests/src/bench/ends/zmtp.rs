//! The part of ZMTP 3.0 (<https://rfc.zeromq.org/spec/23/>) that benchmarks need: the handshake without security, heads
//! of frames, and two parsers that read only heads. `Walk` follows a connection in pieces of any size, for the ends;
//! [`extent`] finds whole messages in a buffer, for a relay.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use anyhow::ensure;

use super::{MAGIC, STAMP};

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// Exchanges greetings, and says the socket's type and identity.
///
/// # Errors
/// The connection ends, or the other side speaks something else.
pub fn shake_hands(stream: &mut TcpStream, kind: &str, identity: &str) -> anyhow::Result<()> {
    let mut greeting = [0; 64];
    greeting[0] = 0xff;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    greeting[12..16].copy_from_slice(b"NULL");
    stream.write_all(&greeting)?;
    stream.read_exact(&mut greeting)?;
    ensure!(greeting[10] >= 3 && greeting[12..17] == *b"NULL\0", "the other side speaks something else: {greeting:?}");

    let mut ready = b"\x05READY".to_vec();
    for (name, value) in [("Socket-Type", kind), ("Identity", identity)] {
        ready.push(u8::try_from(name.len())?);
        ready.extend_from_slice(name.as_bytes());
        ready.extend_from_slice(&u32::try_from(value.len())?.to_be_bytes());
        ready.extend_from_slice(value.as_bytes());
    }
    stream.write_all(&[COMMAND, u8::try_from(ready.len())?])?;
    stream.write_all(&ready)?;
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    ensure!(head[0] == COMMAND, "the other side does not say what it is");
    let mut command = vec![0; usize::from(head[1])];
    stream.read_exact(&mut command)?;
    ensure!(command.starts_with(b"\x05READY"), "the other side says {:?}", String::from_utf8_lossy(&command));
    Ok(())
}

/// Writes the head of a frame.
pub fn head(into: &mut Vec<u8>, length: usize, more: bool) {
    let more = if more { MORE } else { 0 };
    match u8::try_from(length) {
        Ok(short) => into.extend_from_slice(&[more, short]),
        Err(_) => {
            into.push(more | LONG);
            into.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// A message of one frame.
pub(crate) fn message(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    head(&mut bytes, body.len(), false);
    bytes.extend_from_slice(body);
    bytes
}

/// How far the first message reaches in some received bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// The message has arrived.
    Whole {
        /// Its length, heads included.
        bytes: usize,
        /// Whether it is one frame.
        is_single: bool,
    },
    /// It needs at least this many bytes, so far as its heads tell.
    AtLeast(usize),
}

/// Finds the end of the first message.
#[must_use]
pub fn extent(bytes: &[u8]) -> Extent {
    let (mut end, mut is_single) = (0usize, true);
    loop {
        let needed = bytes.get(end).map_or(2, |flags| head_length(*flags));
        let Some(head) = bytes.get(end..end + needed) else { return Extent::AtLeast(end + needed) };
        end += needed + usize::try_from(body_length(head)).unwrap_or(usize::MAX / 2);
        if head[0] & MORE == 0 {
            let is_whole = end <= bytes.len();
            return if is_whole { Extent::Whole { bytes: end, is_single } } else { Extent::AtLeast(end) };
        }
        is_single = false;
    }
}

/// The length of a head, from its first byte.
fn head_length(flags: u8) -> usize {
    if flags & LONG == 0 { 2 } else { 9 }
}

/// The length of a frame's body, from its whole head.
fn body_length(head: &[u8]) -> u64 {
    let mut length = [0; 8];
    length[9 - head.len()..].copy_from_slice(&head[1..]);
    u64::from_be_bytes(length)
}

/// Parses the frames of a connection, from pieces of any size.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// The received part of the frame's head.
    head: [u8; 9],
    head_length: usize,
    /// Number of missing bytes of the frame's body; `None` between frames.
    body: Option<u64>,
    /// The beginning of the body, if stamps are needed.
    stamp: [u8; STAMP],
    stamp_length: usize,
    wants_stamps: bool,
}

impl Walk {
    pub(crate) fn new(wants_stamps: bool) -> Self {
        Self { wants_stamps, ..Self::default() }
    }

    /// Number of next bytes that need not be read.
    pub(crate) fn unseen(&self) -> u64 {
        let is_seen = !self.wants_stamps || self.stamp_length == STAMP;
        self.body.filter(|_| is_seen).unwrap_or(0)
    }

    /// Skips `bytes` bytes of [`Walk::unseen`].
    pub(crate) fn skip(&mut self, bytes: usize, message: &mut impl FnMut(Option<u64>)) {
        if let Some(left) = &mut self.body {
            *left -= bytes as u64;
        }
        self.end_frame(message);
    }

    /// Continues with these bytes; calls `message` at the end of each message, with the stamp of its last frame.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], message: &mut impl FnMut(Option<u64>)) {
        while let Some(first) = bytes.first() {
            if let Some(left) = self.body {
                let here = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
                if self.wants_stamps {
                    let wanted = here.min(STAMP - self.stamp_length);
                    self.stamp[self.stamp_length..][..wanted].copy_from_slice(&bytes[..wanted]);
                    self.stamp_length += wanted;
                }
                bytes = &bytes[here..];
                self.skip(here, message);
                continue;
            }
            if self.head_length == 0 {
                self.head[0] = *first;
            }
            let needed = head_length(self.head[0]);
            let here = bytes.len().min(needed - self.head_length);
            self.head[self.head_length..][..here].copy_from_slice(&bytes[..here]);
            self.head_length += here;
            bytes = &bytes[here..];
            if self.head_length == needed {
                self.body = Some(body_length(&self.head[..needed]));
                self.stamp_length = 0;
                self.end_frame(message);
            }
        }
    }

    fn end_frame(&mut self, message: &mut impl FnMut(Option<u64>)) {
        if self.body != Some(0) {
            return;
        }
        self.body = None;
        self.head_length = 0;
        if self.head[0] & (MORE | COMMAND) == 0 {
            message(read_stamp(&self.stamp[..self.stamp_length]));
        }
    }
}

/// The stamp at the beginning of a part, if it has one.
pub(crate) fn read_stamp(part: &[u8]) -> Option<u64> {
    let stamp = part.get(..STAMP).filter(|stamp| stamp.starts_with(&MAGIC))?;
    Some(u64::from_le_bytes(stamp[8..].try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{super::block::write_stamp, *};

    #[test]
    fn messages_are_found_in_pieces_of_every_size() {
        let mut bytes = Vec::new();
        let mut stamped = vec![0; 300];
        write_stamp(&mut stamped, 77);
        for (body, more) in [(&b"{}"[..], true), (&[][..], true), (&stamped[..], false), (&[1; 40][..], false)] {
            head(&mut bytes, body.len(), more);
            bytes.extend_from_slice(body);
        }
        for size in 1..bytes.len() {
            let mut walk = Walk::new(true);
            let mut found = Vec::new();
            for piece in bytes.chunks(size) {
                walk.feed(piece, &mut |stamp| found.push(stamp));
            }
            assert_eq!(found, [Some(77), None], "in pieces of {size}");
        }
    }

    #[test]
    fn a_whole_message_is_found_and_one_that_is_not_whole_says_how_much_it_needs() {
        let mut bytes = Vec::new();
        for (length, more) in [(2, true), (300, false), (4, false)] {
            head(&mut bytes, length, more);
            bytes.resize(bytes.len() + length, 7);
        }
        let first = 2 + 2 + 9 + 300;
        assert_eq!(extent(&bytes), Extent::Whole { bytes: first, is_single: false });
        assert_eq!(extent(&bytes[first..]), Extent::Whole { bytes: 6, is_single: true });
        for (received, needed) in [(0, 2), (1, 2), (2, 6), (4, 6), (5, 13), (12, 13), (13, first), (first - 1, first)] {
            assert_eq!(extent(&bytes[..received]), Extent::AtLeast(needed), "of {received}");
        }
    }

    #[test]
    fn what_need_not_be_seen_is_the_rest_of_a_body() {
        let mut walk = Walk::new(false);
        let mut found = 0;
        let mut bytes = Vec::new();
        head(&mut bytes, 1000, false);
        walk.feed(&bytes, &mut |_| found += 1);
        assert_eq!(walk.unseen(), 1000);
        walk.skip(999, &mut |_| found += 1);
        assert_eq!((walk.unseen(), found), (1, 0));
        walk.skip(1, &mut |_| found += 1);
        assert_eq!((walk.unseen(), found), (0, 1));
    }
}
