//! Where a run stands, and the account of what gave no event.
//!
//! Pure; used on the reader thread, by every source. `flow.rs` moves it.

use std::{cell::Cell, fmt, fmt::Write as _, rc::Rc};

use framegate_plugin_api::{Frames, HostContext, LogLevel};

use crate::received::Received;

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The start message has not come: everything else is junk.
    Before,
    /// Between start and end.
    Running,
    /// The end was given: what arrives is read, dropped and counted.
    Ended,
}

/// Why a message gives no event. The reason is a fixed text, so that counting it costs nothing and cannot grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(&'static str);

impl Malformed {
    /// A reason, in a few words: it is the key of the count that people see.
    #[must_use]
    pub const fn new(reason: &'static str) -> Self {
        Self(reason)
    }

    /// The words.
    #[must_use]
    pub fn reason(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Runs of a detector that a source has seen, over all scans: the source holds one, and the run of each scan counts in it.
#[derive(Debug, Clone, Default)]
pub struct Runs(Rc<Cell<u64>>);

impl Runs {
    pub(crate) fn add(&self) {
        self.0.set(self.0.get() + 1);
    }
}

/// The part of a [`Flow`](crate::Flow) that lasts as long as the run.
#[derive(Debug)]
pub struct RunState {
    pub(crate) typ: &'static str,
    pub(crate) phase: Phase,
    /// Invariant: each reason stands once. Few, so a search beats a map.
    skipped: Vec<(&'static str, u64)>,
    pub(crate) received: Received,
    /// Messages that should have been some, and are not.
    invalid: u64,
    /// Why the last of them was not, in words; written over by the next, so that a flood of them allocates nothing.
    last_invalid: String,
    pub(crate) runs: Runs,
    /// Whether an end waits for data that may still come, over another connection.
    pub(crate) holds_ends: bool,
    /// The end that waits.
    pub(crate) held: Option<Frames>,
}

impl RunState {
    /// Before the start; `typ` is the protocol's name as workers see it.
    #[must_use]
    pub fn new(typ: &'static str, runs: &Runs) -> Self {
        Self {
            typ,
            phase: Phase::Before,
            skipped: Vec::new(),
            received: Received::default(),
            invalid: 0,
            last_invalid: String::new(),
            runs: runs.clone(),
            holds_ends: false,
            held: None,
        }
    }

    /// From now on an end waits until [`release_end`](crate::Flow::release_end): for runs that come over several connections.
    pub fn hold_ends(&mut self) {
        self.holds_ends = true;
    }

    /// Whether an end waits.
    #[must_use]
    pub fn holds_an_end(&self) -> bool {
        self.held.is_some()
    }

    /// Where the run stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// What gave no event, each reason with its count.
    #[must_use]
    pub fn skipped(&self) -> &[(&'static str, u64)] {
        &self.skipped
    }

    /// Takes note of a message that has arrived, whatever becomes of it.
    pub fn received(&mut self, bytes: usize) {
        self.received.message(bytes);
    }

    /// What was received: `messages`, `bytes`, how many of them were `invalid`, `lost_on_the_way` if the detector numbers its data, and
    /// `runs_so_far`, over all scans.
    #[must_use]
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        let mut counters = self.received.counters();
        counters.extend([("invalid", self.invalid), ("runs_so_far", self.runs.0.get())]);
        counters
    }

    /// Why the last message that was invalid was so, and which it was.
    #[must_use]
    pub fn last_invalid(&self) -> Option<String> {
        (self.invalid > 0).then(|| self.last_invalid.clone())
    }

    /// Counts what gave no event, without a word. Answers how often it happened in this run.
    pub fn count(&mut self, reason: &'static str, count: u64) -> u64 {
        match self.skipped.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, known)) => {
                *known += count;
                *known
            }
            None => {
                if count > 0 {
                    self.skipped.push((reason, count));
                }
                count
            }
        }
    }

    /// Counts a message that does not validate; the first of each reason is logged.
    pub fn invalid(&mut self, why: Malformed, host: &HostContext) {
        self.invalid_with(why, &"", host);
    }

    /// Counts a message that came after the run's end.
    pub fn late(&mut self, host: &HostContext) {
        if self.count(AFTER_END.0, 1) == 1 {
            host.log(LogLevel::Debug, format!("{}: messages {AFTER_END} are dropped", self.typ));
        }
    }

    /// Counts a message that came while a start was waited for. The first in a scan is logged, with how it begins and why it is no start:
    /// otherwise a detector that does not fit its source would give empty scans, and nobody would learn why.
    pub(crate) fn early(&mut self, first: &[u8], why: &dyn fmt::Display, host: &HostContext) {
        if self.count(BEFORE_START, 1) == 1 {
            let line = format!(
                "{}: message skipped {BEFORE_START}: {why} (message {} of the scan); it begins with: {}; others are counted in status",
                self.typ,
                self.received.messages(),
                shown(first)
            );
            host.log(LogLevel::Warn, line);
        }
    }

    /// Like `invalid`, with what differs from message to message.
    pub fn invalid_with(&mut self, why: Malformed, detail: &dyn fmt::Display, host: &HostContext) {
        self.invalid += 1;
        self.last_invalid.clear();
        // Writing into a string does not fail.
        let _ = write!(self.last_invalid, "{why}{detail} (message {} of the scan)", self.received.messages());
        if self.count(why.0, 1) == 1 {
            let line = format!(
                "{}: message skipped: {}; others for this reason are counted in status",
                self.typ, self.last_invalid
            );
            host.log(LogLevel::Warn, line);
        }
    }
}

/// What arrives after the end of a run and before the next scan.
pub(crate) const AFTER_END: Malformed = Malformed("after the end of the run");

/// What arrives while a start is waited for.
const BEFORE_START: &str = "before the start of a run";

/// The beginning of a message, for a line of the log.
fn shown(message: &[u8]) -> String {
    let beginning = &message[..message.len().min(SHOWN)];
    let mut text = String::new();
    for char in String::from_utf8_lossy(beginning).chars() {
        if char.is_ascii_graphic() || char == ' ' { text.push(char) } else { text.extend(char.escape_default()) }
    }
    if beginning.len() < message.len() { text + "..." } else { text }
}

/// Bytes of a message that are shown: the names of a header's first fields.
const SHOWN: usize = 120;
