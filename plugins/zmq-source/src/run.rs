//! A run: joins a link, an assembler and the states of a run into what the host calls.
//!
//! Runs on the reader thread. Owns the connection. It never waits longer than the host's deadline, and no message can
//! end it.

use std::{cell::Cell, rc::Rc};

use framegate_plugin_api::{Deadline, EventSink, HostContext, LogLevel, Progress, SourceError, SourceRun};
use framegate_source_kit::{AFTER_END, Phase, RunState};

use crate::{
    link::{Pattern, Received},
    links::Links,
    protocol::Assembler,
    settings::{BetweenScans, ZmqSettings},
};

/// What lasts between scans: where the detector is, and how to listen to it. Holds no connection.
#[derive(Debug)]
pub struct Upstream {
    settings: ZmqSettings,
    pattern: Pattern,
    host: HostContext,
    /// Runs of the detector that were seen. Counted by the scans' runs, one at a time.
    runs: Rc<Cell<u64>>,
}

impl Upstream {
    /// Talks to nobody. `pattern` is what the protocol's detectors use; the settings may say otherwise.
    #[must_use]
    pub fn new(settings: ZmqSettings, pattern: Pattern, host: HostContext) -> Self {
        let pattern = settings.pattern.unwrap_or(pattern);
        Self { settings, pattern, host, runs: Rc::default() }
    }

    /// Connects for one scan. What a detector sends when this has returned is not lost (PUB: if it was there in time).
    ///
    /// # Errors
    /// The machine refuses a socket or the address. An absent detector is not an error.
    pub fn open<A: Assembler>(&self, assembler: A) -> Result<ZmqRun<A>, SourceError> {
        let links = Links::open(&self.settings, self.pattern, &self.host)?;
        Ok(ZmqRun {
            links: Some(links),
            assembler,
            state: RunState::new(A::TYP),
            host: self.host.clone(),
            between_scans: self.settings.between_scans,
            runs: self.runs.clone(),
        })
    }
}

/// One scan's connection and what it yields.
#[derive(Debug)]
pub struct ZmqRun<A> {
    /// `None` between calls only after the end, with [`BetweenScans::Disconnect`].
    links: Option<Links>,
    assembler: A,
    state: RunState,
    host: HostContext,
    between_scans: BetweenScans,
    /// Shared with the [`Upstream`], because it outlives this.
    runs: Rc<Cell<u64>>,
}

impl<A: Assembler> SourceRun for ZmqRun<A> {
    fn next(&mut self, out: &mut EventSink<'_>, deadline: Deadline) -> Result<Progress, SourceError> {
        let mut reads = 0u32;
        while self.state.phase() != Phase::Ended {
            if self.overdue(&mut reads, deadline) {
                return Ok(Progress::More);
            }
            if self.assembler.rest(&mut self.state.flow(out, &self.host)) {
                return Ok(Progress::More);
            }
            let Some(links) = &mut self.links else { break };
            match links.receive()? {
                Received::Message(message, bytes) => {
                    self.state.received(bytes);
                    let was_before = self.state.phase() == Phase::Before;
                    self.assembler.take(message, &mut self.state.flow(out, &self.host));
                    if was_before && self.state.phase() != Phase::Before {
                        self.runs.set(self.runs.get() + 1);
                    }
                    if out.is_full() && self.state.phase() != Phase::Ended {
                        return Ok(Progress::More);
                    }
                }
                Received::Refused(why, bytes) => {
                    self.state.received(bytes);
                    self.state.flow(out, &self.host).skip(why);
                }
                Received::Empty if !out.is_empty() => return Ok(Progress::More),
                Received::Empty => {
                    links.mend()?;
                    if !links.wait(deadline)? {
                        return Ok(Progress::Idle);
                    }
                }
            }
        }
        if self.between_scans == BetweenScans::Disconnect {
            self.links = None;
        }
        // The host wants the last events now; what arrives later is read in the next call.
        if out.is_empty() {
            self.drain(deadline)?;
        }
        Ok(Progress::End)
    }

    fn skipped(&self) -> Vec<(&'static str, u64)> {
        self.state.skipped().to_vec()
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let mut counters = self.state.counters();
        counters.push(("runs_so_far", self.runs.get()));
        counters
    }
}

impl<A> ZmqRun<A> {
    /// After the end: reads, drops and counts until the deadline.
    fn drain(&mut self, deadline: Deadline) -> Result<(), SourceError> {
        let mut reads = 0u32;
        while !self.overdue(&mut reads, deadline) {
            let Some(links) = &mut self.links else {
                // Disconnected: nothing to read, but a host that calls in a loop must not spin.
                return wait_for_stop(&self.host, deadline);
            };
            match links.receive()? {
                Received::Message(_, bytes) | Received::Refused(_, bytes) => {
                    self.state.received(bytes);
                    self.state.skip(AFTER_END.reason(), LogLevel::Debug, &self.host);
                }
                Received::Empty => {
                    links.mend()?;
                    if !links.wait(deadline)? {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether a call that finds message after message must return all the same.
    fn overdue(&self, reads: &mut u32, deadline: Deadline) -> bool {
        *reads = reads.wrapping_add(1);
        reads.is_multiple_of(CHECK_EVERY) && (deadline.passed() || self.host.stop_requested())
    }
}

fn wait_for_stop(host: &HostContext, deadline: Deadline) -> Result<(), SourceError> {
    let mut items = [zmq::PollItem::from_fd(host.stop_descriptor(), zmq::POLLIN)];
    match zmq::poll(&mut items, deadline.left_ms()) {
        Ok(_) | Err(zmq::Error::EINTR) => Ok(()),
        Err(error) => Err(SourceError::internal(format!("waiting for a stop failed: {error}"))),
    }
}

/// Messages between two looks at the clock, which cost 50 ns each.
const CHECK_EVERY: u32 = 64;
