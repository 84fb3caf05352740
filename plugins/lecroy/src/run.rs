//! Messages in, sequences out: the run of an oscilloscope.
//!
//! ```text
//!                    prepare            sequence start
//!   nothing ───────────────> prepared ────────────────> running ── end ──> ended
//!                                       gives prepare      │ start, traces: kept
//!                                                          │ sequence end: gives all that was kept, and itself
//! ```
//!
//! Pure; runs on the reader thread. Keeps the parts of one sequence, up to a limit, without copying them. Does not wait
//! for the rest of a sequence: one that the end of the run interrupts is counted and logged.

use std::{mem, sync::Arc};

use framegate_plugin_api::Frame;
use framegate_zmq_source::{Assembler, Flow, Frames, Malformed, Phase};

use crate::messages::Packet;

/// Combines all parts of a sequence, from its start to its end, into one event.
#[derive(Debug)]
pub struct LecroyAssembler {
    max_bytes: u64,
    /// A prepare message that no sequence start has confirmed yet. `None` while running.
    prepared: Option<Frames>,
    /// In continuous mode, the first part of the only start message; it is put before every later sequence.
    start: Option<Arc<[u8]>>,
    /// The parts of the current sequence, without the repeated start of continuous mode.
    kept: Frames,
    /// Size of `kept`. Above `max_bytes` the sequence is dropped, and nothing is kept until its end.
    bytes: u64,
    /// Whether this is the run's first sequence; it has its own start in continuous mode too.
    first: bool,
}

impl LecroyAssembler {
    /// Creates an assembler that drops sequences of more than `max_bytes`.
    #[must_use]
    pub fn new(max_bytes: u64) -> Self {
        Self { max_bytes, prepared: None, start: None, kept: Frames::new(), bytes: 0, first: true }
    }

    fn before(&mut self, packet: Result<Packet, Malformed>, message: Frames, flow: &mut Flow<'_, '_>) {
        match packet {
            Ok(Packet::Prepare) => {
                if self.prepared.replace(message).is_some() {
                    flow.skip(Malformed::new("a prepare that another one follows"));
                }
            }
            Ok(Packet::SequenceStart { continuous }) => {
                let Some(prepare) = self.prepared.take() else {
                    return flow.junk(first(&message), "the start of a sequence, without a prepare in this scan");
                };
                flow.start(prepare);
                if continuous {
                    self.start = message.first().map(|part| Arc::from(part.as_slice()));
                }
                self.keep(message, flow);
            }
            Ok(Packet::End) if self.prepared.take().is_some() => {
                flow.skip(Malformed::new("a prepare without a sequence"));
                flow.junk(first(&message), "an end, without a sequence");
            }
            Ok(_) => flow.junk(first(&message), "data or an end, without a prepare in this scan"),
            Err(why) => flow.junk(first(&message), why),
        }
    }

    fn keep(&mut self, message: Frames, flow: &mut Flow<'_, '_>) {
        let was_whole = self.bytes <= self.max_bytes;
        self.bytes = message.iter().fold(self.bytes, |sum, part| sum.saturating_add((part.len() as u64).max(PART)));
        if self.bytes <= self.max_bytes {
            self.kept.extend(message);
        } else if was_whole {
            self.kept.clear();
            flow.skip(Malformed::new("a sequence longer than max_sequence"));
        }
    }

    fn sequence_ends(&mut self, message: Frames, flow: &mut Flow<'_, '_>) {
        self.keep(message, flow);
        let too_long = self.bytes > self.max_bytes;
        let first = mem::replace(&mut self.first, false);
        let kept = self.next_sequence();
        match &self.start {
            // Already counted when it became too long.
            _ if too_long => {}
            Some(start) if !first => flow.data([Frame::from_owner(start.clone())].into_iter().chain(kept)),
            _ => flow.data(kept),
        }
    }

    fn run_ends(&mut self, message: Frames, flow: &mut Flow<'_, '_>) {
        // In continuous mode, the start message alone is not an incomplete sequence.
        let complete = usize::from(self.first && self.start.is_some());
        if self.next_sequence().len() > complete {
            flow.skip(Malformed::new("a sequence that the end of the run cut"));
        }
        flow.end(message);
    }

    /// Returns the kept parts and starts the next sequence.
    fn next_sequence(&mut self) -> Frames {
        self.bytes = 0;
        mem::take(&mut self.kept)
    }
}

impl Assembler for LecroyAssembler {
    const TYP: &'static str = "lecroy_9fwdWp6Rq7";

    fn take(&mut self, message: Frames, flow: &mut Flow<'_, '_>) {
        let read = Packet::read_with_frame(first(&message));
        let packet = read.map(|(packet, _)| packet);
        let frame = read.ok().and_then(|(_, frame)| frame);
        if flow.phase() == Phase::Before {
            self.before(packet, message, flow);
            // Only if this message started a run.
            number(packet, frame, flow);
            return;
        }
        number(packet, frame, flow);
        match packet {
            Ok(Packet::SequenceStart { .. } | Packet::Traces) => self.keep(message, flow),
            Ok(Packet::SequenceEnd) => self.sequence_ends(message, flow),
            Ok(Packet::End) => self.run_ends(message, flow),
            Ok(Packet::Prepare) => flow.skip(Malformed::new("a prepare inside a run")),
            Err(why) => flow.skip(why),
        }
    }

    fn bytes_waiting(&self) -> u64 {
        let parts = self.kept.iter().chain(self.prepared.iter().flatten());
        parts.map(|part| part.len() as u64).sum()
    }
}

fn first(message: &Frames) -> &[u8] {
    message.first().map_or(&[], Frame::as_slice)
}

/// Counts lost traces. They are numbered through the run, and every other message has the number of traces so far, so a
/// lost trace is noticed at the end of its sequence.
fn number(packet: Result<Packet, Malformed>, frame: Option<i64>, flow: &mut Flow<'_, '_>) {
    match (packet, frame) {
        (Ok(Packet::Traces), Some(frame)) => flow.number(frame),
        (Ok(Packet::SequenceStart { .. } | Packet::SequenceEnd | Packet::End), Some(frame)) => {
            flow.numbers_below(frame)
        }
        _ => {}
    }
}

/// Size of an empty part: about its place in memory, so that the limit also stops a flood of them.
const PART: u64 = 64;
