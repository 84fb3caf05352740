//! A created source that waits to replace a stream's current source.
//!
//! Created by the host on the caller's thread, its source on its own reader thread; handed to the forwarder, which
//! installs it at the start of a scan. Until then it costs a parked thread.
//!
//! The old source is closed before the new one is opened; otherwise both would take parts of one detector's data. Only
//! the new reader waits for that: it gets a [`Predecessor`](super::order::Predecessor) with its first order.

use super::{beginning::Late, reader::Reader};
use crate::{
    names::{ScanId, StreamName},
    settings::WhenFull,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Replacement {
    /// The swap's number; later requests have higher numbers.
    pub(crate) number: u64,
    pub(crate) stream: StreamName,
    pub(crate) reader: Reader,
    pub(crate) on_demand: bool,
    pub(crate) when_full: WhenFull,
    /// It replaces a source with a hanging call, and is not needed if that call returns before.
    pub(crate) recovers: bool,
}

/// The outcome of a replacement.
#[derive(Debug)]
pub(crate) enum Told {
    /// It feeds its stream from this scan on; the old source is ending.
    Effective { number: u64, scan: ScanId, old: Reader },
    /// It had to wait for the end of the old source, and was then created, or not. Follows `Effective`.
    Late { number: u64, late: Late },
    /// A later request replaced it; it is dropped.
    Superseded { number: u64, by: u64 },
    /// A call of a stream's source does not return, and no replacement is waiting.
    Hangs(StreamName),
    /// The hanging call has returned; the replacement is dropped.
    NotNeeded { number: u64 },
}
