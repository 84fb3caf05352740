//! ZMTP 3.1, as far as a ROUTER without security needs it: the bytes of greeting, commands and heads, and a parser for a peer's bytes.
//!
//! Values in, values out: it knows no socket. The protocol is <https://rfc.zeromq.org/spec/37/>; version 3.0, which every libzmq since
//! 4.0 speaks, differs in commands that a ROUTER does not need (<https://rfc.zeromq.org/spec/23/>).

use smallvec::SmallVec;

/// Another part of the same message follows.
const MORE: u8 = 1;
/// The length field has eight bytes.
const LONG: u8 = 2;
const COMMAND: u8 = 4;

const GREETING: usize = 64;
/// Our first bytes: signature, version 3.1, no security, not a server, and zeros.
pub(crate) const OUR_GREETING: [u8; GREETING] = {
    let mut greeting = [0; GREETING];
    (greeting[0], greeting[9]) = (0xff, 0x7f);
    (greeting[10], greeting[11]) = (3, 1);
    (greeting[12], greeting[13], greeting[14], greeting[15]) = (b'N', b'U', b'L', b'L');
    greeting
};
/// Our READY command.
pub(crate) const OUR_READY: &[u8] = b"\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06ROUTER";
/// Socket types that may talk to a ROUTER.
const PEERS: [&[u8]; 3] = [b"DEALER", b"REQ", b"ROUTER"];

/// Maximum size of a part's head in bytes.
pub(crate) const LONGEST_HEAD: usize = 9;

/// The head of a part.
pub(crate) fn head(length: usize, more: bool) -> SmallVec<[u8; LONGEST_HEAD]> {
    let more = if more { MORE } else { 0 };
    match u8::try_from(length) {
        Ok(short) => SmallVec::from_slice(&[more, short]),
        Err(_) => {
            let mut head = SmallVec::from_elem(more | LONG, 1);
            head.extend_from_slice(&(length as u64).to_be_bytes());
            head
        }
    }
}

/// Reads the head of one of our own parts: the part's length, and what follows the head. `None` at the end.
pub(crate) fn split_head(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match *bytes {
        [flags, ref rest @ ..] if flags & LONG != 0 => {
            let (length, rest) = rest.split_first_chunk()?;
            Some((usize::try_from(u64::from_be_bytes(*length)).ok()?, rest))
        }
        [_, length, ref rest @ ..] => Some((length.into(), rest)),
        _ => None,
    }
}

/// A parsed item from a peer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PeerItem<'a> {
    /// READY, once: the peer's identity, which may be empty.
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
    /// Not ZMTP 3 without security, or an unsuitable socket type.
    Stranger,
    /// A part is too long, or a message has no end.
    Endless,
    /// The peer reports an error or says something without meaning.
    Nonsense,
}

/// A parser for a peer's bytes, in pieces of any size.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    /// Incomplete data: at most one part.
    begun: Vec<u8>,
    stage: Stage,
    /// Number of bytes in the message's parts so far, with their heads.
    message: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    #[default]
    Greeting,
    Ready,
    Messages,
}

/// Pings have 16 bytes. A worker introduces itself with some 50, plus a name of up to 255.
const LONGEST_PART: usize = 512;
/// Maximum total size of a message. Our memory does not grow with its parts.
const LONGEST_MESSAGE: usize = 16 << 10;

impl Parser {
    /// Whether the peer has completed the handshake.
    pub(crate) fn is_ready(&self) -> bool {
        self.stage == Stage::Messages
    }

