//! The messages between a host and a child, as bytes. Pure: nothing here reads or writes a socket.
//!
//! A message is a head of 16 bytes and a body; all numbers are little-endian. The page `docs/isolation/protocol.md` is the
//! reference for other languages.
//!
//! ```text
//! len u32 (of the body) | kind u16 | stream u16 | run u32 | count u32
//! ```
#![forbid(unsafe_code)]

use framegate_plugin_abi::codes::{ErrorKind, EventKind};
use serde::{Deserialize, Serialize};

/// The protocol's version. A child refuses a host of another major version.
pub const VERSION: (u16, u16) = (1, 0);

/// The head of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// Bytes of the body.
    pub len: u32,
    /// What it is: one of [`to_child`] or [`to_host`].
    pub kind: u16,
    /// The stream, among those of this child.
    pub stream: u16,
    /// The run: a number that the host counts up with each [`to_child::OPEN`]; 0 without one.
    pub run: u32,
    /// Number of events, in [`to_host::EVENTS`]; otherwise 0.
    pub count: u32,
}

/// Kinds of messages to a child. Each of CREATE, OPEN, CLOSE, SET, TRIGGER is answered by DONE or FAILED, and the host
/// sends no other of them before.
pub mod to_child {
    /// The first message: a [`Welcome`](super::Welcome) in JSON, with three descriptors: shared memory, board, and a pipe
    /// that is readable when there is room.
    pub const WELCOME: u16 = 1;
    /// A [`Create`](super::Create) in JSON.
    pub const CREATE: u16 = 2;
    /// Opens the run of a scan.
    pub const OPEN: u16 = 3;
    /// Closes the run.
    pub const CLOSE: u16 = 4;
    /// Sets a parameter: the length of the name as u32, the name, the value.
    pub const SET: u16 = 5;
    /// Asks for the event with this number: u64.
    pub const TRIGGER: u16 = 6;
    /// Asks for the status of the run: answered by STATUS.
    pub const ASK: u16 = 7;
    /// Answered by PONG.
    pub const PING: u16 = 8;
    /// More shared memory may be used: the number of blocks as u32.
    pub const GROWN: u16 = 9;
    /// The last message: the child ends.
    pub const BYE: u16 = 10;
}

/// Kinds of messages to the host.
pub mod to_host {
    /// The first message: a [`Hello`](super::Hello) in JSON.
    pub const HELLO: u16 = 1;
    /// The request is done. The body of the answer to CREATE: the descriptions of parameters in JSON.
    pub const DONE: u16 = 2;
    /// The request has failed: a [`Failure`](super::Failure).
    pub const FAILED: u16 = 3;
    /// A [`StatusText`](super::StatusText) in JSON.
    pub const STATUS: u16 = 4;
    /// The answer to PING.
    pub const PONG: u16 = 5;
    /// Defines a type of events: its index as u8, the text.
    pub const TYP: u16 = 6;
    /// Events, in shared memory.
    pub const EVENTS: u16 = 7;
    /// The run's last event was sent.
    pub const ENDED: u16 = 8;
    /// The run has failed by itself: a [`Failure`](super::Failure).
    pub const BROKEN: u16 = 9;
    /// The child waits for room: the bytes taken as u64 and the sum of the releases as u32, as it sees them on the board.
    pub const WAIT: u16 = 10;
    /// The child needs more shared memory: the number of blocks in all, as u32.
    pub const MORE: u16 = 11;
}

/// From this kind on, a kind that is not known is skipped; another one is an error.
pub const OPTIONAL: u16 = 0x8000;

/// Bytes of a block of the shared memory.
pub const BLOCK: usize = 64 << 10;
/// Longest body of a message to the host.
pub const LONGEST_TO_HOST: usize = 256 << 10;
/// Longest body of a message to a child: a parameter may be large.
pub const LONGEST_TO_CHILD: usize = 1 << 30;
/// Most types of events of a stream.
pub const MOST_TYPS: usize = 64;
/// Most frames of an event.
pub const MOST_FRAMES: usize = 20_000;
/// Most bytes of frames that a child gives before the host has taken some; a single message may have more.
pub const WINDOW: u64 = 1 << 20;

