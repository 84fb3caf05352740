//! Cases: a detector's messages, and how they differ from a real detector's.
//!
//! A case depends only on the seed, the capture and its own number, so it can be reproduced.

use std::{fmt::Write as _, ops::Range};

use fastrand::Rng;

use crate::{
    Capture, Message, Outcome,
    ours::{Protocol, Reach},
};

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) capture: &'static str,
    pub(crate) protocol: &'static Protocol,
    pub(crate) messages: Vec<Message>,
    pub(crate) reach: Reach,
    /// The changes to the capture, in order.
    mutations: Vec<String>,
}

impl Case {
    /// A capture without changes.
    pub(crate) fn plain(capture: &Capture) -> Self {
        let Capture { name, protocol, messages } = capture;
        Self { capture: name, protocol, messages: messages.clone(), reach: Reach::default(), mutations: Vec::new() }
    }

    /// The same with another kind of connection.
    pub(crate) fn reached(self, reach: Reach) -> Self {
        let mutations = vec![format!("nothing, but the way is {reach:?}")];
        Self { reach, mutations, ..self }
    }

    /// Messages that are in no capture.
    pub(crate) fn of(
        name: &'static str,
        protocol: &'static Protocol,
        messages: impl IntoIterator<Item = Message>,
    ) -> Self {
        Self {
            capture: name,
            protocol,
            messages: messages.into_iter().collect(),
            reach: Reach::default(),
            mutations: Vec::new(),
        }
    }

    /// A description for the message of a failed test.
    pub(crate) fn describe(&self, ours: &Outcome, theirs: &Outcome) -> String {
        let mut text = format!("--- {}, {}", self.capture, self.protocol.class);
        self.mutations.iter().for_each(|mutation| text.push_str(&format!("\n    mutation: {mutation}")));
        for (number, message) in self.messages.iter().enumerate() {
            let parts: Vec<_> = message.parts.iter().map(|part| shown(part)).collect();
            let _ = write!(text, "\n    message {number}: {}", parts.join(" | "));
        }
        let most = ours.events.len().max(theirs.events.len());
        let same = (0..most).take_while(|event| ours.events.get(*event) == theirs.events.get(*event)).count();
        let _ = write!(text, "\n    the same: {same} events");
        for (who, outcome) in [("ours", ours), ("dranspose", theirs)] {
            let next = outcome.events.get(same);
            let Outcome { events, answers, died } = outcome;
            let count = events.len();
            let _ =
                write!(text, "\n    {who}: {count} events, the next is {next:?}; answers: {answers:?}; died: {died:?}");
        }
        text
    }
}

