//! What became of a stream's events: `read = forwarded + dropped + discarded + queued`.

use serde::Serialize;

/// The counts of one stream in one scan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Tally {
    /// Taken from the source, dropped ones included.
    pub(crate) read: u64,
    /// Put into a message for at least one worker. Handed over, not proven to be delivered.
    pub(crate) forwarded: u64,
    /// Dropped because the stream was full (policy `drop`).
    pub(crate) dropped: u64,
    /// Taken and given to nobody: the assignment names no worker, or none came before the scan's end.
    pub(crate) discarded: u64,
    /// Events that assignments name and that never came, because the source had failed.
    pub(crate) missing: u64,
}

/// How long events take, as the reference logs it every 1,000 events.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    /// Events paired since the last report.
    pub(crate) events: u64,
    /// Times at which an event was there and its assignment was not.
    pub(crate) waited_for_assignment: u64,
    /// Seconds from one pairing to the next: sum, least, most.
    pub(crate) seconds: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Pace {
    /// Counts `events` that were paired in a step that took `seconds` since the last.
    pub(crate) fn add(&mut self, events: u64, seconds: f64) {
        if events == 0 {
            return;
        }
        let each = seconds / events as f64;
        self.least = if self.events == 0 { each } else { self.least.min(each) };
        self.most = self.most.max(each);
        self.seconds += seconds;
        self.events += events;
    }

    pub(crate) fn mean(&self) -> f64 {
        if self.events == 0 { 0.0 } else { self.seconds / self.events as f64 }
    }
}
