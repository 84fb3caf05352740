//! Splits one message into its samples.
//!
//! Pure. The text common to all samples is written once; each sample is then built from pieces, byte for byte as
//! pydantic writes it. Keeps copies of the pieces and nothing of the message. `run.rs` handles the run's states.

use std::{mem, str::FromStr};

use framegate_zmq_source::{
    Malformed,
    json::{self, Value},
};
use num_bigint::BigInt;

use crate::messages::FIELDS;

/// The samples of a message, one after the other.
#[derive(Debug)]
pub struct Split {
    /// The text before the frame number, the same for all samples.
    head: Vec<u8>,
    first: FrameNumber,
    /// About how many digits a frame number has.
    digits: usize,
    /// The pieces after the frame number, in order.
    pieces: Vec<Piece>,
    /// Invariant: each `Piece::Element` has this many elements.
    samples: usize,
    next: usize,
}

/// A part of a sample's text.
#[derive(Debug)]
enum Piece {
    /// The same for all samples.
    Same(Vec<u8>),
    /// The elements of a list, one for each sample: their texts one after the other, and the end of each.
    Element { texts: Vec<u8>, ends: Vec<usize> },
}

/// A whole number of any size, as in Python.
#[derive(Debug)]
enum FrameNumber {
    Small(i64),
    Large(BigInt),
}

impl Split {
    /// Splits a data message; [`Packet::read`](crate::messages::Packet::read) found its `message_id` and
    /// `frame_number`.
    ///
    /// # Errors
    /// No list, lists of different lengths, empty lists, or samples of more than `max_bytes` in total.
    pub fn new(message: &[u8], message_id: &str, frame_number: &str, max_bytes: u64) -> Result<Self, Malformed> {
        let first = FrameNumber::read(frame_number)?;
        let digits = frame_number.len().max(FEW_DIGITS);
        let head = format!(r#"{{"message_id":{message_id},"version":1,"message_type":"data","frame_number":"#);

        let mut samples = None;
        let mut pieces = Vec::new();
        let mut same = Vec::new();
        for (key, value) in json::dictionary(message)? {
            // `arm_time` has no meaning in data, so it is treated like an unknown field.
            if FIELDS.contains(&&*key) && key != "arm_time" {
                continue;
            }
            same.push(b',');
            json::write_str(&key, &mut same);
            same.push(b':');
            // Counted before anything is kept: a list takes some twenty times its text.
            let mut elements = 0u64;
            let count = |_| {
                elements += 1;
                true
            };
            // What is no list has no elements.
            let _ = value.is_array_of(count);
            if elements.saturating_mul((head.len() + digits) as u64) > max_bytes {
                return Err(TOO_LONG);
            }
            let Some(items) = value.items() else {
                value.write(&mut same);
                continue;
            };
            if *samples.get_or_insert(items.len()) != items.len() {
                return Err(Malformed::new("lists of different lengths"));
            }
            pieces.push(Piece::Same(mem::take(&mut same)));
            pieces.push(Piece::elements(&items));
        }
        same.push(b'}');
        pieces.push(Piece::Same(same));

        let split = match samples {
            None => return Err(Malformed::new("data without a list")),
            Some(0) => return Err(Malformed::new("data without samples")),
            Some(samples) => Self { head: head.into_bytes(), first, digits, pieces, samples, next: 0 },
        };
        if split.bytes() > u128::from(max_bytes) {
            return Err(TOO_LONG);
        }
        Ok(split)
    }

    /// The number of the next sample, if it fits into an `i64`.
    #[must_use]
    pub fn number(&self) -> Option<i64> {
        match &self.first {
            FrameNumber::Small(first) => first.checked_add(i64::try_from(self.next).ok()?),
            FrameNumber::Large(_) => None,
        }
    }

    /// About how many bytes the remaining samples have.
    #[must_use]
    pub fn bytes_left(&self) -> u64 {
        let left = self.samples.saturating_sub(self.next) as u128;
        u64::try_from(self.bytes() * left / (self.samples as u128).max(1)).unwrap_or(u64::MAX)
    }

    /// About how many bytes all samples have.
    fn bytes(&self) -> u128 {
        let samples = self.samples as u128;
        let shared = (self.head.len() + self.digits) as u128 * samples;
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Same(text) => text.len() as u128 * samples,
            Piece::Element { texts, .. } => texts.len() as u128,
        });
        shared + pieces.sum::<u128>()
    }
}

impl Iterator for Split {
    type Item = Vec<u8>;

    /// The next sample, as compact JSON.
    fn next(&mut self) -> Option<Vec<u8>> {
        let sample = self.next;
        if sample == self.samples {
            return None;
        }
        self.next += 1;
        let mut text = self.head.clone();
        self.first.write_plus(sample, &mut text);
        for piece in &self.pieces {
            match piece {
                Piece::Same(same) => text.extend_from_slice(same),
                Piece::Element { texts, ends } => {
                    let from = sample.checked_sub(1).map_or(0, |before| ends[before]);
                    text.extend_from_slice(&texts[from..ends[sample]]);
                }
            }
        }
        Some(text)
    }
}

impl Piece {
    fn elements(items: &[Value<'_>]) -> Self {
        let mut texts = Vec::new();
        let mut ends = Vec::with_capacity(items.len());
        for item in items {
            item.write(&mut texts);
            ends.push(texts.len());
        }
        Piece::Element { texts, ends }
    }
}

impl FrameNumber {
    fn read(text: &str) -> Result<Self, Malformed> {
        match text.parse() {
            Ok(small) => Ok(FrameNumber::Small(small)),
            Err(_) => {
                BigInt::from_str(text).map(FrameNumber::Large).map_err(|_| Malformed::new("frame_number is no integer"))
            }
        }
    }

    fn write_plus(&self, more: usize, out: &mut Vec<u8>) {
        let text = match self {
            FrameNumber::Small(first) => (i128::from(*first) + more as i128).to_string(),
            FrameNumber::Large(first) => (first + more).to_string(),
        };
        out.extend_from_slice(text.as_bytes());
    }
}

const TOO_LONG: Malformed = Malformed::new("the samples would be longer than max_split");

/// The digits of most frame numbers; the first may be shorter.
const FEW_DIGITS: usize = 10;
