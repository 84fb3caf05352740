//! A run: combines links, an assembler and the states of a run into the interface that the host calls.
//!
//! Runs on the reader thread. Owns the connections. Never waits longer than the host's deadline, and no message can end
//! it.

use std::time::Duration;

use framegate_plugin_api::{Deadline, EventSink, HostContext, Progress, RunStatus, SourceError, SourceRun};
use framegate_source_kit::{Phase, RunState, Runs};

use crate::{
    protocol::Assembler,
    settings::{BetweenScans, Pattern, ZmqSettings},
    transport::{self, Links, Received},
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
        let urls = settings.upstream_url.as_slice().iter();
        let mut problems: Vec<String> = urls
            .filter_map(|url| url.fits(settings.attach).err())
            .map(|problem| format!("upstream_url: {problem}"))
            .collect();
        problems.extend(transport::problems(&settings));
        if !problems.is_empty() {
            return Err(SourceError::settings(problems.join("; ")));
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
            ends: Ends::default(),
            reads: 0,
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
    /// Of the links, kept after these are closed.
    ends: Ends,
    /// Number of messages looked for, over all calls: a call may return after a few large ones.
    reads: u32,
    /// With several connections: when a received end is given, unless another message arrives before.
    end_at: Option<Deadline>,
}

/// Connections that have ended.
#[derive(Debug, Default, Clone, Copy)]
struct Ends {
    disconnects: u64,
    refused: u64,
}

impl<A: Assembler> SourceRun for ZmqRun<A> {
    fn next(&mut self, out: &mut EventSink<'_>, deadline: Deadline) -> Result<Progress, SourceError> {
        while self.state.phase() != Phase::Ended {
            if self.overdue(deadline)? {
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
                        return Ok(if links.are_drained() { Progress::Idle } else { Progress::More });
                    }
                }
                Received::Refused(why, bytes) => {
                    self.state.received(bytes);
                    self.state.flow(out, &self.host).skip(why);
                }
                Received::Ended(why) => self.state.invalid(why, &self.host),
                // Not before everything that waits is read: the host may have been away for longer.
                Received::Empty if self.end_at.is_some_and(|at| at.passed()) => {
                    self.end_at = None;
                    self.state.flow(out, &self.host).release_end();
                }
                Received::Empty if !out.is_empty() => return Ok(Progress::Idle),
                Received::Empty => {
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

    fn held_back(&mut self) {
        if let Some(links) = &mut self.links {
            links.held_back();
        }
    }

    fn status(&self) -> RunStatus {
        let connection = self.links.as_ref().map(Links::connection).unwrap_or_default();
        let mut status = self.state.status(self.assembler.bytes_waiting(), connection);
        let ends = self.links.as_ref().map_or(self.ends, Ends::of);
        status.counters.extend([("disconnects", ends.disconnects), ("refused_connections", ends.refused)]);
        status
    }
}

impl<A> ZmqRun<A> {
    /// Disconnects: the detector keeps what it has not sent. What has come already is lost, and is counted.
    fn disconnect(&mut self) -> Result<(), SourceError> {
        let Some(mut links) = self.links.take() else { return Ok(()) };
        links.look()?;
        self.ends = Ends::of(&links);
        let mut left = links.backlog();
        while left.messages > 0 && left.bytes > 0 {
            match links.receive()? {
                Received::Message(_, bytes) | Received::Refused(_, bytes) => {
                    self.state.received(bytes);
                    self.state.late(&self.host);
                    left.messages -= 1;
                    // The head of a part has two bytes at least.
                    left.bytes = left.bytes.saturating_sub(bytes as u64 + 2);
                }
                Received::Ended(_) => {}
                Received::Empty => break,
            }
        }
        Ok(())
    }

    /// After the end: reads, drops and counts messages until the deadline.
    fn drain(&mut self, deadline: Deadline) -> Result<(), SourceError> {
        while !self.overdue(deadline)? {
            let Some(links) = &mut self.links else {
                // Disconnected: there is nothing to read, but a host that calls in a loop must not spin.
                return transport::wait_for_stop(&self.host, deadline);
            };
            match links.receive()? {
                Received::Message(_, bytes) | Received::Refused(_, bytes) => {
                    self.state.received(bytes);
                    self.state.late(&self.host);
                }
                Received::Ended(why) => self.state.invalid(why, &self.host),
                Received::Empty => {
                    if !self.wait(deadline)? {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Waits until a message may have arrived.
    fn wait(&mut self, deadline: Deadline) -> Result<bool, SourceError> {
        self.links.as_mut().map_or(Ok(false), |links| links.wait(deadline))
    }

    /// Whether a call must return although more messages are waiting.
    fn overdue(&mut self, deadline: Deadline) -> Result<bool, SourceError> {
        self.reads = self.reads.wrapping_add(1);
        if !self.reads.is_multiple_of(CHECK_EVERY) {
            return Ok(false);
        }
        if let Some(links) = &mut self.links {
            links.look()?;
        }
        Ok(deadline.passed() || self.host.stop_requested())
    }
}

impl Ends {
    fn of(links: &Links) -> Self {
        Self { disconnects: links.disconnects(), refused: links.refused() }
    }
}

/// After an end, and after each message that follows it, other messages of the run may still arrive over the other
/// connections for this time. A network and a server that is slightly behind take some ten milliseconds.
const OTHERS_SETTLE: Duration = Duration::from_millis(500);

/// Messages between two checks of the clock and the connections; each check costs 50 ns.
const CHECK_EVERY: u32 = 64;
