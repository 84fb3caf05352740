//! One scan: everything that the next scan drops.
//!
//! ```text
//!            StartScan            all sources answered,          Finish          known pairs        capture
//!   (none) ───────────▶ Opening ─────────────────────▶ Running ───────▶ Finishing ─────────▶ Closing ──────▶ Finished
//!                       begun messages are completed, or 100 ms
//! ```
//! A `StartScan` in any state replaces the whole value.

use std::time::{Duration, Instant};

use super::{
    assemble::{Flow, StreamPart},
    backlog::Backlog,
    command::Deal,
    counts::{EventCounts, Pace},
    report::{IngesterState, SourceState},
};
use crate::names::{EventNumber, ScanId};

/// See the module.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) id: ScanId,
    pub(crate) deal: Deal,
    pub(crate) phase: Phase,
    /// One for each of the ingester's streams, in its order, active or not.
    pub(crate) streams: Vec<StreamScan>,
    /// Assignments whose events have not been paired, in order. Assignments without our streams are not kept.
    pub(crate) assigned: Backlog,
    /// The number of the next assignment, or of the next dealt event.
    pub(crate) next_number: EventNumber,
    /// The next worker in turn, among the connected ones.
    pub(crate) turn: usize,
    /// Number of paired events, including those without a worker.
    pub(crate) processed: u64,
    pub(crate) pace: Pace,
    /// A finish arrived while the sources were still opening.
    pub(crate) finish_asked: bool,
    /// Why pairing has stopped.
    pub(crate) broken: Option<String>,
}

/// The phase of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Sources were ordered to close and open; nothing is sent.
    Opening {
        /// Sources that have not answered by then fail.
        deadline: Instant,
        /// Until then, messages of the old scan that the network has begun may be completed.
        drain_until: Instant,
    },
    Running,
    /// Known pairs are delivered.
    Finishing,
    /// The capture was ordered to close.
    Closing {
        /// After that, a hanging disk no longer delays the finished notice.
        deadline: Instant,
    },
    Finished,
}

/// How long begun messages of the old scan may take to complete before a new scan's uuid is published.
pub(crate) const DRAIN: Duration = Duration::from_millis(100);
/// How long a hanging disk may delay a finished notice.
pub(crate) const CAPTURE_CLOSE: Duration = Duration::from_secs(2);

/// One stream in one scan.
#[derive(Debug, Default)]
pub(crate) struct StreamScan {
    /// Whether it takes part.
    pub(crate) active: bool,
    pub(crate) source: SourceState,
    /// Why the source has failed.
    pub(crate) failure: Option<String>,
    /// An order was sent and not answered.
    pub(crate) awaited: bool,
    pub(crate) flow: Flow,
    pub(crate) counts: EventCounts,
    /// The last event number for which an on-demand source was triggered.
    pub(crate) triggered: Option<EventNumber>,
}

impl StreamScan {
    /// Whether it can give no more events.
    pub(crate) fn is_over(&self) -> bool {
        self.flow.is_empty() && matches!(self.source, SourceState::Ended | SourceState::Failed | SourceState::Closed)
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.source == SourceState::Failed
    }
}

impl Scan {
    /// `streams`: for each, whether it takes part.
    pub(crate) fn new(id: ScanId, deal: Deal, streams: &[bool], deadline: Instant, drain_until: Instant) -> Self {
        let stream = |&active: &bool| StreamScan {
            active,
            source: if active { SourceState::Opening } else { SourceState::Closed },
            awaited: true,
            ..StreamScan::default()
        };
        Self {
            id,
            deal,
            phase: Phase::Opening { deadline, drain_until },
            streams: streams.iter().map(stream).collect(),
            assigned: Backlog::default(),
            next_number: 0,
            turn: 0,
            processed: 0,
            pace: Pace::default(),
            finish_asked: false,
            broken: None,
        }
    }

    pub(crate) fn state(&self) -> IngesterState {
        match self.phase {
            Phase::Opening { .. } => IngesterState::Opening,
            Phase::Running => IngesterState::Running,
            Phase::Finishing | Phase::Closing { .. } => IngesterState::Finishing,
            Phase::Finished => IngesterState::Finished,
        }
    }

    /// Whether the uuid may be published.
    pub(crate) fn is_ready(&self) -> bool {
        !matches!(self.phase, Phase::Opening { .. })
    }

    /// Drops events whose assignments will not come.
    pub(crate) fn discard_waiting(&mut self) {
        for stream in &mut self.streams {
            while let Some(part) = stream.flow.take() {
                // A tombstone was counted as dropped when it arrived.
                stream.counts.discarded += u64::from(matches!(part, StreamPart::Event(_)));
            }
        }
    }
}
