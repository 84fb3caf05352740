//! The states of a run: before its start, running, ended; and the account of what gave no event.
//!
//! Pure; used on the reader thread, by every source. It sees events only on their way to the sink and keeps none. A protocol cannot yield
//! data before the start or anything after the end, whatever it does.

use std::fmt;

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

/// The part of a [`Flow`] that lasts as long as the run.
#[derive(Debug)]
pub struct RunState {
    typ: &'static str,
    phase: Phase,
    /// Invariant: each reason stands once. Few, so a search beats a map.
    skipped: Vec<(&'static str, u64)>,
    received: Received,
}

impl RunState {
    /// Before the start; `typ` is the protocol's name as workers see it.
    #[must_use]
    pub fn new(typ: &'static str) -> Self {
        Self { typ, phase: Phase::Before, skipped: Vec::new(), received: Received::default() }
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

    /// What was received: `messages`, `bytes`, and `lost_on_the_way` if the detector numbers its data.
    #[must_use]
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        self.received.counters()
    }

    /// The way to the sink, for as long as one call of the host lasts.
    pub fn flow<'a, 'b>(&'a mut self, out: &'a mut EventSink<'b>, host: &'a HostContext) -> Flow<'a, 'b> {
        Flow { state: self, out, host }
    }

    /// Counts what gave no event before this run was there, without a word.
    pub fn count(&mut self, reason: &'static str, count: u64) {
        match self.skipped.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, known)) => *known += count,
            None if count > 0 => self.skipped.push((reason, count)),
            None => {}
        }
    }

    /// Counts a message without event; logs the 1st, 10th, 100th, … of each reason.
    pub fn skip(&mut self, reason: &'static str, level: LogLevel, host: &HostContext) {
        self.skip_with(reason, &"", level, host);
    }

    /// Like `skip`, with what differs from message to message for the log.
    fn skip_with(&mut self, reason: &'static str, detail: &dyn fmt::Display, level: LogLevel, host: &HostContext) {
        let count = match self.skipped.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => {
                *count += 1;
                *count
            }
            None => {
                self.skipped.push((reason, 1));
                1
            }
        };
        if is_power_of_ten(count) {
            host.log(level, format!("{}: message skipped: {reason}{detail} ({count} so far in this run)", self.typ));
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
        } else {
            self.skip(Malformed("a start inside a run"));
        }
    }

    /// Gives an event of a running run; before the start it is junk.
    pub fn data(&mut self, frames: impl IntoIterator<Item = Frame>) {
        match self.state.phase {
            Phase::Running => self.out.push(self.state.typ, EventKind::Data, frames),
            Phase::Before => self.junk(),
            Phase::Ended => self.skip(AFTER_END),
        }
    }

    /// Takes note of the detector's own number of the data that is given, so that gaps are counted. Decides nothing.
    pub fn number(&mut self, number: i64) {
        if self.state.phase == Phase::Running {
            self.state.received.number(number);
        }
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
            Phase::Ended => self.skip(AFTER_END),
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
        self.state.skip(why.reason(), LogLevel::Warn, self.host);
    }

    /// Like [`Flow::skip`], for a reason that differs from message to message in something that people need to know:
    /// `detail` follows it in the log, and is not written when nothing is logged.
    pub fn skip_with(&mut self, why: Malformed, detail: impl fmt::Display) {
        self.state.skip_with(why.reason(), &format_args!(": {detail}"), LogLevel::Warn, self.host);
    }

    /// Counts a message that came before the run's start.
    pub fn junk(&mut self) {
        self.state.skip("before the start of a run", LogLevel::Debug, self.host);
    }
}

impl fmt::Debug for Flow<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow").field("state", &self.state).finish_non_exhaustive()
    }
}

/// What arrives after the end of a run and before the next scan.
pub const AFTER_END: Malformed = Malformed("after the end of the run");

fn is_power_of_ten(mut count: u64) -> bool {
    while count.is_multiple_of(10) && count > 0 {
        count /= 10;
    }
    count == 1
}
