//! What control tells an ingester.

use std::{sync::Arc, time::Duration};

use smallvec::SmallVec;

use crate::names::{EventNumber, ScanId, StreamName, WorkerName};

/// An order from control. Sent over [`CommandSender`](crate::control::CommandSender), taken by the forwarder in order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    /// Drop whatever scan there is, open the sources of these streams, and report ready.
    StartScan {
        /// The new scan.
        scan: ScanId,
        /// The ingester's own streams that take part; may be empty.
        streams: Vec<StreamName>,
        /// Who decides which worker gets an event.
        deal: Deal,
    },
    /// Deliver the known pairs, close the capture, and report finished. Ignored when `scan` is not the current one.
    Finish {
        /// The scan that is over.
        scan: ScanId,
    },
    /// A run-time parameter of a source has a new value.
    SetParameter {
        /// The stream whose source it belongs to.
        stream: StreamName,
        /// The parameter's name within the source.
        name: String,
        /// UTF-8 text or raw bytes, see [`framegate_plugin_api::Source::set_parameter`].
        value: Arc<[u8]>,
    },
    /// The `dump_prefix` parameter of dranspose: takes effect at the next scan start; empty means no capture.
    DumpPrefix(String),
    /// Deliver what is queued for at most `grace`, close everything, end the thread.
    Stop {
        /// How long delivery may go on.
        grace: Duration,
    },
}

/// Who decides which workers get an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deal {
    /// A controller: assignments come as [`Assignments`].
    Controller,
    /// Nobody outside: data events in turn to whoever is connected, starts and ends of runs to everyone.
    RoundRobin,
    /// Nobody outside: every event to everyone who is connected.
    Everyone,
}

/// Work that a controller handed out, in the order in which it was handed out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Assignments {
    /// The scan they belong to; those of another scan are counted and ignored.
    pub(crate) scan: ScanId,
    /// The workers that `events` name by their place here, each once; there may be more.
    pub(crate) workers: Arc<Vec<WorkerName>>,
    /// Every event of the controller's list, also those that name none of our streams: the numbers show gaps.
    pub(crate) events: Vec<Assignment>,
}

/// One event's workers for each of the ingester's own streams. Streams of others are already left out. Names are places in
/// lists, so that an event costs no look-up and no memory of its own.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Assignment {
    /// The event's number.
    pub(crate) number: EventNumber,
    /// Own streams that the event names (by their place in the ingester), each with its workers; no workers: read and discard.
    /// A stream occurs once. The workers are places in [`Assignments::workers`] until the ingester has taken the list, and in
    /// its own list then.
    pub(crate) streams: Named,
}

/// Streams, each with its workers, all by their places.
pub(crate) type Named = SmallVec<[(usize, Places); 1]>;
/// Of workers.
pub(crate) type Places = SmallVec<[usize; 2]>;