    /// Parses further bytes.
    ///
    /// # Errors
    /// The rest of the stream cannot be parsed, so the connection has to end.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut handle: impl FnMut(PeerItem<'_>)) -> Result<(), Fault> {
        if self.begun.is_empty() {
            let used = self.parse(bytes, &mut handle)?;
            self.begun.extend_from_slice(&bytes[used..]);
        } else {
            let mut begun = std::mem::take(&mut self.begun);
            begun.extend_from_slice(bytes);
            let used = self.parse(&begun, &mut handle)?;
            begun.drain(..used);
            self.begun = begun;
        }
        Ok(())
    }

    /// Returns the number of completely parsed bytes.
    fn parse(&mut self, bytes: &[u8], handle: &mut impl FnMut(PeerItem<'_>)) -> Result<usize, Fault> {
        let mut used = 0;
        if self.stage == Stage::Greeting {
            if !may_be_greeting(bytes) {
                return Err(Fault::Stranger);
            }
            if bytes.len() < GREETING {
                return Ok(0);
            }
            (self.stage, used) = (Stage::Ready, GREETING);
        }
        while let Some(Part { flags, body, end }) = part(&bytes[used..])? {
            used += end;
            if flags & COMMAND != 0 {
                self.command(body, handle)?;
            } else if self.stage == Stage::Messages {
                self.part(flags & MORE != 0, body, handle)?;
            } else {
                return Err(Fault::Stranger);
            }
        }
        Ok(used)
    }

    fn part(&mut self, more: bool, body: &[u8], handle: &mut impl FnMut(PeerItem<'_>)) -> Result<(), Fault> {
        if more {
            // At least two bytes are counted for each head: so an endless series of empty parts is refused too.
            self.message += body.len() + 2;
            return if self.message > LONGEST_MESSAGE { Err(Fault::Endless) } else { Ok(()) };
        }
        let is_first = std::mem::take(&mut self.message) == 0;
        handle(if is_first { PeerItem::Message(body) } else { PeerItem::Parts });
        Ok(())
    }

    fn command(&mut self, body: &[u8], handle: &mut impl FnMut(PeerItem<'_>)) -> Result<(), Fault> {
        let (name, data) = text(body).ok_or(Fault::Nonsense)?;
        match (self.stage, name) {
            (Stage::Ready, b"READY") => {
                let identity = identity(data).ok_or(Fault::Stranger)?;
                self.stage = Stage::Messages;
                handle(PeerItem::Ready(identity));
            }
            (Stage::Ready, _) => return Err(Fault::Stranger),
            // The first two bytes are the peer's time limit; the rest is its context.
            (_, b"PING") => handle(PeerItem::Ping(data.get(2..).ok_or(Fault::Nonsense)?)),
            (_, b"ERROR") => return Err(Fault::Nonsense),
            _ => {}
        }
        Ok(())
    }
}

/// Whether a greeting can begin like this: another protocol is recognised from its first bytes.
fn may_be_greeting(bytes: &[u8]) -> bool {
    bytes.iter().enumerate().take(GREETING).all(|(place, byte)| match place {
        0 => *byte == 0xff,
        9 => byte & 1 == 1,
        10 => *byte >= 3,
        12..32 => *byte == OUR_GREETING[place],
        _ => true,
    })
}

struct Part<'a> {
    flags: u8,
    body: &'a [u8],
    /// Offset of its end.
    end: usize,
}

/// The first part; `None` if it is not complete.
fn part(bytes: &[u8]) -> Result<Option<Part<'_>>, Fault> {
    let Some((&flags, rest)) = bytes.split_first() else { return Ok(None) };
    let (length, head) = if flags & LONG == 0 {
        let Some(length) = rest.first() else { return Ok(None) };
        (u64::from(*length), 2)
    } else {
        let Some(length) = rest.first_chunk() else { return Ok(None) };
        (u64::from_be_bytes(*length), 9)
    };
    if length > LONGEST_PART as u64 {
        return Err(Fault::Endless);
    }
    let end = head + length as usize;
    Ok(bytes.get(head..end).map(|body| Part { flags, body, end }))
}

