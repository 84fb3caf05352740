//! The beginning of a connection: both ends find the version that both speak, and introduce themselves.
//!
//! A peer of each version must be able to read our bytes, so they go out in steps, as libzmq's do: first ten that also are
//! the introduction of version 1.0, then ours of the version that the peer's bytes show.

use std::time::{Duration, Instant};

use crate::{
    command::{Command, LONGEST_COMMAND, Value, command, property, read_property},
    fault::{Fault, Words},
    head::{Version, head, read_head},
    kind::{Role, SocketType},
};

/// A peer that has introduced itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The version to talk to it.
    pub version: Version,
    /// What it is. Version 1.0 does not tell it.
    pub socket_type: Option<SocketType>,
    /// Its name for a ROUTER, at most 255 bytes; mostly empty.
    pub identity: Value,
}

/// How long a peer may take to introduce itself. libzmq waits as long by default (ZMQ_HANDSHAKE_IVL).
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(30);

/// The state of a handshake.
#[derive(Debug)]
pub struct Handshake {
    role: Role,
    stage: Stage,
    began: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The peer's first bytes decide whether it greets.
    Signature,
    /// It greets: the version follows.
    Revision,
    /// Version 2.0 or 1.0: its socket type, if there is one, and its identity as a part.
    Identity(Version, Option<SocketType>),
    /// Version 3: the rest of the greeting.
    Greeting,
    /// Version 3: READY.
    Ready(Version),
}

/// Our first bytes. For version 1.0 they are the head of an empty identity.
const SIGNATURE: [u8; 10] = [0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f];
/// The version that we speak if the peer does.
const MAJOR: u8 = 3;
const MINOR: u8 = 1;
/// Bytes of version 3's greeting.
const GREETING: usize = 64;
/// Name of the only mechanism, with zeros behind.
const MECHANISM: [u8; 20] = *b"NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

impl Handshake {
    /// Begins one at a new connection. Appends the first bytes for the peer.
    pub fn begin(role: Role, now: Instant, out: &mut Vec<u8>) -> Self {
        out.extend_from_slice(&SIGNATURE);
        Self { role, stage: Stage::Signature, began: now }
    }