/// The host's first message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Major and minor version.
    pub protocol: (u16, u16),
    /// Size of a block in bytes.
    pub block: u32,
    /// Number of blocks that may be used now.
    pub blocks: u32,
    /// Number of blocks that there can be: the size of the mappings.
    pub most_blocks: u32,
}

/// The child's first message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Major and minor version.
    pub protocol: (u16, u16),
    /// Name of the source's protocol.
    pub name: String,
    /// Version of the source.
    #[serde(default)]
    pub version: Option<String>,
    /// Only one instance can hold the source's resources.
    #[serde(default)]
    pub exclusive: bool,
    /// The source answers TRIGGER, instead of giving events by itself.
    #[serde(default)]
    pub on_demand: bool,
}

/// Creates a source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Create {
    /// Name of the stream.
    pub name: String,
    /// The source's settings.
    pub settings: serde_json::Value,
    /// The most detailed level of the host's log: `error`, `warn`, `info` or `debug`.
    pub log: String,
}

/// What a run tells about itself; a part that is missing is unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusText {
    /// Counters of the run.
    pub counters: Vec<(String, u64)>,
    /// Messages without an event, by reason.
    pub skipped: Vec<(String, u64)>,
    /// Why the last invalid message was invalid.
    pub last_invalid: String,
    /// Bytes received and not yet given.
    pub bytes_waiting: u64,
    /// Whether a detector is connected, and for how many nanoseconds that has been so.
    pub connected: Option<(bool, u64)>,
    /// The detector's address.
    pub peer: String,
}

/// Why something failed: a code as u32, and a text in UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// `None`, code 0: the source's code has panicked or broken a rule, and the child is of no further use.
    pub kind: Option<ErrorKind>,
    /// What happened: a few lines for people.
    pub text: String,
}

/// An event in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireEvent {
    /// Its position in the run.
    pub kind: EventKind,
    /// Index of its type.
    pub typ: u8,
    /// Number of its frames.
    pub frames: u16,
}

/// A frame in shared memory. It may reach over neighbouring blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireFrame {
    /// The block in which it begins, and which counts its release.
    pub block: u32,
    /// Its place in that block.
    pub offset: u32,
    /// Its length in bytes.
    pub len: u32,
}

/// Why bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The head says that the body is longer than any.
    #[error("a message of {0} bytes")]
    TooLong(u32),
    /// No such kind.
    #[error("a message of kind {0}")]
    Kind(u16),
    /// The body does not fit its kind.
    #[error("{0}")]
    Body(String),
}

impl Head {
    /// Bytes of a head.
    pub const LEN: usize = 16;

    /// A head without run and count.
    #[must_use]
    pub fn new(kind: u16, stream: u16) -> Self {
        Self { kind, stream, ..Self::default() }
    }

    /// The message with this body.
    ///
    /// # Panics
    /// If the body has 4 GiB or more.
    #[must_use]
    pub fn with(self, body: &[u8]) -> Vec<u8> {
        let head = Self { len: u32::try_from(body.len()).expect("a body is shorter than 4 GiB"), ..self };
        [&head.to_bytes()[..], body].concat()
    }

    /// As bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..4].copy_from_slice(&self.len.to_le_bytes());
        bytes[4..6].copy_from_slice(&self.kind.to_le_bytes());
        bytes[6..8].copy_from_slice(&self.stream.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.run.to_le_bytes());
        bytes[12..].copy_from_slice(&self.count.to_le_bytes());
        bytes
    }

    /// From bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let [len @ .., _, _, _, _, _, _, _, _, _, _, _, _] = bytes;
        let [_, _, _, _, k0, k1, s0, s1, run @ .., _, _, _, _] = bytes;
        let [_, _, _, _, _, _, _, _, _, _, _, _, count @ ..] = bytes;
        Self {
            len: u32::from_le_bytes(len),
            kind: u16::from_le_bytes([k0, k1]),
            stream: u16::from_le_bytes([s0, s1]),
            run: u32::from_le_bytes(run),
            count: u32::from_le_bytes(count),
        }
    }
}

/// A message's head and body, and how many bytes it has in all.
pub type Message<'a> = (Head, &'a [u8], usize);

