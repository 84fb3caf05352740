//! The counts of `listen` so far, and their display.
//!
//! Owns only the counts. Messages come from a network, so nothing in them is trusted.

use std::{
    collections::BTreeMap,
    ops::Deref,
    time::{Duration, Instant},
};

use bytesize::ByteSize;
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::words::cell;

/// The header of a message to a worker. Streams keep the order of the message, which is the order of the frames.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Header {
    /// The event's number.
    pub(super) event_number: u64,
    /// Each stream with its [`StreamHeader`].
    pub(super) streams: Map<String, Value>,
    /// Time of assembly.
    pub(super) created_at: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct StreamHeader {
    typ: String,
    length: usize,
}

/// All counts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Number of event messages.
    pub(super) events: u64,
    /// Number of other messages.
    pub(super) malformed: u64,
    /// Number of bytes in frames.
    pub(super) bytes: u64,
    /// Number of skipped event numbers.
    pub(super) missing: u64,
    /// How often numbers were skipped.
    pub(super) gaps: u64,
    /// How often the numbers went back: a new scan.
    pub(super) scans: u64,
    last_number: Option<u64>,
    streams: BTreeMap<String, StreamTally>,
    /// Times of the first and the last event.
    span: Option<(Instant, Instant)>,
    drawn: Option<Drawn>,
}

/// One stream.
#[derive(Debug, Default, Serialize)]
struct StreamTally {
    typ: String,
    events: u64,
    frames: u64,
    bytes: u64,
}

/// The values of the last drawn line.
#[derive(Debug)]
struct Drawn {
    at: Instant,
    events: u64,
    bytes: u64,
    rate: (f64, f64),
}

impl Tally {
    /// Counts a message; returns its header, or the reason why it is not an event message.
    pub(super) fn take<P: Deref<Target = [u8]>>(&mut self, parts: &[P]) -> Result<Header, String> {
        let checked = check(parts);
        if checked.is_err() {
            self.malformed += 1;
        }
        let (header, streams) = checked?;
        let now = Instant::now();
        self.span = Some((self.span.map_or(now, |(first, _)| first), now));
        self.events += 1;
        self.number(header.event_number);
        let mut frames = parts.iter().skip(1);
        for (name, stream) in streams {
            let bytes = frames.by_ref().take(stream.length).map(|frame| frame.len() as u64).sum::<u64>();
            let tally = self.streams.entry(name).or_default();
            tally.typ = stream.typ;
            tally.events += 1;
            tally.frames += stream.length as u64;
            tally.bytes += bytes;
            self.bytes += bytes;
        }
        Ok(header)
    }

    fn number(&mut self, number: u64) {
        let expected = match self.last_number {
            Some(last) if number > last => last + 1,
            // The first message may come in the middle of a scan: earlier events are not missing. A number that is not
            // greater than the last one begins a new scan.
            _ => {
                self.scans += 1;
                number
            }
        };
        self.missing += number - expected;
        self.gaps += u64::from(number > expected);
        self.last_number = Some(number);
    }

    /// Whether the line should be drawn again.
    pub(super) fn redraw(&mut self) -> bool {
        self.drawn.as_ref().is_none_or(|drawn| drawn.at.elapsed() >= REDRAW_EVERY)
    }

    /// A line for the terminal, with the rates since the last one.
    pub(super) fn line(&mut self) -> String {
        let now = Instant::now();
        let rate = match &self.drawn {
            Some(drawn) if now - drawn.at < REDRAW_EVERY => drawn.rate,
            Some(drawn) => {
                let seconds = (now - drawn.at).as_secs_f64();
                ((self.events - drawn.events) as f64 / seconds, (self.bytes - drawn.bytes) as f64 / seconds)
            }
            None => (0.0, 0.0),
        };
        self.drawn = Some(Drawn { at: now, events: self.events, bytes: self.bytes, rate });
        format!(
            "{} events ({:.0}/s), {} ({}/s), last number {}, {} not received",
            self.events,
            rate.0,
            ByteSize(self.bytes),
            ByteSize(rate.1 as u64),
            self.last_number.map_or("-".into(), |number| number.to_string()),
            self.missing
        )
    }

    /// The closing table.
    pub(super) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(["stream", "type", "events", "frames", "bytes"]);
        for (name, stream) in &self.streams {
            let (events, frames, bytes) = (stream.events, stream.frames, ByteSize(stream.bytes));
            table.add_row([cell(name), cell(&stream.typ), events.to_string(), frames.to_string(), bytes.to_string()]);
        }
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let seconds = self.seconds();
        let rate = if seconds > 0.0 { (self.events.max(1) - 1) as f64 / seconds } else { 0.0 };
        let mut text = table.trim_fmt();
        text += &format!(
            "\n{} events, {} in {seconds:.1} s ({rate:.0}/s); scans: {}; {} event numbers not received, in {} gaps",
            self.events,
            ByteSize(self.bytes),
            self.scans,
            self.missing,
            self.gaps
        );
        if self.missing > 0 {
            text += " (they went to other workers, or were lost)";
        }
        if self.malformed > 0 {
            text += &format!("; {} messages that are not event messages", self.malformed);
        }
        text
    }

    /// The closing line for `--json`.
    pub(super) fn json(&self) -> Value {
        json!({ "events": self.events, "bytes": self.bytes, "seconds": self.seconds(), "scans": self.scans,
            "missing": self.missing, "gaps": self.gaps, "malformed": self.malformed, "streams": self.streams })
    }

    fn seconds(&self) -> f64 {
        self.span.map_or(0.0, |(first, last)| (last - first).as_secs_f64())
    }
}

type Streams = Vec<(String, StreamHeader)>;

/// Parses the header and compares it with the frames.
fn check<P: Deref<Target = [u8]>>(parts: &[P]) -> Result<(Header, Streams), String> {
    let first = parts.first().ok_or("it has no parts")?;
    let header: Header = serde_json::from_slice(first).map_err(|error| format!("its header: {error}"))?;
    let stream = |(name, value): (&String, &Value)| match StreamHeader::deserialize(value) {
        Ok(stream) => Ok((name.clone(), stream)),
        Err(error) => Err(format!("its header, stream {name:?}: {error}")),
    };
    let streams = header.streams.iter().map(stream).collect::<Result<Streams, _>>()?;
    let named = streams.iter().fold(0usize, |sum, (_, stream)| sum.saturating_add(stream.length));
    if named != parts.len() - 1 {
        return Err(format!("its header names {named} frames, it has {}", parts.len() - 1));
    }
    Ok((header, streams))
}

/// Redraw interval.
const REDRAW_EVERY: Duration = Duration::from_millis(500);
