//! What a run gives: its events, and its status.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use framegate_plugin_abi::{
    caller::{Fault, Limits, RunStatus},
    codes::{EventKind, Progress},
};
use nix::poll::{PollFd, PollFlags};

use super::{Apart, Frames};
use crate::{
    link::{self, NOW_AND_THEN},
    wire::{StatusText, to_child},
};

impl Apart {
    /// Takes events; waits at most so long for the first.
    ///
    /// # Errors
    /// The source's own error, or any other fault of it. Events that were taken stay valid.
    pub fn next(
        &mut self,
        limits: Limits,
        most: Duration,
        mut take: impl FnMut(&'static str, EventKind, Frames),
    ) -> Result<Progress, Fault> {
        self.is_callable()?;
        if !self.is_open {
            return Ok(Progress::End);
        }
        let deadline = Instant::now() + most;
        let mut looks = !self.is_drained;
        loop {
            if self.events.is_empty() && looks {
                self.ahead = 0;
                self.receive("next")?;
            }
            looks = true;
            if !self.events.is_empty() {
                let (mut events, mut bytes) = (0, 0);
                while events < limits.events && bytes < limits.bytes as u64 {
                    let Some(given) = self.events.pop_front() else { break };
                    (events, bytes) = (events + 1, bytes + given.bytes);
                    take(given.typ, given.kind, given.frames);
                }
                self.arena.take(bytes);
                return Ok(match self.events.is_empty() && self.is_drained {
                    true if self.has_ended => Progress::End,
                    true if self.broken.is_none() => Progress::Idle,
                    _ => Progress::More,
                });
            }
            if let Some(failure) = self.broken.take() {
                return Err(self.failed(failure));
            }
            let now = Instant::now();
            let over = if self.has_ended { Progress::End } else { Progress::Idle };
            if self.link.has_ended() {
                return Err(self.died("next"));
            }
            if now >= deadline || self.services.stop_requested() {
                return Ok(over);
            }
            if self.has_ended && !std::mem::replace(&mut self.has_told_end, true) {
                return Ok(over);
            }
            let mut ends = [
                PollFd::new(self.link.descriptor(), PollFlags::POLLIN),
                PollFd::new(self.services.stop_descriptor(), PollFlags::POLLIN),
            ];
            let waited = link::wait(&mut ends, deadline.saturating_duration_since(now).min(NOW_AND_THEN));
            let has_come = ends.iter().any(|end| end.any() == Some(true));
            waited.map_err(|problem| self.lost(format!("waiting for it failed: {problem}")))?;
            if !has_come {
                self.ask_whether_it_lives(Instant::now())?;
            }
        }
    }

    /// Asks for the event with this number.
    ///
    /// # Errors
    /// The source's own error, or any other fault of it.
    pub fn trigger(
        &mut self,
        event_number: u64,
        mut take: impl FnMut(&'static str, EventKind, Frames),
    ) -> Result<(), Fault> {
        if !self.is_open {
            return Ok(());
        }
        let done = self.request("trigger", to_child::TRIGGER, &event_number.to_le_bytes());
        for given in std::mem::take(&mut self.events) {
            take(given.typ, given.kind, given.frames);
            self.arena.take(given.bytes);
        }
        self.ahead = 0;
        // Its event can never be given, for example: that says more than a missing event.
        if let Some(failure) = self.broken.take() {
            return Err(self.failed(failure));
        }
        done.map(drop)
    }

    /// What the run tells about itself.
    ///
    /// # Errors
    /// Any fault of the source.
    pub fn status(&mut self) -> Result<RunStatus, Fault> {
        self.is_callable()?;
        if !self.is_open {
            return Ok(RunStatus::default());
        }
        self.status = None;
        // If it has ended, that was in another call, and the next one tells.
        let asked =
            self.send("next", to_child::ASK, &[]).and_then(|()| self.answer("next", |apart| apart.status.take()));
        self.is_untold = asked.is_err();
        let StatusText { counters, skipped, last_invalid, bytes_waiting, connected, peer } = asked?;
        let connected = connected.map(|(connected, lasted)| (connected, Duration::from_nanos(lasted)));
        Ok(RunStatus { counters, skipped, last_invalid, bytes_waiting, connected, peer }.limited())
    }
}