/// A text with a length byte in front, and the rest.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// The identity that a peer gives itself; `None` if the peer may not talk to us.
fn identity(mut metadata: &[u8]) -> Option<&[u8]> {
    let (mut identity, mut is_peer) = (&[][..], false);
    while !metadata.is_empty() {
        let (name, rest) = text(metadata)?;
        let (length, rest) = rest.split_first_chunk()?;
        let (value, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        metadata = rest;
        if name.eq_ignore_ascii_case(b"Identity") {
            identity = value;
        } else if name.eq_ignore_ascii_case(b"Socket-Type") {
            is_peer = PEERS.contains(&value);
        }
    }
    (is_peer && identity.len() <= 255).then_some(identity)
}

/// The answer to [`PeerItem::Ping`].
pub(crate) fn pong(context: &[u8]) -> Vec<u8> {
    // A context longer than 16 bytes is not allowed.
    let context = &context[..context.len().min(16)];
    let mut pong = vec![COMMAND, 5 + context.len() as u8];
    pong.extend_from_slice(b"\x04PONG");
    pong.extend_from_slice(context);
    pong
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The parts in a message's bytes.
    pub(crate) fn parts(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut parts = Vec::new();
        while let [flags, rest @ ..] = bytes {
            let (length, rest) = match flags & LONG {
                0 => (usize::from(rest[0]), &rest[1..]),
                _ => (u64::from_be_bytes(rest[..8].try_into().unwrap()) as usize, &rest[8..]),
            };
            let (part, rest) = rest.split_at(length);
            assert_eq!(flags & MORE != 0, !rest.is_empty(), "only the last part says that none follows");
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
        [&[COMMAND, body.len() as u8], &body[..]].concat()
    }

    fn property(name: &str, value: &[u8]) -> Vec<u8> {
        [&[name.len() as u8], name.as_bytes(), &(value.len() as u32).to_be_bytes(), value].concat()
    }

    fn hello(kind: &str, identity: &[u8]) -> Vec<u8> {
        let about = [property("Socket-Type", kind.as_bytes()), property("identity", identity)].concat();
        [&OUR_GREETING[..], &command("READY", &about)].concat()
    }

    /// The result of parsing these bytes in pieces of `size`: the items, and how it ends.
    fn heard(bytes: &[u8], size: usize) -> (Vec<String>, Result<(), Fault>) {
        let (mut parser, mut all) = (Parser::default(), Vec::new());
        for piece in bytes.chunks(size) {
            let fed = parser.feed(piece, |item| all.push(format!("{item:?}")));
            assert!(parser.begun.len() < LONGEST_PART + LONGEST_HEAD, "little is kept");
            if fed.is_err() {
                return (all, fed);
            }
        }
        (all, Ok(()))
    }

    #[test]
    fn our_own_words_are_well_formed() {
        assert_eq!(OUR_READY, command("READY", &property("Socket-Type", b"ROUTER")));
        let (items, end) = heard(&[&OUR_GREETING[..], OUR_READY].concat(), 1);
        assert_eq!((items, end), (vec!["Ready([])".to_owned()], Ok(())));
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
            let mut greeting = OUR_GREETING;
            greeting[place] = byte;
            greeting.to_vec()
        };
        let greeted = |more: Vec<u8>| [OUR_GREETING.to_vec(), more].concat();
        let strangers = [
            b"GET / HTTP/1.1".to_vec(),
            with(9, 0),
            with(10, 1),
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
        assert_eq!(end(vec![LONG, 0xff, 0, 0, 0, 0, 0, 0, 0]), Err(Fault::Endless));
        for length in [0, 1, 500] {
            let part = [&head(length, true)[..], &vec![0; length]].concat();
            assert_eq!(end(part.repeat(LONGEST_MESSAGE / (length + 2) + 1)), Err(Fault::Endless));
        }
        assert_eq!(end(command("ERROR", b"\x04gone")), Err(Fault::Nonsense));
        assert_eq!(end(command("PING", b"")), Err(Fault::Nonsense));
        assert_eq!(end(vec![COMMAND, 1, 9]), Err(Fault::Nonsense));
    }

    #[test]
    fn a_ping_is_answered_with_its_own_words() {
        assert_eq!(pong(b"abc"), command("PONG", b"abc"));
        assert_eq!(pong(&[1; 400]), command("PONG", &[1; 16]));
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
