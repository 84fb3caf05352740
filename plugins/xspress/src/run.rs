//! Builds events from messages: one message each, except an image, which may arrive as three.
//!
//! ```text
//!   Header ─────────────────────────────────> start
//!   Image of 3 parts ───────────────────────> data
//!   Image of 1 part ──> the array ──> metadata ──> data of 3 frames
//!   SeriesEnd ──────────────────────────────> end
//! ```
//!
//! Pure. All sources share the states of the run, which are in `framegate-source-kit`. At most one image is kept
//! between messages, limited in bytes.

use framegate_plugin_api::Frame;
use framegate_zmq_source::{Assembler, Flow, Frames, Malformed, Phase};

use crate::messages::{HasHtype, Packet};

/// Builds the events of one run.
#[derive(Debug)]
pub struct XspressRun {
    limits: Limits,
    /// An image in several messages that is not complete yet.
    gathering: Option<Gathering>,
}

/// Limits for messages and images.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Maximum bytes of a part that is read as JSON.
    pub json: usize,
    /// Maximum bytes of an image in three messages.
    pub image: usize,
}

/// The received part of an image.
#[derive(Debug)]
struct Gathering {
    /// The parts of all messages so far. Invariant: `bytes` in total, at most `Limits::image`.
    parts: Frames,
    bytes: usize,
    /// Number of missing messages: 2 or 1.
    missing: u8,
}

impl XspressRun {
    /// A run before its first message.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, gathering: None }
    }

    /// Reads a message's header; an error if it has none.
    fn header(&self, first: &Frame) -> Result<(Packet, HasHtype), Malformed> {
        if first.as_slice().len() > self.limits.json {
            return Err(Malformed::new("first part too long"));
        }
        Packet::read_with_htype(first.as_slice())
    }

    /// Adds a message to an image.
    fn gather(&mut self, mut image: Gathering, message: Frames, flow: &mut Flow<'_, '_>) {
        image.bytes = image.bytes.saturating_add(length(&message));
        image.parts.extend(message);
        image.missing -= 1;
        if image.bytes > self.limits.image {
            // The rest of the image is not JSON and will be skipped as such.
            flow.skip(Malformed::new("an image in three messages is longer than max_image"));
        } else if image.missing == 0 {
            flow.data(image.parts);
        } else {
            self.gathering = Some(image);
        }
    }
}

impl Assembler for XspressRun {
    const TYP: &'static str = "xspress";

    fn take(&mut self, message: Frames, flow: &mut Flow<'_, '_>) {
        let Some(first) = message.first() else { return };

        // Before the start, only a message of one part can be a header; after the end, every message is dropped.
        if flow.phase() == Phase::Before && message.len() != 1 {
            return flow.junk(first.as_slice(), "several parts, which a header has not");
        }

        if let Some(image) = self.gathering.take() {
            // If JSON with a valid htype arrives here, the publisher has lost a message; to keep counting would give
            // every later image wrong parts. No real array or metadata looks like such a header.
            let begins_anew = first.as_slice().trim_ascii_start().first() == Some(&b'{')
                && matches!(self.header(first), Ok((_, HasHtype::Yes)));
            if !begins_anew {
                return self.gather(image, message, flow);
            }
            flow.skip(Malformed::new("an image without its array or metadata"));
        }

        match self.header(first) {
            Ok((Packet::Header, _)) => flow.start(message),
            Ok((Packet::Image { frame }, _)) => {
                if let Some(number) = frame {
                    flow.number(number);
                }
                if flow.phase() == Phase::Running && message.len() != 3 {
                    self.gather(Gathering { parts: Frames::new(), bytes: 0, missing: 3 }, message, flow);
                } else {
                    flow.data(message);
                }
            }
            Ok((Packet::SeriesEnd, _)) => flow.end(message),
            // Before the start, every other message is junk.
            Err(why) if flow.phase() == Phase::Before => flow.junk(first.as_slice(), why),
            Err(why) => flow.skip(why),
        }
    }

    fn bytes_waiting(&self) -> u64 {
        self.gathering.as_ref().map_or(0, |image| image.bytes as u64)
    }
}

fn length(message: &Frames) -> usize {
    message.iter().map(|part| part.as_slice().len()).fold(0, usize::saturating_add)
}
