//! The states of a run: before its start, running, ended; and the account of what gave no event.
//!
//! Pure; used on the reader thread, by every source. It sees events only on their way to the sink and keeps none. A protocol cannot yield
//! data before the start or anything after the end, whatever it does.

use std::{cell::Cell, fmt, fmt::Write as _, rc::Rc};

use framegate_plugin_api::{EventKind, EventSink, Frame, HostContext, LogLevel};

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

/// Where an assembler puts what it made of a message.
pub struct Flow<'a, 'b> {
    state: &'a mut RunState,
    out: &'a mut EventSink<'b>,
    host: &'a HostContext,
}

/// Runs of a detector that a source has seen, over all scans: the source holds one, and the run of each scan counts in it.
#[derive(Debug, Clone, Default)]
pub struct Runs(Rc<Cell<u64>>);

/// The part of a [`Flow`] that lasts as long as the run.
#[derive(Debug)]
pub struct RunState {
    typ: &'static str,
    phase: Phase,
    /// Invariant: each reason stands once. Few, so a search beats a map.
    skipped: Vec<(&'static str, u64)>,
    received: Received,
    /// Messages that should have been some, and are not.
    invalid: u64,
    /// Why the last of them was not, in words; written over by the next, so that a flood of them allocates nothing.
    last_invalid: String,
    runs: Runs,
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
        }
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

    /// The way to the sink, for as long as one call of the host lasts.
    pub fn flow<'a, 'b>(&'a mut self, out: &'a mut EventSink<'b>, host: &'a HostContext) -> Flow<'a, 'b> {
        Flow { state: self, out, host }
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

    /// Counts a message that may be valid, but not where it came: before the start, or after the end.
    pub fn stray(&mut self, reason: &'static str, host: &HostContext) {
        if self.count(reason, 1) == 1 {
            host.log(LogLevel::Debug, format!("{}: messages {reason} are dropped", self.typ));
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

impl Flow<'_, '_> {
    /// Where the run stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.state.phase
    }

    /// Gives the event that starts the run. A second start inside a run is counted and gives nothing.
    pub fn start(&mut self, frames: impl IntoIterator<Item = Frame>) {
        if self.state.phase == Phase::Before {
            self.host.log(LogLevel::Info, format!("{}: a run starts", self.state.typ));
            self.out.push(self.state.typ, EventKind::Start, frames);
            self.state.phase = Phase::Running;
            self.state.runs.0.set(self.state.runs.0.get() + 1);
        } else {
            self.skip(Malformed("a start inside a run"));
        }
    }

    /// Gives an event of a running run; before the start it is junk.
    pub fn data(&mut self, frames: impl IntoIterator<Item = Frame>) {
        match self.state.phase {
            Phase::Running => self.out.push(self.state.typ, EventKind::Data, frames),
            Phase::Before => self.junk(),
            Phase::Ended => self.state.stray(AFTER_END.0, self.host),
        }
    }

    /// Takes note of the detector's own number of the data that is given, so that gaps are counted. Decides nothing.
    pub fn number(&mut self, number: i64) {
        if self.state.phase == Phase::Running {
            self.state.received.number(number);
        }
    }

    /// Takes note that the detector has numbered its data up to below this number.
    pub fn numbers_below(&mut self, next: i64) {
        if self.state.phase == Phase::Running {
            self.state.received.numbers_below(next);
        }
    }

    /// Takes note of so many data that the detector tells of and that did not come; 0 if it tells of none.
    pub fn lost(&mut self, count: u64) {
        self.state.received.lost(count);
    }

    /// Gives the run's last event; before the start it is junk.
    pub fn end(&mut self, frames: impl IntoIterator<Item = Frame>) {
        match self.state.phase {
            Phase::Running => {
                self.host.log(LogLevel::Info, format!("{}: the run has ended", self.state.typ));
                self.out.push(self.state.typ, EventKind::End, frames);
                self.state.phase = Phase::Ended;
            }
            Phase::Before => self.junk(),
            Phase::Ended => self.state.stray(AFTER_END.0, self.host),
        }
    }

    /// After an end, or when a run broke off: what comes next may start a run again, in the same scan. For protocols that allow
    /// it.
    pub fn again(&mut self) {
        self.state.phase = Phase::Before;
    }

    /// Whether the batch is large enough; what is still to give belongs into the next.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.out.is_full()
    }

    /// Counts and logs a message that does not validate.
    pub fn skip(&mut self, why: Malformed) {
        self.state.invalid(why, self.host);
    }

    /// Like [`Flow::skip`], for a reason that differs from message to message in something that people need to know:
    /// `detail` follows it.
    pub fn skip_with(&mut self, why: Malformed, detail: impl fmt::Display) {
        self.state.invalid_with(why, &format_args!(": {detail}"), self.host);
    }

    /// Counts a message that came before the run's start.
    pub fn junk(&mut self) {
        self.state.stray("before the start of a run", self.host);
    }
}

impl fmt::Debug for Flow<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow").field("state", &self.state).finish_non_exhaustive()
    }
}

/// What arrives after the end of a run and before the next scan.
pub const AFTER_END: Malformed = Malformed("after the end of the run");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestHost;

    #[test]
    fn a_reason_is_logged_once_in_a_run_and_the_last_one_is_kept_with_its_message() {
        let (host, context) = TestHost::new();
        let runs = Runs::default();
        let mut state = RunState::new("X", &runs);
        assert_eq!(state.last_invalid(), None);
        let mut push = |_| {};
        let mut out = EventSink::new(&mut push, usize::MAX, usize::MAX);
        for _ in 0..3 {
            state.received(10);
            state.flow(&mut out, &context).junk();
        }
        for name in ["a", "b", "c"] {
            state.received(1);
            state.flow(&mut out, &context).skip_with(Malformed::new("asks"), name);
        }
        assert_eq!(state.last_invalid().as_deref(), Some("asks: c (message 6 of the scan)"));
        state.flow(&mut out, &context).start([]);
        state.flow(&mut out, &context).start([]);
        state.flow(&mut out, &context).end([]);
        state.flow(&mut out, &context).data([]);
        assert_eq!(
            state.skipped(),
            [("before the start of a run", 3), ("asks", 3), ("a start inside a run", 1), (AFTER_END.0, 1)]
        );
        assert_eq!(state.counters(), [("messages", 6), ("bytes", 33), ("invalid", 4), ("runs_so_far", 1)]);
        assert_eq!(host.lines().iter().filter(|(level, _)| *level == LogLevel::Warn).count(), 2);
        assert!(host.lines().iter().any(|(_, line)| line.contains("X: message skipped: asks: a (message 4")));
        // The next scan says it again, and goes on counting runs.
        let mut state = RunState::new("X", &runs);
        state.flow(&mut out, &context).skip(Malformed::new("asks"));
        assert_eq!(host.lines().iter().filter(|(level, _)| *level == LogLevel::Warn).count(), 3);
        assert_eq!(state.counters()[3], ("runs_so_far", 1));
    }
}
