//! Commands from control to an ingester.

use std::{sync::Arc, time::Duration};

use smallvec::SmallVec;

use crate::names::{EventNumber, ScanId, StreamName, WorkerName};

/// A command from control. Sent over [`CommandSender`](crate::control::CommandSender), taken by the forwarder in order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    /// Drop the current scan, if any, open the sources of these streams, and report ready.
    StartScan {
        /// The new scan.
        scan: ScanId,
        /// The ingester's own streams that take part; may be empty.
        streams: Vec<StreamName>,
        /// How workers are chosen for an event.
        deal: Deal,
    },
    /// Deliver the known pairs, close the capture, and report finished. Ignored when `scan` is not the current one.
    Finish {
        /// The scan to finish.
        scan: ScanId,
    },
    /// A run-time parameter of a source has a new value.
    #[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "for a dranspose controller"))]
    SetParameter {
        /// The stream whose source it belongs to.
        stream: StreamName,
        /// The parameter's name within the source.
        name: String,
        /// UTF-8 text or raw bytes, see [`framegate_plugin_api::Source::set_parameter`].
        value: Arc<[u8]>,
    },
    /// The `dump_prefix` parameter of dranspose: takes effect at the next scan start; empty means no capture.
    #[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "for a dranspose controller"))]
    DumpPrefix(String),
    /// Deliver queued events for at most `grace`, close everything, end the thread.
    Stop {
        /// How long delivery may take.
        grace: Duration,
    },
}

/// Who decides which workers get an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deal {
    /// A controller: assignments come as [`Assignments`].
    Controller,
    /// Data events go to the connected workers in turn, starts and ends of runs to all. The first event waits for this
    /// many workers.
    InTurn { min_workers: usize },
    /// Every event goes to all connected workers; the first waits for this many.
    ToAll { min_workers: usize },
}

/// Assignments of a controller, in its order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Assignments {
    /// Their scan; assignments of another scan are counted and ignored.
    pub(crate) scan: ScanId,
    /// The workers that `events` name by index, each once; the list may have others.
    pub(crate) workers: Arc<Vec<WorkerName>>,
    /// Every event of the controller's list, including events without our streams: the numbers reveal gaps.
    pub(crate) events: Vec<Assignment>,
}

/// One event's workers for each of the ingester's own streams; other streams are already left out. Names are indexes
/// into lists, so that an event needs no look-up and no memory of its own.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Assignment {
    /// The event's number.
    pub(crate) number: EventNumber,
    /// The ingester's streams of the event (by index), each with its workers; no workers: read and discard. A stream
    /// occurs once. The workers are indexes into [`Assignments::workers`] until the ingester has taken the list, then
    /// into its own list.
    pub(crate) streams: StreamWorkers,
}

/// Streams, each with its workers, all by index.
pub(crate) type StreamWorkers = SmallVec<[(usize, WorkerIndexes); 1]>;
/// Indexes of workers.
pub(crate) type WorkerIndexes = SmallVec<[usize; 2]>;
