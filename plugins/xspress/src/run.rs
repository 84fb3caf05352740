//! How messages become events: one message each, except an image, which may come as three.
//!
//! ```text
//!   Header ─────────────────────────────────> start
//!   Image of 3 parts ───────────────────────> data
//!   Image of 1 part ──> the array ──> metadata ──> data of 3 frames
//!   SeriesEnd ──────────────────────────────> end
//! ```
//!
//! Pure. The states of the run itself are those of every ZeroMQ source and live in `framegate-zmq-source`. What is kept
//! between messages is at most one image, and limited in bytes.

use framegate_plugin_api::{Frame, Frames};
use framegate_zmq_source::{Assembler, Flow, Malformed, Phase};

use crate::messages::{HasHtype, Packet};

/// What one run makes of its messages.
#[derive(Debug)]
pub struct XspressRun {
    limits: Limits,
    /// An image of several messages of which not all have come.
    gathering: Option<Gathering>,
}

/// What a message or an image may have at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a part that is read as JSON.
    pub json: usize,
    /// Bytes of an image that comes in three messages.
    pub image: usize,
}

/// The beginning of an image.
#[derive(Debug)]
struct Gathering {
    /// The parts of all messages so far. Invariant: `bytes` long together, at most `Limits::image`.
    parts: Frames,
    bytes: usize,
    /// Messages that are still to come: 2 or 1.
    missing: u8,
}

impl XspressRun {
    /// Before the first message.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, gathering: None }
    }

    /// Takes a message that says itself what it is, or an error if it does not.
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
            // What still comes of it is no JSON, and will be skipped as such.
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

        // Before the start only a message of one part can mean anything; after the end nothing does.
        if flow.phase() == Phase::Before && message.len() != 1 {
            return flow.junk(first.as_slice(), "several parts, which a header has not");
        }

        if let Some(image) = self.gathering.take() {
            // An array or metadata that happens to be JSON with a fitting htype: nobody sends that. A publisher that lost
            // a message on its way is real; to go on counting would pair every later image with wrong parts.
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
            // Before the start everything else is junk, whatever it looks like.
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
