//! The states of a run (before its start, running, ended), and the counts of messages that gave no event.
//!
//! Pure; every source uses it on the reader thread. Events pass through it to the sink; it keeps none. A protocol
//! cannot yield data before the start or anything after the end.

use std::fmt;

use framegate_plugin_api::{EventKind, EventSink, Frame, HostContext, LogLevel};

use crate::state::{Malformed, Phase, RunState};

/// The interface through which an assembler yields events and counts.
pub struct Flow<'a, 'b> {
    state: &'a mut RunState,
    out: &'a mut EventSink<'b>,
    host: &'a HostContext,
}

impl RunState {
    /// The interface to the sink, for one call of the host.
    pub fn flow<'a, 'b>(&'a mut self, out: &'a mut EventSink<'b>, host: &'a HostContext) -> Flow<'a, 'b> {
        Flow { state: self, out, host }
    }
}

impl Flow<'_, '_> {
    /// The state of the run.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.state.phase
    }

    /// Yields the event that starts the run. A second start inside a run is counted and gives no event.
    pub fn start(&mut self, frames: impl IntoIterator<Item = Frame>) {
        self.release_end();
        if self.state.phase == Phase::Before {
            self.host.log(LogLevel::Info, format!("{}: the detector started a series", self.state.typ));
            self.out.push(self.state.typ, EventKind::Start, frames);
            self.state.phase = Phase::Running;
            self.state.runs.add();
        } else {
            self.skip(Malformed::new("a start inside a run"));
        }
    }

    /// Yields an event of a running run; before the start it is junk.
    pub fn data(&mut self, frames: impl IntoIterator<Item = Frame>) {
        match self.state.phase {
            Phase::Running => self.out.push(self.state.typ, EventKind::Data, frames),
            Phase::Before => self.junk_of(frames, "data, without a start in this scan"),
            Phase::Ended => self.state.late(self.host),
        }
    }

    /// Records the detector's own number of this data, so that gaps are counted. Has no other effect; none at all for a
    /// run over several connections, because their messages mix.
    pub fn number(&mut self, number: i64) {
        if self.state.phase == Phase::Running && !self.state.holds_ends {
            self.state.received.number(number);
        }
    }

    /// Records that the detector has numbered its data up to below `next`; see [`Flow::number`].
    pub fn numbers_below(&mut self, next: i64) {
        if self.state.phase == Phase::Running && !self.state.holds_ends {
            self.state.received.numbers_below(next);
        }
    }

    /// Counts data that the detector reports as sent and that did not arrive; `count` may be 0.
    pub fn lost(&mut self, count: u64) {
        self.state.received.lost(count);
    }

    /// Yields the run's last event, or holds it if ends are held; before the start it is junk.
    pub fn end(&mut self, frames: impl IntoIterator<Item = Frame>) {
        match self.state.phase {
            Phase::Running if self.state.held.is_some() => self.state.late(self.host),
            Phase::Running if self.state.holds_ends => self.state.held = Some(frames.into_iter().collect()),
            Phase::Running => self.give_end(frames),
            Phase::Before => self.junk_of(frames, "an end, without a start in this scan"),
            Phase::Ended => self.state.late(self.host),
        }
    }

    /// Yields the held end, if there is one.
    pub fn release_end(&mut self) {
        if let Some(frames) = self.state.held.take() {
            self.give_end(frames);
        }
    }

    fn give_end(&mut self, frames: impl IntoIterator<Item = Frame>) {
        self.host.log(LogLevel::Info, format!("{}: the detector ended the series", self.state.typ));
        self.out.push(self.state.typ, EventKind::End, frames);
        self.state.phase = Phase::Ended;
    }

    /// After an end, or when a run broke off: allows another start in the same scan. For protocols that allow it.
    pub fn again(&mut self) {
        self.state.phase = Phase::Before;
    }

    /// Whether the batch is large enough; further events belong into the next.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.out.is_full()
    }

    /// Counts and logs an invalid message.
    pub fn skip(&mut self, why: Malformed) {
        self.state.invalid(why, self.host);
    }

    /// Like [`Flow::skip`], with a `detail` appended that differs from message to message and that people need to know.
    pub fn skip_with(&mut self, why: Malformed, detail: impl fmt::Display) {
        self.state.invalid_with(why, &format_args!(": {detail}"), self.host);
    }

    /// Counts a message that came before the run's start. `first` is its first part; `why` is its kind, or what is
    /// wrong with it. The first such message of a scan is logged with both.
    pub fn junk(&mut self, first: &[u8], why: impl fmt::Display) {
        self.state.early(first, &why, self.host);
    }

    fn junk_of(&mut self, frames: impl IntoIterator<Item = Frame>, why: &str) {
        let first = frames.into_iter().next();
        self.junk(first.as_ref().map_or(&[], Frame::as_slice), why);
    }
}

