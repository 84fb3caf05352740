//! A capture as the input of a check, and as the expected result.

use std::{collections::BTreeSet, path::Path};

use anyhow::bail;

use super::upstream::Message;
use framegate::capture::{self, Item};

/// Messages, and the expected events.
#[derive(Debug)]
pub(super) struct Capture {
    pub(super) messages: Vec<Message>,
    /// For each message its event's type, if the file is a dump of events: then each message is the frames of one event.
    pub(super) expected: Option<Vec<String>>,
}

impl Capture {
    /// Reads the first `most` items of a file, and no more of it than [`ENOUGH`].
    pub(super) fn read(path: &Path, most: usize) -> anyhow::Result<Self> {
        let (mut messages, mut typs, mut streams) = (Vec::<Message>::new(), Vec::new(), BTreeSet::new());
        let mut bytes = 0;
        for item in capture::Capture::open(path)?.take(most) {
            let before = messages.len();
            match item? {
                Item::Message(parts) => messages.push(parts),
                Item::Event(event) => {
                    for stream in event.streams {
                        streams.insert(stream.name);
                        // The place of an event that was dropped. No detector sends a message without parts.
                        if !stream.frames.is_empty() {
                            messages.push(stream.frames);
                            typs.push(stream.typ);
                        }
                    }
                }
            }
            bytes += messages[before..].iter().flatten().map(Vec::len).sum::<usize>();
            if bytes > ENOUGH {
                break;
            }
        }
        if streams.len() > 1 {
            let streams: Vec<_> = streams.into_iter().collect();
            bail!("{} has several streams ({}); a check needs a capture of one", path.display(), streams.join(", "));
        }
        if messages.is_empty() {
            bail!("{} has nothing to play", path.display());
        }
        let expected = (typs.len() == messages.len()).then_some(typs);
        Ok(Self { messages, expected })
    }
}

/// Bytes that a check plays: each of its children keeps them in memory.
const ENOUGH: usize = 256 << 20;
