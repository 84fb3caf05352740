//! ZeroMQ's protocol at the workers' port: the heads of what is sent, and a parser for what workers say.
//!
//! Values in, values out: it knows no socket. The protocol itself is `framegate-zmtp`; this adds what a port that anybody can
//! reach accepts of it. Version 1.0 is refused: its heads differ, and messages are written once for all workers.

use std::time::Instant;

use framegate_zmtp::{Command, Handshake, Head, LONGEST_COMMAND, Peer, Role, Version, read_head};
pub(crate) use framegate_zmtp::{LONGEST_HEAD, pong};
use smallvec::SmallVec;

/// The head of a part, for each version since 2.0.
pub(crate) fn head(length: usize, more: bool) -> SmallVec<[u8; LONGEST_HEAD]> {
    framegate_zmtp::head(Version::V3_1, length, more)
}

/// Reads the head of one of our own parts: the part's length, and what follows the head. `None` at the end.
pub(crate) fn split_head(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (head, size) = read_head(Version::V3_1, bytes).ok()??;
    Some((usize::try_from(head.length).ok()?, &bytes[size..]))
}

/// A parsed item from a peer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PeerItem<'a> {
    /// Its introduction, once: the peer's identity, which may be empty.
    Ready(&'a [u8]),
    /// A message of one part.
    Message(&'a [u8]),
    /// A message of more parts.
    Parts,
    /// A ping; the bytes must be returned to the peer.
    Ping(&'a [u8]),
}

/// The reason to end a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not ZMTP without security, too old, or an unsuitable socket type.
    Stranger,
    /// A part is too long, or a message has no end.
    Endless,
    /// The peer reports an error or says something without meaning.
    Nonsense,
}

/// A parser for a peer's bytes, in pieces of any size.
#[derive(Debug)]
pub(crate) struct Parser {
    /// Incomplete data: at most one part or command.
    begun: Vec<u8>,
    stage: Stage,
    /// Number of bytes in the message's parts so far, with their heads.
    message: usize,
}

#[derive(Debug)]
enum Stage {
    Handshake(Handshake),
    Messages(Version),
}

/// Pings have 16 bytes. A worker introduces itself with some 50, plus a name of up to 255.
const LONGEST_PART: usize = 512;
/// Maximum total size of a message. Our memory does not grow with its parts.
const LONGEST_MESSAGE: usize = 16 << 10;

impl Parser {
    /// At a new connection. Appends the first bytes for the peer.
    pub(crate) fn begin(now: Instant, out: &mut Vec<u8>) -> Self {
        let stage = Stage::Handshake(Handshake::begin(Role::Router, now, out));
        Self { begun: Vec::new(), stage, message: 0 }
    }

    /// Whether the peer has completed the handshake.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.stage, Stage::Messages(_))
    }

    /// Parses further bytes. Appends what the handshake has to send.
    ///
    /// # Errors
    /// The rest of the stream cannot be parsed, so the connection has to end.
    pub(crate) fn feed(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        mut handle: impl FnMut(PeerItem<'_>, &mut Vec<u8>),
    ) -> Result<(), Fault> {
        if self.begun.is_empty() {
            let used = self.parse(bytes, out, &mut handle)?;
            self.begun.extend_from_slice(&bytes[used..]);
        } else {
            let mut begun = std::mem::take(&mut self.begun);
            begun.extend_from_slice(bytes);
            let used = self.parse(&begun, out, &mut handle)?;
            begun.drain(..used);
            self.begun = begun;
        }
        Ok(())
    }

    /// Returns the number of completely parsed bytes.
    fn parse(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        handle: &mut impl FnMut(PeerItem<'_>, &mut Vec<u8>),
    ) -> Result<usize, Fault> {
        let mut used = 0;
        let version = match &mut self.stage {
            Stage::Messages(version) => *version,
            Stage::Handshake(handshake) => {
                let (taken, peer) = handshake.take(bytes, out).map_err(|_| Fault::Stranger)?;
                let Some(Peer { version, identity, .. }) = peer else { return Ok(taken) };
                if version == Version::V1 {
                    return Err(Fault::Stranger);
                }
                self.stage = Stage::Messages(version);
                handle(PeerItem::Ready(&identity), out);
                used = taken;
                version
            }
        };
        while let Some((head, size)) = read_head(version, &bytes[used..]).map_err(|_| Fault::Nonsense)? {
            let longest = if head.command { LONGEST_COMMAND } else { LONGEST_PART };
            if head.length > longest as u64 {
                return Err(Fault::Endless);
            }
            let (start, end) = (used + size, used + size + head.length as usize);
            let Some(body) = bytes.get(start..end) else { break };
            used = end;
            if !head.command {
                self.part(head, body, out, handle)?;
            } else if let Command::Ping(context) = Command::read(body).map_err(|_| Fault::Nonsense)? {
                handle(PeerItem::Ping(context), out);
            }
        }
        Ok(used)
    }

    fn part(
        &mut self,
        head: Head,
        body: &[u8],
        out: &mut Vec<u8>,
        handle: &mut impl FnMut(PeerItem<'_>, &mut Vec<u8>),
    ) -> Result<(), Fault> {
        if head.more {
            // At least two bytes are counted for each head: so an endless series of empty parts is refused too.
            self.message += body.len() + 2;
            return if self.message > LONGEST_MESSAGE { Err(Fault::Endless) } else { Ok(()) };
        }
        let is_first = std::mem::take(&mut self.message) == 0;
        handle(if is_first { PeerItem::Message(body) } else { PeerItem::Parts }, out);
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    const GREETING: [u8; 64] = {
        let mut greeting = [0; 64];
        (greeting[0], greeting[8], greeting[9]) = (0xff, 1, 0x7f);
        (greeting[10], greeting[11]) = (3, 1);
        (greeting[12], greeting[13], greeting[14], greeting[15]) = (b'N', b'U', b'L', b'L');
        greeting
    };

    /// The parts in a message's bytes.
    pub(crate) fn parts(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut parts = Vec::new();
        while let Some((head, size)) = read_head(Version::V3_1, bytes).unwrap() {
            let (part, rest) = bytes[size..].split_at(head.length as usize);
            assert_eq!(head.more, !rest.is_empty(), "only the last part says that none follows");
            parts.push(part.to_vec());
            bytes = rest;
        }
        parts
    }

    fn message(parts: &[&[u8]]) -> Vec<u8> {
        let last = parts.len() - 1;
        let part = |(place, part): (usize, &&[u8])| [&head(part.len(), place < last)[..], part].concat();
        parts.iter().enumerate().flat_map(part).collect()
    }

    fn command(name: &str, data: &[u8]) -> Vec<u8> {
        let body = [&[name.len() as u8], name.as_bytes(), data].concat();
        let mut command = [&head(body.len(), false)[..], &body].concat();
        command[0] |= 4;
        command
    }

    fn property(name: &str, value: &[u8]) -> Vec<u8> {
        [&[name.len() as u8], name.as_bytes(), &(value.len() as u32).to_be_bytes(), value].concat()
    }

    fn hello(kind: &str, identity: &[u8]) -> Vec<u8> {
        let about = [property("Socket-Type", kind.as_bytes()), property("identity", identity)].concat();
        [&GREETING[..], &command("READY", &about)].concat()
    }

    /// The result of parsing these bytes in pieces of `size`: the items, and how it ends.
    fn heard(bytes: &[u8], size: usize) -> (Vec<String>, Result<(), Fault>) {
        let (mut out, mut all) = (Vec::new(), Vec::new());
        let mut parser = Parser::begin(Instant::now(), &mut out);
        for piece in bytes.chunks(size) {
            let fed = parser.feed(piece, &mut out, |item, _| all.push(format!("{item:?}")));
            assert!(parser.begun.len() < LONGEST_COMMAND + LONGEST_HEAD, "little is kept");
            if fed.is_err() {
                return (all, fed);
            }
        }
        (all, Ok(()))
    }

    #[test]
    fn a_worker_is_understood_in_pieces_of_every_size() {
        let bytes = [
            hello("DEALER", b"w1"),
            message(&[&[7; 16]]),
            message(&[b"", b"two"]),
            command("PING", b"\x00\x05abc"),
            command("SUBSCRIBE", b"x"),
            message(&[&[1; LONGEST_PART]]),
        ]
        .concat();
        let expected = [
            format!("Ready({:?})", b"w1"),
            format!("Message({:?})", [7; 16]),
            "Parts".to_owned(),
            format!("Ping({:?})", b"abc"),
            format!("Message({:?})", [1; LONGEST_PART]),
        ];
        // Under Miri each takes seconds.
        for size in (1..=bytes.len()).step_by(if cfg!(miri) { 101 } else { 1 }) {
            let (items, end) = heard(&bytes, size);
            assert_eq!((&items[..], end), (&expected[..], Ok(())), "in pieces of {size}");
        }
    }

    #[test]
    fn whoever_is_no_peer_is_told_apart_at_once() {
        let with = |place: usize, byte: u8| {
            let mut greeting = GREETING;
            greeting[place] = byte;
            greeting.to_vec()
        };
        let greeted = |more: Vec<u8>| [GREETING.to_vec(), more].concat();
        let strangers = [
            b"GET / HTTP/1.1".to_vec(),
            // Version 1.0, with an identity.
            b"\x03\0w1".to_vec(),
            with(9, 0),
            with(10, 0),
            with(12, b'P'),
            with(16, b'X'),
            hello("SUB", b""),
            hello("DEALER", &[1; 256]),
            greeted(command("READY", b"\x0bSocket-Type\x00\x00\x01\x00DEALER")),
            greeted(command("HELLO", b"")),
            greeted(message(&[b"no introduction"])),
        ];
        for (number, bytes) in strangers.iter().enumerate() {
            assert_eq!(heard(bytes, 1), (vec![], Err(Fault::Stranger)), "stranger {number}");
        }
    }

    #[test]
    fn what_has_no_end_or_no_meaning_ends() {
        let end = |more: Vec<u8>| heard(&[hello("DEALER", b""), more].concat(), 1000).1;
        assert_eq!(end(message(&[&[0; LONGEST_PART + 1]])), Err(Fault::Endless));
        assert_eq!(end(vec![2, 0x7f, 0, 0, 0, 0, 0, 0, 0]), Err(Fault::Endless));
        for length in [0, 1, 500] {
            let part = [&head(length, true)[..], &vec![0; length]].concat();
            assert_eq!(end(part.repeat(LONGEST_MESSAGE / (length + 2) + 1)), Err(Fault::Endless));
        }
        assert_eq!(end(command("ERROR", b"\x04gone")), Err(Fault::Nonsense));
        assert_eq!(end(command("PING", b"")), Err(Fault::Nonsense));
        assert_eq!(end(vec![4, 1, 9]), Err(Fault::Nonsense));
    }

    #[test]
    fn a_worker_of_version_2_is_understood() {
        let introduction = b"\xff\0\0\0\0\0\0\0\x01\x7f\x01\x05\0\x02w2";
        let (items, end) = heard(&[&introduction[..], &message(&[&[7; 16]])].concat(), 1);
        assert_eq!(items, [format!("Ready({:?})", b"w2"), format!("Message({:?})", [7; 16])]);
        assert_eq!(end, Ok(()));
    }

    proptest! {
        #[test]
        fn nonsense_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300), size in 1..40usize) {
            let all = [hello("DEALER", b"w"), bytes].concat();
            let in_pieces = heard(&all, size);
            prop_assert_eq!(in_pieces, heard(&all, all.len()));
        }
    }
}