impl fmt::Debug for Flow<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow").field("state", &self.state).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        state::{AFTER_END, Runs},
        testing::TestHost,
    };

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
            state.flow(&mut out, &context).junk(b"{\"a\":\n \xc2\x9b}", "no start");
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
            [("before the start of a run", 3), ("asks", 3), ("a start inside a run", 1), (AFTER_END.reason(), 1)]
        );
        assert_eq!(state.counters(), [("messages", 6), ("bytes", 33), ("invalid", 4), ("runs_so_far", 1)]);
        let warnings = || host.lines().into_iter().filter(|(level, _)| *level == LogLevel::Warn).collect::<Vec<_>>();
        assert_eq!(warnings().len(), 3);
        let early = "X: message skipped before the start of a run: no start (message 1 of the scan); it begins with: {\"a\":\\n \\u{9b}}; others";
        assert!(warnings()[0].1.starts_with(early), "{:?}", warnings());
        assert!(host.lines().iter().any(|(_, line)| line.contains("X: message skipped: asks: a (message 4")));
        // The next scan logs it again and continues the count of runs.
        let mut state = RunState::new("X", &runs);
        state.flow(&mut out, &context).skip(Malformed::new("asks"));
        assert_eq!(warnings().len(), 4);
        assert_eq!(state.counters()[3], ("runs_so_far", 1));
    }
    #[test]
    fn an_end_that_is_held_comes_after_the_data_that_follow_it_and_before_nothing_else() {
        let (_, context) = TestHost::new();
        let mut state = RunState::new("X", &Runs::default());
        state.hold_ends();
        let mut kinds = Vec::new();
        let mut push = |event: framegate_plugin_api::Event| kinds.push(event.kind);
        let mut out = EventSink::new(&mut push, usize::MAX, usize::MAX);
        let mut flow = state.flow(&mut out, &context);
        flow.start([]);
        flow.end([]);
        flow.data([]);
        flow.end([]);
        flow.release_end();
        flow.data([]);
        assert_eq!(flow.phase(), Phase::Ended);
        assert_eq!(kinds, [EventKind::Start, EventKind::Data, EventKind::End]);
        assert_eq!(state.skipped(), [(AFTER_END.reason(), 2)]);
        assert!(!state.holds_an_end());
    }

    #[test]
    fn over_several_connections_numbers_are_not_counted() {
        let (_, context) = TestHost::new();
        let mut push = |_| {};
        let mut out = EventSink::new(&mut push, usize::MAX, usize::MAX);
        let mut lost = |holds_ends: bool| {
            let mut state = RunState::new("X", &Runs::default());
            if holds_ends {
                state.hold_ends();
            }
            let mut flow = state.flow(&mut out, &context);
            flow.start([]);
            [1, 3, 2, 5, 4].into_iter().for_each(|number| flow.number(number));
            flow.numbers_below(7);
            state.counters().into_iter().find(|(name, _)| *name == "lost_on_the_way").map(|(_, count)| count)
        };
        assert_eq!((lost(false), lost(true)), (Some(5), None));
    }
}
