//! Lines in, events out: a run of position capture, with one or more arms.
//!
//! ```text
//!   outside ── arm_time: ──> header ── empty line ──> data ── END ──> outside
//!      ^                        │ gives the header      │ a line, an event
//!      └──── connection lost ───┴───────────────────────┘
//! ```
//!
//! Runs on the reader thread. A scan may have several arms, so the run never ends by itself. It invents no end: an arm
//! interrupted by a lost connection is counted, and the next arm continues the run.

use std::{mem, rc::Rc};

use framegate_plugin_api::{Deadline, EventSink, Frame, HostContext, Progress, RunStatus, SourceError, SourceRun};
use framegate_source_kit::{Flow, Malformed, Phase, Reactor, RunState, Runs};

use crate::{
    lines::{Line, Lines},
    link::{Ending, Link, Read},
    messages,
    settings::PcapRawSettings,
};

/// The connection of one scan and its events.
#[derive(Debug)]
pub struct PcapRawRun {
    link: Link,
    lines: Lines,
    arms: Arms,
    state: RunState,
    reactor: Rc<Reactor>,
    host: HostContext,
    /// Receive buffer.
    received: Box<[u8]>,
}

impl PcapRawRun {
    pub(crate) fn new(
        link: Link,
        settings: &PcapRawSettings,
        runs: &Runs,
        reactor: Rc<Reactor>,
        host: HostContext,
    ) -> Self {
        let limit = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Self {
            link,
            lines: Lines::new(limit(settings.max_line.0)),
            arms: Arms::new(limit(settings.max_header.0)),
            state: RunState::new(TYP, runs),
            reactor,
            host,
            received: vec![0; RECEIVE].into(),
        }
    }
}

impl SourceRun for PcapRawRun {
    fn next(&mut self, out: &mut EventSink<'_>, deadline: Deadline) -> Result<Progress, SourceError> {
        loop {
            // Handle received lines first.
            while let Some(line) = self.lines.next() {
                self.state.received(if let Line::Whole(line) = line { line.len() } else { 0 });
                let was = self.state.phase();
                self.arms.take(line, &mut self.state.flow(out, &self.host));
                if (was, self.state.phase()) == (Phase::Before, Phase::Running) {
                    self.link.serves();
                }
                if out.is_full() {
                    return Ok(Progress::More);
                }
            }
            match self.link.read(&mut self.received) {
                Read::Bytes(bytes) => self.lines.push(&self.received[..bytes]),
                Read::Lost => {
                    let ending = self.arms.lost(self.lines.finish(), &mut self.state.flow(out, &self.host));
                    self.link.connect_again(ending);
                }
                Read::Nothing if !out.is_empty() => return Ok(Progress::Idle),
                Read::Nothing => {
                    if self.reactor.wait(self.link.ready(), deadline).is_none() {
                        return Ok(Progress::Idle);
                    }
                }
            }
            // A server may send without pause and without giving an event.
            if deadline.passed() || self.host.stop_requested() {
                return Ok(Progress::More);
            }
        }
    }

    fn status(&self) -> RunStatus {
        self.state.status((self.lines.bytes() + self.arms.bytes()) as u64, self.link.connection())
    }
}

/// Position within the arms.
#[derive(Debug)]
pub(crate) struct Arms {
    max_header: usize,
    place: Place,
    /// Whether the last arm of this connection was complete.
    whole: bool,
}

#[derive(Debug)]
enum Place {
    Outside,
    /// The lines of the header so far.
    Header(Vec<u8>),
    /// Number of lines so far.
    Data(u64),
}

impl Arms {
    pub(crate) fn new(max_header: usize) -> Self {
        Self { max_header, place: Place::Outside, whole: false }
    }

    /// Handles a line.
    pub(crate) fn take(&mut self, line: Line<'_>, flow: &mut Flow<'_, '_>) {
        match (&mut self.place, line) {
            (Place::Outside, Line::Whole(line)) if messages::arms(line) => self.place = Place::Header(line.to_vec()),
            (Place::Outside, Line::Whole(line)) => flow.junk(line, NO_ARM),
            (Place::Outside, Line::TooLong) => flow.junk(b"", "a line longer than max_line"),

            (Place::Header(header), Line::Whole(line)) if header.len() + line.len() <= self.max_header => {
                header.extend_from_slice(line);
                if messages::is_empty(line) {
                    flow.lost(messages::missed(header).unwrap_or(0));
                    flow.start([Frame::from_vec(mem::take(header))]);
                    self.place = Place::Data(0);
                }
            }
            (Place::Header(_), Line::Whole(_)) => self.give_up(Malformed::new("a header longer than max_header"), flow),
            (Place::Header(_), Line::TooLong) => {
                self.give_up(Malformed::new("a header with a line longer than max_line"), flow)
            }

            (Place::Data(count), Line::Whole(line)) if messages::ends(line) => {
                let count = *count;
                self.end(line, count, flow);
            }
            (Place::Data(count), line) => {
                *count += 1;
                match line {
                    Line::Whole(line) => flow.data([Frame::copy(line)]),
                    Line::TooLong => flow.skip(Malformed::new("a line longer than max_line")),
                }
            }
        }
    }

    /// Handles a lost connection; `rest` is the received part of an incomplete line.
    pub(crate) fn lost(&mut self, rest: Option<Vec<u8>>, flow: &mut Flow<'_, '_>) -> Ending {
        match (&self.place, rest) {
            (Place::Outside, None) => {}
            (Place::Outside, Some(line)) => flow.junk(&line, NO_ARM),
            (Place::Header(_), _) => self.give_up(Malformed::new("the connection broke inside a header"), flow),
            // The end was received, except for the rest of its line.
            (Place::Data(count), Some(line)) if messages::ends(&line) => self.end(&line, *count, flow),
            (Place::Data(_), rest) => {
                if rest.is_some() {
                    flow.skip(Malformed::new("a line that the connection's end cut"));
                }
                self.give_up(Malformed::new("the connection broke inside an arm"), flow);
            }
        }
        if mem::take(&mut self.whole) { Ending::Between } else { Ending::Broken }
    }

    /// Bytes of an incomplete header.
    fn bytes(&self) -> usize {
        if let Place::Header(header) = &self.place { header.len() } else { 0 }
    }

    /// Ends an arm of `count` lines.
    fn end(&mut self, line: &[u8], count: u64, flow: &mut Flow<'_, '_>) {
        flow.lost(messages::samples(line).unwrap_or(0).saturating_sub(count));
        flow.end([Frame::copy(line)]);
        flow.again();
        self.place = Place::Outside;
        self.whole = true;
    }

    fn give_up(&mut self, why: Malformed, flow: &mut Flow<'_, '_>) {
        flow.skip(why);
        flow.again();
        self.place = Place::Outside;
        self.whole = false;
    }
}

/// The protocol's name as workers see it.
pub(crate) const TYP: &str = "PCAP_RAW";

/// Description of a line that is expected between arms and did not come.
const NO_ARM: &str = "no line that begins with \"arm_time: \"";

/// Bytes per read: some hundred lines.
const RECEIVE: usize = 64 << 10;
