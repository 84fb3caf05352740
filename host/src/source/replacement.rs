//! A created source that waits to replace a stream's current source.
//!
//! Created by the host on the caller's thread, its source on its own reader thread, and put into the stream's
//! [`NextSource`]. The forwarder takes it at the start of a scan. Until then it costs a parked thread.
//!
//! The old source is closed before the new one is opened; otherwise both would take parts of one detector's data. Only
//! the new reader waits for that: see [`TakeOver`](super::reader::TakeOver).

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::{
    Feed,
    reader::{Reader, TookOver},
};
use crate::names::{ScanId, StreamName};

/// See the module.
#[derive(Debug)]
pub(crate) struct Replacement {
    /// The swap's number; later requests have higher numbers.
    pub(crate) number: u64,
    pub(crate) reader: Reader,
    /// It replaces a source with a hanging call, and is not needed if that call returns before.
    pub(crate) recovers: bool,
}

/// The place where the next source of a stream waits for a scan. Locked only to put it in or to take it out.
#[derive(Debug, Default)]
pub(crate) struct NextSource(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    /// The highest number so far: a swap that was requested earlier comes too late.
    last: u64,
    replacement: Option<Replacement>,
}

impl NextSource {
    /// Puts a replacement in, in place of one that was requested earlier; returns the number of that one. If one that was
    /// requested later has been here, the new one is dropped: the error is the later one's number. [any thread]
    pub(crate) fn put(&self, new: Replacement) -> Result<Option<u64>, u64> {
        let mut waiting = self.lock();
        if waiting.last > new.number {
            return Err(waiting.last);
        }
        waiting.last = new.number;
        let earlier = waiting.replacement.replace(new);
        drop(waiting);
        Ok(earlier.map(|earlier| earlier.number))
    }

    /// The source that waits.
    pub(crate) fn feed(&self) -> Option<Feed> {
        self.lock().replacement.as_ref().map(|waiting| waiting.reader.shared.feed())
    }

    /// Takes the replacement, if one waits. [forwarder thread]
    pub(crate) fn take(&self) -> Option<Replacement> {
        self.lock().replacement.take()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Messages to the host about the sources of an ingester.
#[derive(Debug)]
pub(crate) enum SourceNotice {
    /// The replacement with this number has taken over, `since` then the old source is ending.
    TookOver { number: u64, scan: ScanId, since: Instant, took: Box<TookOver> },
    /// A call of a stream's source does not return, and no replacement is waiting.
    Hangs(StreamName),
    /// The hanging call has returned; the replacement is dropped.
    NotNeeded { number: u64 },
}