/// The first message in `bytes`; `None` if it is not complete.
///
/// # Errors
/// Its body is longer than `longest`.
pub fn split(bytes: &[u8], longest: usize) -> Result<Option<Message<'_>>, WireError> {
    let Some((head, rest)) = bytes.split_first_chunk() else { return Ok(None) };
    let head = Head::from_bytes(*head);
    if head.len as usize > longest {
        return Err(WireError::TooLong(head.len));
    }
    let Some(body) = rest.get(..head.len as usize) else { return Ok(None) };
    Ok(Some((head, body, Head::LEN + body.len())))
}

impl Failure {
    /// As the body of FAILED and BROKEN.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let code = self.kind.map_or(0, ErrorKind::code);
        [&code.to_le_bytes()[..], self.text.as_bytes()].concat()
    }

    /// From such a body.
    ///
    /// # Errors
    /// It is shorter, or has no such code.
    pub fn from_bytes(body: &[u8]) -> Result<Self, WireError> {
        let (code, text) = number(body)?;
        let kind = match code {
            0 => None,
            _ => Some(
                i32::try_from(code)
                    .ok()
                    .and_then(ErrorKind::from_code)
                    .ok_or_else(|| WireError::Body(format!("a failure of kind {code}")))?,
            ),
        };
        Ok(Self { kind, text: String::from_utf8_lossy(text).into_owned() })
    }
}

/// Appends events and their frames as the body of EVENTS.
pub fn write_events(events: &[WireEvent], frames: &[WireFrame], out: &mut Vec<u8>) {
    for event in events {
        out.extend_from_slice(&[event.kind.code() as u8, event.typ]);
        out.extend_from_slice(&event.frames.to_le_bytes());
    }
    for frame in frames {
        for number in [frame.block, frame.offset, frame.len] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
}

/// The events of a body of EVENTS, and all their frames in order.
///
/// # Errors
/// Lengths that do not fit each other, or an event of no such kind.
pub fn read_events(
    head: Head,
    body: &[u8],
) -> Result<(impl Iterator<Item = WireEvent> + Clone, impl Iterator<Item = WireFrame> + Clone), WireError> {
    let odd = || WireError::Body(format!("{} events in {} bytes", head.count, body.len()));
    let events = body.get(..head.count as usize * 4).ok_or_else(odd)?;
    let (events, _) = events.as_chunks::<4>();
    let event = |bytes: &[u8; 4]| {
        let [kind, typ, frames @ ..] = *bytes;
        let kind = EventKind::from_code(i32::from(kind))?;
        Some(WireEvent { kind, typ, frames: u16::from_le_bytes(frames) })
    };
    let mut counted = 0;
    for bytes in events {
        let event = event(bytes).ok_or_else(|| WireError::Body(format!("an event of kind {}", bytes[0])))?;
        counted += usize::from(event.frames);
    }
    let (frames, rest) = body[events.len() * 4..].as_chunks::<12>();
    if frames.len() != counted || !rest.is_empty() {
        return Err(odd());
    }
    let frames = frames.iter().map(|bytes| {
        let [block, offset, len] =
            [0, 4, 8].map(|at| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]));
        WireFrame { block, offset, len }
    });
    Ok((events.iter().filter_map(event), frames))
}

/// A u32 at the beginning of a body, and what follows.
///
/// # Errors
/// The body is shorter.
pub fn number(body: &[u8]) -> Result<(u32, &[u8]), WireError> {
    let (number, rest) = body.split_first_chunk().ok_or_else(|| short(body))?;
    Ok((u32::from_le_bytes(*number), rest))
}

/// A u64 at the beginning of a body, and what follows.
///
/// # Errors
/// The body is shorter.
pub fn long(body: &[u8]) -> Result<(u64, &[u8]), WireError> {
    let (number, rest) = body.split_first_chunk().ok_or_else(|| short(body))?;
    Ok((u64::from_le_bytes(*number), rest))
}

/// JSON as a body.
///
/// # Errors
/// It is not of the type.
pub fn json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, WireError> {
    serde_json::from_slice(body)
        .map_err(|problem| WireError::Body(format!("{:.100} ({problem})", String::from_utf8_lossy(body))))
}

fn short(body: &[u8]) -> WireError {
    WireError::Body(format!("a body of {} bytes", body.len()))
}