    /// When the peer must have introduced itself.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.began + HANDSHAKE_LIMIT
    }

    /// Takes bytes of the peer: all that were not used before, with what has come since. Appends what has to be sent, and
    /// returns how many bytes are used, and the peer at the end. Not used are at most [`LONGEST_COMMAND`] bytes and a head.
    ///
    /// # Errors
    /// The peer may not talk to us. What was appended before should still be sent: it tells the peer who we are.
    pub fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(usize, Option<Peer>), Fault> {
        let mut used = 0;
        loop {
            let bytes = &bytes[used..];
            let stage = self.stage;
            match stage {
                Stage::Signature => match *bytes {
                    // A greeting, or the head of a long identity: the tenth byte would be its flags, which are zero.
                    [0xff, ref rest @ ..] => match rest.get(8) {
                        Some(last) if last & 1 == 1 => {
                            out.push(MAJOR);
                            self.stage = Stage::Revision;
                        }
                        Some(_) => self.stage = Stage::Identity(Version::V1, None),
                        None => return Ok((used, None)),
                    },
                    [_, ..] => self.stage = Stage::Identity(Version::V1, None),
                    [] => return Ok((used, None)),
                },
                Stage::Revision => match bytes.get(SIGNATURE.len()) {
                    None => return Ok((used, None)),
                    Some(0) => return Err(Fault::NotZmtp),
                    Some(1 | 2) => {
                        let Some(number) = bytes.get(SIGNATURE.len() + 1) else { return Ok((used, None)) };
                        let kind = SocketType::with_number(*number).ok_or(Fault::NoType)?;
                        out.push(self.role.socket_type().number());
                        out.extend_from_slice(&head(Version::V2, 0, false));
                        self.may_talk(kind)?;
                        used += SIGNATURE.len() + 2;
                        self.stage = Stage::Identity(Version::V2, Some(kind));
                    }
                    Some(_) => {
                        out.push(MINOR);
                        out.extend_from_slice(&MECHANISM);
                        // Not a server, and the filler.
                        out.resize(out.len() + GREETING - 32, 0);
                        self.stage = Stage::Greeting;
                    }
                },
                Stage::Greeting => {
                    mechanism(bytes.get(12..bytes.len().min(32)).unwrap_or_default())?;
                    if bytes.len() < GREETING {
                        return Ok((used, None));
                    }
                    let minor = if bytes[10] > MAJOR { MINOR } else { bytes[11] };
                    self.introduce(out);
                    used += GREETING;
                    self.stage = Stage::Ready(if minor == 0 { Version::V3_0 } else { Version::V3_1 });
                }
                Stage::Identity(version, socket_type) => {
                    let Some((head, size)) = read_head(version, bytes).map_err(|_| Fault::NotZmtp)? else {
                        return Ok((used, None));
                    };
                    if head.more || head.length > 255 {
                        return Err(if version == Version::V1 { Fault::NotZmtp } else { Fault::Identity });
                    }
                    let end = size + head.length as usize;
                    let Some(identity) = bytes.get(size..end) else { return Ok((used, None)) };
                    return Ok((used + end, Some(Peer { version, socket_type, identity: identity.into() })));
                }
                Stage::Ready(version) => {
                    let Some((head, size)) = read_head(version, bytes)? else { return Ok((used, None)) };
                    if !head.command {
                        return Err(Fault::NoIntroduction);
                    }
                    if head.length > LONGEST_COMMAND as u64 {
                        return Err(Fault::LongCommand);
                    }
                    let end = size + head.length as usize;
                    let Some(body) = bytes.get(size..end) else { return Ok((used, None)) };
                    let Command::Ready(properties) = Command::read(body)? else { return Err(Fault::NoIntroduction) };
                    return Ok((used + end, Some(self.peer(version, properties)?)));
                }
            }
        }
    }

    /// Appends READY.
    fn introduce(&self, out: &mut Vec<u8>) {
        let mut properties = Vec::with_capacity(64);
        property(b"Socket-Type", self.role.socket_type().name().as_bytes(), &mut properties);
        command(b"READY", &properties, out);
    }

    fn peer(&self, version: Version, mut properties: &[u8]) -> Result<Peer, Fault> {
        let (mut identity, mut socket_type) = (Value::new(), None);
        while !properties.is_empty() {
            let (name, value, rest) = read_property(properties).ok_or(Fault::Command)?;
            properties = rest;
            if name.eq_ignore_ascii_case(b"Identity") {
                identity = if value.len() > 255 { return Err(Fault::Identity) } else { value.into() };
            } else if name.eq_ignore_ascii_case(b"Socket-Type") {
                socket_type = SocketType::with_name(value);
            }
        }
        self.may_talk(socket_type.ok_or(Fault::NoType)?)?;
        Ok(Peer { version, socket_type, identity })
    }

    fn may_talk(&self, kind: SocketType) -> Result<(), Fault> {
        if self.role.peers().contains(&kind) { Ok(()) } else { Err(Fault::WrongType(kind)) }
    }
}

/// Checks the mechanism's name in a greeting, or as much of it as has come.
fn mechanism(given: &[u8]) -> Result<(), Fault> {
    if MECHANISM.starts_with(given) {
        return Ok(());
    }
    let name = given.split(|byte| *byte == 0).next().unwrap_or_default();
    if !name.iter().all(u8::is_ascii_uppercase) {
        return Err(Fault::NotZmtp);
    }
    // Wait for the whole name: the message shows it.
    if given.len() < MECHANISM.len() { Ok(()) } else { Err(Fault::Mechanism(Words::new(name))) }
}
