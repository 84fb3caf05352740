//! A run: combines links, an assembler and the states of a run into the interface that the host calls.
//!
//! Runs on the reader thread. Owns the connections. Never waits longer than the host's deadline, and no message can end
//! it.

use std::{os::fd::AsRawFd as _, time::Duration};

use framegate_plugin_api::{Deadline, EventSink, HostContext, Progress, RunStatus, SourceError, SourceRun};
use framegate_source_kit::{Malformed, Phase, RunState, Runs};

use crate::{
    link::Received,
    links::Links,
    protocol::Assembler,
    settings::{BetweenScans, Pattern, ZmqSettings},
};

/// What lasts between scans: where the detector is, and how to connect to it. Holds no connection.
#[derive(Debug)]
pub struct Upstream {
    settings: ZmqSettings,
    pattern: Pattern,
    host: HostContext,
    runs: Runs,
}

impl Upstream {
    /// Makes no connection. `pattern` is the default for the protocol's detectors; the settings can override it.
    ///
    /// # Errors
    /// Settings that contradict each other.
    pub fn new(settings: ZmqSettings, pattern: Pattern, host: HostContext) -> Result<Self, SourceError> {
        let pattern = settings.pattern.unwrap_or(pattern);
        for url in settings.upstream_url.as_slice() {
            url.fits(settings.attach).map_err(|problem| SourceError::settings(format!("upstream_url: {problem}")))?;
        }
        Ok(Self { settings, pattern, host, runs: Runs::default() })
    }

    /// Connects or binds for one scan. Messages that a detector sends after the return are not lost (PUB: if it was
    /// connected in time).
    ///
    /// # Errors
    /// The machine refuses a socket or the address (a port in use). An absent detector is not an error.
    pub fn open<A: Assembler>(&self, assembler: A) -> Result<ZmqRun<A>, SourceError> {
        let links = Links::open(&self.settings, self.pattern, &self.host)?;
        let state = RunState::new(A::TYP, &self.runs);
        Ok(ZmqRun {
            links: Some(links),
            assembler,
            state,
            end_at: None,
            host: self.host.clone(),
            between_scans: self.settings.between_scans,
            disconnects: 0,
        })
    }
}

/// The connections of one scan and its events.
#[derive(Debug)]
pub struct ZmqRun<A> {
    /// `None` between calls only after the end, with [`BetweenScans::Disconnect`].
    links: Option<Links>,
    assembler: A,
    state: RunState,
    host: HostContext,
    between_scans: BetweenScans,
    /// Disconnects of the links, kept after these are closed.
    disconnects: u64,
    /// With several connections: when a received end is given, unless another message arrives before.
    end_at: Option<Deadline>,
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
                    if links.mix() {
                        self.state.hold_ends();
                    }
                    self.state.received(bytes);
                    self.assembler.take(message, &mut self.state.flow(out, &self.host));
                    self.end_at = self.state.holds_an_end().then(|| Deadline::after(OTHERS_SETTLE));
                    if out.is_full() && self.state.phase() != Phase::Ended {
                        return Ok(Progress::More);
                    }
                }
                Received::Refused(why, bytes) => {
                    self.state.received(bytes);
                    self.state.flow(out, &self.host).skip(why);
                }
                // Not before everything that waits is read: the host may have been away for longer.
                Received::Empty if self.end_at.is_some_and(|at| at.passed()) => {
                    self.end_at = None;
                    self.state.flow(out, &self.host).release_end();
                }
                Received::Empty if !out.is_empty() => return Ok(Progress::More),
                Received::Empty => {
                    self.mend()?;
                    if !self.wait(self.end_at.map_or(deadline, |at| deadline.min(at)))?
                        && !self.end_at.is_some_and(|at| at.passed())
                    {
                        return Ok(Progress::Idle);
                    }
                }
            }
        }
        if self.between_scans == BetweenScans::Disconnect {
            self.disconnect()?;
        }
        // The host wants the last events now; the next call reads later messages.
        if out.is_empty() {
            self.drain(deadline)?;
        }
        Ok(Progress::End)
    }

    fn status(&self) -> RunStatus {
        let connection = self.links.as_ref().map(Links::connection).unwrap_or_default();
        let mut status = self.state.status(self.assembler.bytes_waiting(), connection);
        status.counters.push(("disconnects", self.disconnects));
        status
    }
}

