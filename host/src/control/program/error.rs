//! Why a step of a scan failed.

use crate::{
    control::{Stopped, report::ControlDriver},
    names::{EventNumber, ScanId, StreamName},
};

/// Why a step of a scan failed. Nothing has changed, except after [`ScanError::TimedOut`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// Something else begins the scans of this host.
    #[error("scans of this host are begun by {driver}\n  set `control` to `Control::Program`")]
    NotControlled {
        /// What begins them.
        driver: ControlDriver,
    },
    /// Another scan runs.
    #[error("scan {scan} runs\n  finish it first, or drop its `Scan`; then a new scan replaces it")]
    Runs {
        /// The scan that runs.
        scan: ScanId,
    },
    /// The host has no such stream.
    #[error("there is no stream \"{stream}\"\n  streams here: {}", list(known))]
    UnknownStream {
        /// The name.
        stream: StreamName,
        /// The streams of the host.
        known: Vec<StreamName>,
    },
    /// The stream does not take part in this scan.
    #[error("event {event}: stream \"{stream}\" takes no part in this scan\n  name it when the scan begins")]
    TakesNoPart {
        /// The event.
        event: EventNumber,
        /// The stream.
        stream: StreamName,
    },
    /// An assignment names a stream twice.
    #[error("event {event} names stream \"{stream}\" twice")]
    StreamTwice {
        /// The event.
        event: EventNumber,
        /// The stream.
        stream: StreamName,
    },
    /// Assignments come in the order of their events, each once, beginning with event 0.
    #[error("expected event {expected}, not {given}: every event is assigned once, in order, beginning with 0")]
    OutOfOrder {
        /// The number of the next event.
        expected: EventNumber,
        /// The number in the assignment.
        given: EventNumber,
    },
    /// The host deals the events of this scan.
    #[error("the host deals the events of this scan\n  begin it with `assigned()` to assign them")]
    Dealt,
    /// The scan was asked to finish.
    #[error("the scan was asked to finish")]
    Finishing,
    /// The time is up; the scan continues.
    #[error("the time is up; the scan continues")]
    TimedOut,
    /// The host has stopped.
    #[error("the host has stopped")]
    Stopped,
}

impl From<Stopped> for ScanError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

fn list(streams: &[StreamName]) -> String {
    streams.iter().map(StreamName::as_str).collect::<Vec<_>>().join(", ")
}
