//! Requests and answers: no wait without an end, and how a child is given up.
#![forbid(unsafe_code)]

use std::{
    io,
    time::{Duration, Instant},
};

use framegate_plugin_abi::{caller::Fault, error::SourceError};
use nix::poll::{PollFd, PollFlags};

use super::Apart;
use crate::{
    link::{self, NOW_AND_THEN},
    wire::{Failure, Head, WireError, to_child},
};

impl Apart {
    pub(super) fn is_callable(&mut self) -> Result<(), Fault> {
        let Some(why) = self.poison.clone() else { return Ok(()) };
        Err(if std::mem::take(&mut self.is_untold) { Fault::Lost(why) } else { Fault::Poisoned(why) })
    }

    /// Makes a request, and waits for the answer.
    pub(super) fn request(&mut self, call: &'static str, kind: u16, body: &[u8]) -> Result<Vec<u8>, Fault> {
        self.request_within(self.launch.limit, call, kind, body)
    }

    /// As [`Apart::request`], with a limit of its own.
    pub(super) fn request_within(
        &mut self,
        limit: Duration,
        call: &'static str,
        kind: u16,
        body: &[u8],
    ) -> Result<Vec<u8>, Fault> {
        self.is_callable()?;
        (self.answer, self.asked_for) = (None, Some(kind));
        self.limit = limit;
        let answer = self.send(call, kind, body).and_then(|()| self.answer(call, |apart| apart.answer.take()));
        self.limit = self.launch.limit;
        answer?.map_err(|failure| self.failed(failure))
    }

    /// Sends a message.
    pub(super) fn send(&mut self, call: &'static str, kind: u16, body: &[u8]) -> Result<(), Fault> {
        let message = Head { run: self.run, ..Head::new(kind, 0) }.with(body);
        let deadline = Instant::now() + self.limit;
        let waits = || if Instant::now() < deadline { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) };
        match self.link.send_and_hear(&message, waits) {
            Ok(()) => {
                self.is_drained &= !self.link.has_unread();
                Ok(())
            }
            Err(problem) if problem.kind() == io::ErrorKind::TimedOut => Err(self.hangs(call)),
            Err(_) => Err(self.died(call)),
        }
    }

    /// Receives until there is what is waited for.
    pub(super) fn answer<T>(
        &mut self,
        call: &'static str,
        mut get: impl FnMut(&mut Self) -> Option<T>,
    ) -> Result<T, Fault> {
        self.asked = Instant::now();
        loop {
            if let Some(answer) = get(self) {
                return Ok(answer);
            }
            if self.link.has_ended() || self.process.ended().is_some() && !self.receive(call)? {
                return Err(self.died(call));
            }
            if self.asked.elapsed() >= self.limit {
                return Err(self.hangs(call));
            }
            let waited = link::wait(&mut [PollFd::new(self.link.descriptor(), PollFlags::POLLIN)], NOW_AND_THEN);
            waited.map_err(|problem| self.lost(format!("waiting for it failed: {problem}")))?;
            self.receive(call)?;
        }
    }

    /// A child that says nothing for a while is asked whether it lives, and killed if it does not answer.
    pub(super) fn ask_whether_it_lives(&mut self, now: Instant) -> Result<(), Fault> {
        if self.process.ended().is_some() && !self.receive("next")? {
            return Err(self.died("next"));
        }
        match self.pinged {
            Some(asked) if now.duration_since(asked) >= self.launch.limit => Err(self.hangs("next")),
            None if now.duration_since(self.heard) >= QUIET => {
                (self.pinged, self.heard) = (Some(now), now);
                self.send("next", to_child::PING, &[])
            }
            _ => Ok(()),
        }
    }

    pub(super) fn failed(&mut self, failure: Failure) -> Fault {
        match failure.kind {
            Some(kind) => Fault::Source(SourceError::new(kind, failure.text)),
            None => self.lost(failure.text),
        }
    }

    pub(super) fn died(&mut self, call: &str) -> Fault {
        let by_itself = self.process.wait(NOW_AND_THEN).is_some();
        let (how, said) = self.process.end();
        if by_itself {
            self.lost(format!("its process {how} in {call}{said}"))
        } else {
            self.lost(format!("its process closed its socket in {call}, and was killed{said}"))
        }
    }

    fn hangs(&mut self, call: &str) -> Fault {
        let (how, said) = self.process.end();
        let end = if how.starts_with("crashed with SIGKILL") { "was killed" } else { how.as_str() };
        self.lost(format!("its process did not answer {call} for {:?}, and {end}{said}", self.limit))
    }

    pub(super) fn nonsense(&mut self, wrong: &WireError) -> Fault {
        let (_, said) = self.process.end();
        self.lost(format!("its process broke the protocol with {wrong}, and was killed{said}"))
    }

    /// The source is not called again.
    pub(super) fn lost(&mut self, why: String) -> Fault {
        self.poison = Some(why.clone());
        self.drop_events();
        Fault::Lost(why)
    }
}

/// After so long without a message the child is asked whether it lives.
const QUIET: Duration = Duration::from_secs(1);