impl<A> ZmqRun<A> {
    /// Disconnects: the detector keeps what it has not sent. What libzmq has read ahead is lost, and is counted.
    fn disconnect(&mut self) -> Result<(), SourceError> {
        let Some(mut links) = self.links.take() else { return Ok(()) };
        links.hear();
        self.disconnects = links.disconnects();
        for _ in 0..links.read_ahead() {
            match links.receive()? {
                Received::Message(_, bytes) | Received::Refused(_, bytes) => {
                    self.state.received(bytes);
                    self.state.late(&self.host);
                }
                Received::Empty => break,
            }
        }
        Ok(())
    }

    /// After the end: reads, drops and counts messages until the deadline.
    fn drain(&mut self, deadline: Deadline) -> Result<(), SourceError> {
        let mut reads = 0u32;
        while !self.overdue(&mut reads, deadline) {
            let Some(links) = &mut self.links else {
                // Disconnected: there is nothing to read, but a host that calls in a loop must not spin.
                return wait_for_stop(&self.host, deadline);
            };
            match links.receive()? {
                Received::Message(_, bytes) | Received::Refused(_, bytes) => {
                    self.state.received(bytes);
                    self.state.late(&self.host);
                }
                Received::Empty => {
                    self.mend()?;
                    if !self.wait(deadline)? {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Reconnects where necessary; counts the messages that ended a connection.
    fn mend(&mut self) -> Result<(), SourceError> {
        let Some(links) = &mut self.links else { return Ok(()) };
        for _ in 0..links.mend()? {
            self.state.invalid(GIVEN_UP, &self.host);
        }
        self.disconnects = links.disconnects();
        Ok(())
    }

    /// Waits until a message may have arrived.
    fn wait(&mut self, deadline: Deadline) -> Result<bool, SourceError> {
        self.links.as_mut().map_or(Ok(false), |links| links.wait(deadline))
    }

    /// Whether a call must return although more messages are waiting.
    fn overdue(&mut self, reads: &mut u32, deadline: Deadline) -> bool {
        *reads = reads.wrapping_add(1);
        if !reads.is_multiple_of(CHECK_EVERY) {
            return false;
        }
        // Read the monitors' events also while data flows: libzmq stores few of them and then blocks.
        if let Some(links) = &mut self.links {
            links.hear();
        }
        deadline.passed() || self.host.stop_requested()
    }
}

fn wait_for_stop(host: &HostContext, deadline: Deadline) -> Result<(), SourceError> {
    let mut items = [zmq::PollItem::from_fd(host.stop_descriptor().as_raw_fd(), zmq::POLLIN)];
    match zmq::poll(&mut items, deadline.left_ms()) {
        Ok(_) | Err(zmq::Error::EINTR) => Ok(()),
        Err(error) => Err(SourceError::internal(format!("waiting for a stop failed: {error}"))),
    }
}

/// libzmq reports that it has given a working connection up, but not why. A part above `max_part` is by far the most
/// likely reason.
const GIVEN_UP: Malformed = Malformed::new(
    "the connection was given up: a part longer than max_part or than memory allows, or what is not ZeroMQ's protocol",
);

/// After an end, and after each message that follows it, other messages of the run may still arrive over the other
/// connections for this time. A network and a server that is slightly behind take some ten milliseconds.
const OTHERS_SETTLE: Duration = Duration::from_millis(500);

/// Messages between two checks of the clock and the connections; each check costs 50 ns.
const CHECK_EVERY: u32 = 64;
