//! Puts the parts of messages together, from bytes in pieces of any size, within limits.
//!
//! Pure: it knows no socket. A small part is copied; a large one is read into the memory in which it stays.

use framegate_plugin_api::Frame;
use framegate_source_kit::{Frames, Malformed};
use framegate_zmtp::{Command, Fault, LONGEST_COMMAND, Version, pong, read_head};

use super::{
    buffers::{Buffer, Pool},
    input::Input,
};
use crate::transport::Received;

/// What a source accepts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of a part; a longer one ends the connection.
    pub(crate) part: u64,
    /// Bytes of a first part that others follow.
    pub(crate) header: u64,
    /// Bytes of a message.
    pub(crate) message: u64,
    /// Parts of a message.
    pub(crate) parts: usize,
}

/// Why a peer's messages cannot be read any further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It breaks the protocol, or reports an error.
    Fault(Fault),
    /// It announced a part of this length.
    LongPart(u64),
    /// A message that is skipped goes on for ever.
    Endless,
}

impl From<Fault> for Unreadable {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// The message that is being received.
#[derive(Debug)]
pub(crate) struct Assembly {
    version: Version,
    frames: Frames,
    /// Bytes and parts of the message so far, the part that has begun included.
    bytes: u64,
    parts: usize,
    /// Why the message is skipped.
    refused: Option<Malformed>,
    /// The incomplete part, and whether another part follows it.
    begun: Option<(Part, bool)>,
    /// Whether the last part that was read into its own memory was in the message before, so that the next is likely to be.
    is_large: bool,
}

#[derive(Debug)]
enum Part {
    Kept(Buffer),
    /// So many bytes are skipped.
    Skipped(u64),
}

/// Smaller parts are copied: a small frame that waits for a stalled worker must not keep a larger buffer alive.
pub(crate) const COPY_BELOW: usize = 2048;

/// A message that is skipped may go on for this many parts.
const ENDLESS: usize = 1_000_000;
/// Bytes of answers to pings that may wait. A peer that asks faster than it reads gets no answer.
const ANSWERS: usize = 256;

impl Assembly {
    pub(crate) fn new(version: Version) -> Self {
        Self { version, frames: Frames::new(), bytes: 0, parts: 0, refused: None, begun: None, is_large: false }
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// Bytes of the unfinished message in memory.
    pub(crate) fn held(&self) -> u64 {
        let begun = match &self.begun {
            Some((Part::Kept(buffer), _)) => buffer.filled(),
            _ => 0,
        };
        self.frames.iter().map(|frame| frame.as_slice().len()).sum::<usize>() as u64 + begun as u64
    }

    /// Whether a message has begun, if these bytes have come since and were not used. They may be of a small part, which
    /// begins when all of it has come.
    pub(crate) fn has_begun(&self, unused: &[u8]) -> bool {
        let is_command = |unused| matches!(read_head(self.version, unused), Ok(Some((head, _))) if head.command);
        self.parts > 0 || !unused.is_empty() && !is_command(unused)
    }

    /// Skips the message that has begun.
    pub(crate) fn refuse(&mut self, why: Malformed) {
        self.refused.get_or_insert(why);
        self.frames.clear();
        if let Some((part, _)) = &mut self.begun
            && let Part::Kept(buffer) = part
        {
            *part = Part::Skipped(buffer.missing() as u64);
        }
    }

    /// Where to read the rest of a large part, directly.
    pub(crate) fn room(&mut self) -> Option<&mut [u8]> {
        match &mut self.begun {
            Some((Part::Kept(buffer), _)) if buffer.missing() > 0 => Some(buffer.room()),
            _ => None,
        }
    }

    /// Whether large parts are expected: then little should be read ahead of them, because it has to be copied.
    pub(crate) fn expects_large(&self) -> bool {
        self.is_large
    }

    /// So many bytes were read into the room.
    pub(crate) fn advance(&mut self, bytes: usize) {
        if let Some((Part::Kept(buffer), _)) = &mut self.begun {
            buffer.advance(bytes);
        }
    }

    /// Takes what has come, up to the end of a message. `None`: more bytes are needed. Answers to pings go to `out`.
    ///
    /// # Errors
    /// The peer's bytes cannot be read any further.
    pub(crate) fn take(
        &mut self,
        input: &mut Input,
        limits: &Limits,
        pool: &std::sync::Arc<Pool>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Received>, Unreadable> {
        loop {
            if let Some((part, more)) = &mut self.begun {
                match part {
                    Part::Kept(buffer) => {
                        let copied = buffer.copy(input.bytes());
                        input.used(copied);
                        if buffer.missing() > 0 {
                            return Ok(None);
                        }
                    }
                    Part::Skipped(left) => {
                        let skipped = input.bytes().len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                        input.used(skipped);
                        *left -= skipped as u64;
                        if *left > 0 {
                            return Ok(None);
                        }
                    }
                }
                let more = *more;
                if let Some((Part::Kept(buffer), _)) = self.begun.take() {
                    self.frames.push(buffer.into_frame());
                }
                if !more {
                    return Ok(Some(self.finish()));
                }
            }
            let bytes = input.bytes();
            let Some((head, size)) = read_head(self.version, bytes)? else { return Ok(None) };
            if head.command {
                if head.length > LONGEST_COMMAND as u64 {
                    return Err(Fault::LongCommand.into());
                }
                let end = size + head.length as usize;
                let Some(body) = bytes.get(size..end) else { return Ok(None) };
                match Command::read(body)? {
                    Command::Ping(context) if out.len() < ANSWERS => pong(context, out),
                    _ => {}
                }
                input.used(end);
                continue;
            }
            if head.length > limits.part {
                return Err(Unreadable::LongPart(head.length));
            }
            let length = head.length as usize;
            let is_small = length < COPY_BELOW;
            if is_small && bytes.len() < size + length {
                return Ok(None);
            }
            self.begin(head.length, head.more, limits)?;
            if self.refused.is_some() {
                input.used(size);
                self.begun = Some((Part::Skipped(head.length), head.more));
            } else if is_small {
                self.frames.push(Frame::copy(&bytes[size..size + length]));
                input.used(size + length);
                if !head.more {
                    return Ok(Some(self.finish()));
                }
            } else {
                self.is_large = bytes.len() < size + length;
                input.used(size);
                let part = match pool.buffer(length) {
                    Ok(buffer) => Part::Kept(buffer),
                    Err(_) => {
                        self.refuse(NO_MEMORY);
                        Part::Skipped(head.length)
                    }
                };
                self.begun = Some((part, head.more));
            }
        }
    }

    /// A part begins: is its message still within the limits?
    fn begin(&mut self, length: u64, more: bool, limits: &Limits) -> Result<(), Unreadable> {
        self.bytes += length;
        self.parts += 1;
        if self.refused.is_some() {
            return if self.parts > limits.parts.saturating_add(ENDLESS) { Err(Unreadable::Endless) } else { Ok(()) };
        }
        // The only part of a message is its data, so only the limit of parts applies to it.
        if self.parts == 1 && more && length > limits.header {
            self.refuse(LONG_HEADER);
        } else if self.parts > limits.parts {
            self.refuse(MANY_PARTS);
        } else if self.bytes > limits.message {
            self.refuse(LONG_MESSAGE);
        }
        Ok(())
    }

    fn finish(&mut self) -> Received {
        let bytes = usize::try_from(std::mem::take(&mut self.bytes)).unwrap_or(usize::MAX);
        self.parts = 0;
        let frames = std::mem::take(&mut self.frames);
        match self.refused.take() {
            Some(why) => Received::Refused(why, bytes),
            None => Received::Message(frames, bytes),
        }
    }
}

const LONG_HEADER: Malformed = Malformed::new("first part too long");
const MANY_PARTS: Malformed = Malformed::new("too many parts");
const LONG_MESSAGE: Malformed = Malformed::new("message too long");
const NO_MEMORY: Malformed = Malformed::new("no memory for a part");

#[cfg(test)]
mod tests;
