//! A source that is made and waits to feed a stream in the place of another.
//!
//! Made by the host on whatever thread asked for it, its source on a reader thread of its own; handed to the forwarder, which
//! puts it in place at the start of a scan. Between the two it costs a parked thread.
//!
//! The old source is closed before the new one is opened, or both would take their share of one detector's data. Nobody
//! waits for that but the new reader: it gets a [`Predecessor`] with its first order.

use std::{convert::Infallible, sync::mpsc, time::Duration};

use super::{beginning::Late, reader::Reader, token::Token};
use crate::{
    names::{ScanId, StreamName},
    settings::WhenFull,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Replacement {
    /// Of the swap; higher ones were asked for later.
    pub(crate) number: u64,
    pub(crate) stream: StreamName,
    pub(crate) reader: Reader,
    pub(crate) on_demand: bool,
    pub(crate) when_full: WhenFull,
    /// It is for a source of which a call does not return, and not needed if that has returned by then.
    pub(crate) recovers: bool,
}

/// What became of a replacement.
#[derive(Debug)]
pub(crate) enum Told {
    /// It feeds its stream from this scan on; the old source is on its way out.
    Effective { number: u64, scan: ScanId, old: Reader },
    /// It had to wait until the old source had gone, and was made then, or not. After `Effective`.
    Late { number: u64, late: Late },
    /// One that was asked for later took its place; it is dropped.
    Superseded { number: u64, by: u64 },
    /// A call of a stream's source does not return, and nothing waits to take its place.
    Hangs(StreamName),
    /// The call that it was made for has returned; it is dropped.
    NotNeeded { number: u64 },
}

/// A reader that is about to end.
#[derive(Debug)]
pub(crate) struct Predecessor {
    /// Disconnects when the reader's thread has dropped its source.
    pub(super) ended: mpsc::Receiver<Infallible>,
    /// A source that does not return is not waited for any longer.
    pub(super) limit: Duration,
}

impl Predecessor {
    /// Waits for its end; says so if it does not come. [reader thread of the successor]
    pub(super) fn wait_with_a_word(&self, successor: &Token) {
        if self.ended.recv_timeout(self.limit) != Err(mpsc::RecvTimeoutError::Disconnected) {
            let stream = &successor.stream;
            tracing::warn!(%stream, "the source of earlier scans does not return; the new one goes on without waiting");
        }
    }
}
