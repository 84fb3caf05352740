//! Commands of ZMTP 3: READY, PING, PONG, ERROR, and subscriptions.

use smallvec::SmallVec;

use crate::{
    fault::{Fault, Words},
    head::{COMMAND, Version, head},
};

/// Maximum size of a command in bytes. READY of libzmq has some 50, and a name of at most 255.
pub const LONGEST_COMMAND: usize = 4096;

/// A command of a peer.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command<'a> {
    /// The peer introduces itself; the properties are not read yet.
    Ready(&'a [u8]),
    /// Must be answered with [`pong`], with these bytes.
    Ping(&'a [u8]),
    /// An answer to a ping.
    Pong,
    /// A command that means nothing here. Those that are unknown have to be ignored.
    Other,
}

impl<'a> Command<'a> {
    /// Reads the body of a command.
    ///
    /// # Errors
    /// It is no command, or the peer reports an error.
    pub fn read(body: &'a [u8]) -> Result<Self, Fault> {
        let (name, data) = text(body).filter(|(name, _)| !name.is_empty()).ok_or(Fault::Command)?;
        match name {
            b"READY" => Ok(Self::Ready(data)),
            // The first two bytes are the peer's time limit.
            b"PING" => data.get(2..).map(Self::Ping).ok_or(Fault::Command),
            b"PONG" => Ok(Self::Pong),
            b"ERROR" => Err(Fault::Error(Words::new(text(data).ok_or(Fault::Command)?.0))),
            _ => Ok(Self::Other),
        }
    }
}

/// Appends the answer to a [`Command::Ping`].
pub fn pong(context: &[u8], out: &mut Vec<u8>) {
    // A context longer than 16 bytes is not allowed.
    command(b"PONG", &context[..context.len().min(16)], out);
}

/// Appends a ping that asks for no deadline: to a peer that waits for a sign of life, every command is one.
pub fn ping(out: &mut Vec<u8>) {
    // Two octets are the time to live, 0: none. There is no context.
    command(b"PING", &[0, 0], out);
}

/// The beginning of the first parts that a SUB socket wants.
pub type Prefix<'a> = &'a [u8];

/// Appends what subscribes to a prefix: since 3.1 a command, before a message.
pub fn subscription(version: Version, prefix: Prefix<'_>, out: &mut Vec<u8>) {
    if version >= Version::V3_1 {
        return command(b"SUBSCRIBE", prefix, out);
    }
    out.extend_from_slice(&head(version, 1 + prefix.len(), false));
    out.push(1);
    out.extend_from_slice(prefix);
}

pub(crate) fn command(name: &[u8], data: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&head(Version::V3_1, 1 + name.len() + data.len(), false));
    out[start] |= COMMAND;
    out.push(name.len() as u8);
    out.extend_from_slice(name);
    out.extend_from_slice(data);
}

/// The value of a property in READY.
pub(crate) type Value = SmallVec<[u8; 32]>;

/// Appends a property of READY.
pub(crate) fn property(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.push(name.len() as u8);
    out.extend_from_slice(name);
    out.extend_from_slice(&(value.len() as u32).to_be_bytes());
    out.extend_from_slice(value);
}

/// Reads the first property: its name, its value, and the rest.
pub(crate) fn read_property(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (name, rest) = text(bytes)?;
    let (length, rest) = rest.split_first_chunk()?;
    let (value, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    Some((name, value, rest))
}

/// A text with a length byte in front, and the rest.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::read_head;

    fn body(bytes: &[u8]) -> &[u8] {
        let (head, size) = read_head(Version::V3_1, bytes).unwrap().unwrap();
        assert!(head.command && head.length as usize == bytes.len() - size);
        &bytes[size..]
    }

    #[test]
    fn a_ping_is_answered_with_its_own_words() {
        for (context, answered) in [(&b""[..], &b""[..]), (b"abc", b"abc"), (&[1; 40], &[1; 16])] {
            let mut ping = Vec::new();
            command(b"PING", &[&[0, 5], context].concat(), &mut ping);
            assert_eq!(Command::read(body(&ping)), Ok(Command::Ping(context)));
            let mut out = Vec::new();
            pong(context, &mut out);
            assert_eq!(body(&out), [b"\x04PONG", answered].concat());
            assert_eq!(Command::read(body(&out)), Ok(Command::Pong));
        }
        let mut out = Vec::new();
        ping(&mut out);
        assert_eq!((body(&out), Command::read(body(&out))), (&b"\x04PING\0\0"[..], Ok(Command::Ping(b""))));
    }

    #[test]
    fn a_subscription_is_a_command_since_3_1_and_a_message_before() {
        let subscribed = |version| {
            let mut out = Vec::new();
            subscription(version, b"ab", &mut out);
            out
        };
        assert_eq!(subscribed(Version::V1), b"\x04\0\x01ab");
        assert_eq!(subscribed(Version::V2), b"\0\x03\x01ab");
        assert_eq!(subscribed(Version::V3_0), b"\0\x03\x01ab");
        assert_eq!(subscribed(Version::V3_1), b"\x04\x0c\x09SUBSCRIBEab");
    }

    #[test]
    fn what_is_unknown_is_ignored_and_what_is_broken_is_refused() {
        assert_eq!(Command::read(b"\x05HELLOworld"), Ok(Command::Other));
        for bytes in [&b""[..], b"\0", b"\x05PIN", b"\x04PING", b"\x04PING\0", b"\x05ERROR", b"\x05ERROR\x04abc"] {
            assert_eq!(Command::read(bytes), Err(Fault::Command), "{bytes:?}");
        }
        let told = Command::read(b"\x05ERROR\x05a\x1b[0m").unwrap_err();
        assert_eq!(told.to_string(), "reports an error: a\\x1b[0m");
    }
}
