//! Posts in, events out: the run of a Sardana scan.
//!
//! Runs on the reader thread. Opens the inbox when created and closes it when dropped. All sources share the states of
//! the run, which are in `framegate-source-kit`; this file only decides the kind of each post. The server answers the
//! clients.

use std::{rc::Rc, sync::Arc};

use framegate_plugin_api::{
    Connection, Deadline, EventSink, Frame, HostContext, Progress, RunStatus, SourceError, SourceRun,
};
use framegate_source_kit::{Flow, Malformed, Phase, Reactor, RunState, Runs};

use crate::{
    inbox::Inbox,
    messages::{Kind, Packet},
};

/// One scan's posts.
#[derive(Debug)]
pub struct SardanaRun {
    inbox: Arc<Inbox>,
    state: RunState,
    early: u64,
    reactor: Rc<Reactor>,
    host: HostContext,
}

impl SardanaRun {
    pub(crate) fn new(inbox: Arc<Inbox>, runs: &Runs, reactor: Rc<Reactor>, host: HostContext) -> Self {
        let mut state = RunState::new(TYP, runs);
        let early = inbox.open();
        state.count("while no scan was active", early);
        Self { inbox, state, early, reactor, host }
    }

    /// Posts that arrived before this scan, while none was active.
    pub(crate) fn early(&self) -> u64 {
        self.early
    }

    /// Reports the invalid posts that the server refused.
    fn tell_refused(&mut self) {
        let (posts, why) = self.inbox.take_refused();
        for _ in 0..posts {
            self.state.invalid_with(
                Malformed::new("a body that does not validate"),
                &format_args!(": {why}"),
                &self.host,
            );
        }
    }
}

impl SourceRun for SardanaRun {
    fn next(&mut self, out: &mut EventSink<'_>, deadline: Deadline) -> Result<Progress, SourceError> {
        loop {
            self.tell_refused();
            while let Some(packet) = self.inbox.take() {
                self.state.received(packet.json.len());
                take(packet, &mut self.state.flow(out, &self.host));
                if out.is_full() {
                    break;
                }
            }
            let ended = self.state.phase() == Phase::Ended;
            if !out.is_empty() {
                return Ok(match (ended, out.is_full()) {
                    (true, _) => Progress::End,
                    (false, true) => Progress::More,
                    (false, false) => Progress::Idle,
                });
            }
            // Waits after the end too: posts are still read and counted, and a host that calls in a loop must not spin.
            if self.reactor.wait(self.inbox.arrived(), deadline).is_none() {
                self.tell_refused();
                return Ok(if ended { Progress::End } else { Progress::Idle });
            }
            // Many posts in a row may give no event.
            if deadline.passed() {
                return Ok(if ended { Progress::End } else { Progress::More });
            }
        }
    }

    fn status(&self) -> RunStatus {
        // Each post may come over a connection of its own.
        self.state.status(self.inbox.bytes(), Connection::Unknown)
    }
}

impl Drop for SardanaRun {
    fn drop(&mut self) {
        self.inbox.close();
    }
}

/// Handles a post in its run. Notes its number, so that missing points are counted. Inside a run all three kinds are
/// events, a second description too.
pub(crate) fn take(packet: Packet, flow: &mut Flow<'_, '_>) {
    if let Some(number) = packet.number {
        flow.number(number);
    }
    let frame = [Frame::from_vec(packet.json)];
    match (packet.kind, flow.phase()) {
        (Kind::Description, Phase::Before) => flow.start(frame),
        (Kind::Description | Kind::Record, _) => flow.data(frame),
        (Kind::End, _) => flow.end(frame),
    }
}

/// The protocol's name as workers see it.
pub(crate) const TYP: &str = "sardana";