/// `count` mutations of each capture.
pub(crate) fn mutated(captures: &[Capture], count: u64, seed: u64) -> Vec<Case> {
    let one = |number: u64, capture: &Capture| {
        // An odd factor spreads the bits of similar numbers.
        let mut draw = Rng::with_seed((seed << 32 | number).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut case = Case::plain(capture);
        case.excerpt(&mut draw);
        for _ in 0..draw.u32(1..4) {
            case.mutate(captures, &mut draw);
        }
        case
    };
    (0..count).flat_map(|number| captures.iter().map(move |capture| one(number, capture))).collect()
}

impl Case {
    /// Removes messages from the middle of a long capture, in complete units.
    fn excerpt(&mut self, draw: &mut Rng) {
        // The length of the header, some images of three messages, and the end.
        let (length, keep) = (self.messages.len(), 1 + 3 * draw.usize(2..6));
        if length > keep + 4 {
            self.messages.drain(keep..length - 1);
            self.mutations.push(format!("without messages {keep} to {}", length - 2));
        }
    }

    fn mutate(&mut self, captures: &[Capture], draw: &mut Rng) {
        if self.messages.is_empty() {
            return;
        }
        let last = self.messages.len() - 1;
        let at = draw.usize(0..=last);
        let what = match draw.u32(0..14) {
            0 | 1 => {
                let (message, what) = junk(captures, draw);
                self.messages.insert(at, message);
                format!("before message {at}: {what}")
            }
            2 => {
                self.messages.remove(at);
                format!("without message {at}")
            }
            3 => {
                self.messages.insert(at, self.messages[at].clone());
                format!("message {at} twice")
            }
            4 => {
                let other = draw.usize(0..=last);
                self.messages.swap(at, other);
                format!("messages {at} and {other} change places")
            }
            5 => {
                self.messages.truncate(at);
                format!("it ends before message {at}")
            }
            6 => {
                self.messages.extend_from_within(..);
                "two runs in a row".to_owned()
            }
            7 => {
                self.messages.rotate_left(at);
                format!("it begins in the middle, with message {at}")
            }
            8 | 9 => self.change_parts(at, draw),
            10 | 11 => self.flip(at, draw),
            _ => self.change_value(at, draw),
        };
        self.mutations.push(what);
    }

    fn change_parts(&mut self, at: usize, draw: &mut Rng) -> String {
        let parts = &mut self.messages[at].parts;
        let part = draw.usize(..parts.len());
        match draw.u32(0..4) {
            0 if parts.len() > 1 => {
                parts.remove(part);
                format!("message {at} without part {part}")
            }
            1 => {
                parts.truncate(1);
                format!("message {at} without its other parts")
            }
            2 => {
                let end = draw.usize(..=parts[part].len());
                parts[part].truncate(end);
                self.messages[at].is_damaged = true;
                format!("message {at}: part {part} ends at byte {end}")
            }
            _ => {
                parts.insert(part, Vec::new());
                format!("message {at}: an empty part before part {part}")
            }
        }
    }

    /// Changes bytes in the part that is parsed, or less often in any part.
    fn flip(&mut self, at: usize, draw: &mut Rng) -> String {
        let message = &mut self.messages[at];
        message.is_damaged = true;
        let part = if draw.u32(0..4) > 0 { 0 } else { draw.usize(..message.parts.len()) };
        let mut text = format!("message {at}, part {part}:");
        for _ in 0..draw.u32(1..4) {
            let bytes = &mut message.parts[part];
            if bytes.is_empty() {
                break;
            }
            let place = draw.usize(..bytes.len());
            bytes[place] = match draw.u32(0..3) {
                0 => bytes[place] ^ 1 << draw.u32(0..8),
                1 => draw.u8(..),
                _ => *draw.choice(STRUCTURE).expect("it has bytes"),
            };
            let _ = write!(text, " byte {place} is {:#04x}", bytes[place]);
        }
        text
    }

    /// Changes the value of a JSON field.
    fn change_value(&mut self, at: usize, draw: &mut Rng) -> String {
        let message = &mut self.messages[at];
        let first = &mut message.parts[0];
        let colons: Vec<_> = (0..first.len()).filter(|place| first[*place] == b':').collect();
        let Some(colon) = draw.choice(colons) else { return format!("message {at} has no field to change") };
        let value: Range<usize> = colon + 1..first.len();
        let end = value.clone().find(|place| b",}".contains(&first[*place])).unwrap_or(first.len());
        let new = draw.choice(VALUES).expect("it has values");
        message.is_damaged = true;
        first.splice(value.start..end, format!(" {new}").into_bytes());
        format!("message {at}: the field at byte {colon} is {new}")
    }
}

/// A message that does not belong here.
fn junk(captures: &[Capture], draw: &mut Rng) -> (Message, String) {
    if draw.bool() {
        let capture = draw.choice(captures).expect("there are captures");
        let number = draw.usize(..capture.messages.len());
        return (capture.messages[number].clone(), format!("message {number} of {}", capture.name));
    }
    let parts: Vec<Vec<u8>> = match draw.u32(0..8) {
        0 => vec![vec![]],
        1 => vec![vec![], vec![], vec![]],
        2 => vec![b"not JSON\n".to_vec(), b"x\n".to_vec()],
        3 => vec![b"{}".to_vec()],
        4 => vec![[vec![b'['; 300], vec![b']'; 300]].concat()],
        5 => vec![br#"{"htype": "header", "msg_number": 1, "filename": "again"}"#.to_vec()],
        6 => vec![br#"{"a": NaN}"#.to_vec(), vec![0xff; 40]],
        _ => vec![(0..draw.usize(1..60)).map(|_| draw.u8(..)).collect()],
    };
    let what = parts.iter().map(|part| shown(part)).collect::<Vec<_>>().join(" | ");
    (Message { parts, is_damaged: true }, format!("junk, {what}"))
}

fn shown(part: &[u8]) -> String {
    let text = part[..part.len().min(SHOWN)].escape_ascii().to_string();
    if part.len() > SHOWN { format!("{text}… ({} bytes)", part.len()) } else { text }
}

/// Bytes with a meaning in JSON, in pickles, or between lines.
const STRUCTURE: &[u8] = b"{}[]\",:0159-+eE.\\ntf \n\0\x80\xffqrhX(.U";

const VALUES: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "-1",
    "5.0",
    "5.5",
    "1e2",
    "1e400",
    "NaN",
    "-Infinity",
    "true",
    "null",
    "\"5\"",
    "\" 5 \"",
    "\"5.0\"",
    "\"1_0\"",
    "\"x\"",
    "\"\"",
    "\"image\"",
    "\"header\"",
    "\"data\"",
    "\"msg\"",
    "[]",
    "[1]",
    "[1.5]",
    "[[1]]",
    "{}",
    "18446744073709551616",
    "\"\\ud800\"",
    "",
];

const SHOWN: usize = 200;
