//! The state of a run, and the counts of messages that gave no event.
//!
//! Pure; every source uses it on the reader thread. `flow.rs` changes it.

use std::{cell::Cell, fmt, fmt::Write as _, rc::Rc};

use framegate_plugin_api::{Connection, HostContext, LogLevel, RunStatus};

use crate::{Frames, received::Received};

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The start message has not arrived: every other message is junk.
    Before,
    /// Between start and end.
    Running,
    /// The end was given: later messages are read, dropped and counted.
    Ended,
}

/// Why a message gives no event. The reason is a fixed text, so that counting it costs nothing and cannot grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(&'static str);

impl Malformed {
    /// A reason, in a few words: it is the name of the counter shown to people.
    #[must_use]
    pub const fn new(reason: &'static str) -> Self {
        Self(reason)
    }

    /// The reason's text.
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

/// Number of a detector's runs, over all scans: the source holds it, and the run of each scan increments it.
#[derive(Debug, Clone, Default)]
pub struct Runs(Rc<Cell<u64>>);

impl Runs {
    pub(crate) fn add(&self) {
        self.0.set(self.0.get() + 1);
    }
}

/// The part of a [`Flow`](crate::Flow) that lives as long as the run.
#[derive(Debug)]
pub struct RunState {
    pub(crate) typ: &'static str,
    pub(crate) phase: Phase,
    /// Invariant: each reason occurs once. There are few, so a search is faster than a map.
    skipped: Vec<(&'static str, u64)>,
    pub(crate) received: Received,
    /// Invalid messages.
    invalid: u64,
    /// Reason of the last invalid message, as text; the next overwrites it, so that a flood of them allocates nothing.
    last_invalid: String,
    pub(crate) runs: Runs,
    /// Whether an end waits for data that may still arrive over another connection.
    pub(crate) holds_ends: bool,
    /// The waiting end.
    pub(crate) held: Option<Frames>,
}

impl RunState {
    /// A run before its start; `typ` is the protocol's name as workers see it.
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

    /// From now on an end waits until [`release_end`](crate::Flow::release_end). For runs over several connections.
    pub fn hold_ends(&mut self) {
        self.holds_ends = true;
    }

    /// Whether an end waits.
    #[must_use]
    pub fn holds_an_end(&self) -> bool {
        self.held.is_some()
    }

    /// The state of the run.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Messages that gave no event: each reason with its count.
    #[must_use]
    pub fn skipped(&self) -> &[(&'static str, u64)] {
        &self.skipped
    }

    /// Counts a received message of any kind.
    pub fn received(&mut self, bytes: usize) {
        self.received.message(bytes);
    }

    /// Counters: `messages`, `bytes`, `invalid` messages, `lost_on_the_way` if the detector numbers its data, and
    /// `runs_so_far`, over all scans.
    #[must_use]
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        let mut counters = self.received.counters();
        counters.extend([("invalid", self.invalid), ("runs_so_far", self.runs.0.get())]);
        counters
    }

    /// All of this for the host.
    #[must_use]
    pub fn status(&self, bytes_waiting: u64, connection: Connection) -> RunStatus {
        RunStatus {
            counters: self.counters(),
            skipped: self.skipped.clone(),
            last_invalid: self.last_invalid(),
            bytes_waiting,
            connection,
        }
    }

    /// The reason and number of the last invalid message.
    #[must_use]
    pub fn last_invalid(&self) -> Option<String> {
        (self.invalid > 0).then(|| self.last_invalid.clone())
    }

    /// Counts messages without an event; logs nothing. Returns the total for this reason in this run.
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

    /// Counts an invalid message; the first for each reason is logged.
    pub fn invalid(&mut self, why: Malformed, host: &HostContext) {
        self.invalid_with(why, &"", host);
    }

    /// Counts a message that came after the run's end.
    pub fn late(&mut self, host: &HostContext) {
        if self.count(AFTER_END.0, 1) == 1 {
            host.log(LogLevel::Debug, format!("{}: skipping messages {AFTER_END}", self.typ));
        }
    }

    /// Counts a message that arrived before the start. The first in a scan is logged, with its beginning and the reason
    /// why it is no start. Without the log line, nobody would know why a detector that does not fit its source gives
    /// empty scans.
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

    /// Like `invalid`, with a detail that differs from message to message.
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

/// Messages after the end of a run and before the next scan.
pub(crate) const AFTER_END: Malformed = Malformed("after the end of the run");

/// Messages before the start of a run.
const BEFORE_START: &str = "before the start of a run";

/// The beginning of a message, for a log line.
fn shown(message: &[u8]) -> String {
    let beginning = &message[..message.len().min(SHOWN)];
    let mut text = String::new();
    for char in String::from_utf8_lossy(beginning).chars() {
        if char.is_ascii_graphic() || char == ' ' { text.push(char) } else { text.extend(char.escape_default()) }
    }
    if beginning.len() < message.len() { text + "..." } else { text }
}

/// Bytes of a message to show: enough for the names of a header's first fields.
const SHOWN: usize = 120;
