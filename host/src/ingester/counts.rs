//! The outcomes of a stream's events. At every moment `read = forwarded + dropped + discarded + replaced + queued`;
//! missing events were never read.

use std::{ops::Add, time::Instant};

use serde::Serialize;

/// The counts of one stream, in one scan or over all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EventCounts {
    /// Taken from the source, including dropped events.
    pub read: u64,
    /// Put into a message for at least one worker. Sent, but not proven to be delivered.
    pub forwarded: u64,
    /// Dropped because the stream was full (policy `drop`).
    pub dropped: u64,
    /// Taken, but not sent to any worker: the assignment names no worker, or none came before the scan's end.
    pub discarded: u64,
    /// Still waiting, in the ingester or in the stream's queue, when a new scan replaced theirs.
    pub replaced: u64,
    /// Events in assignments that never came, because the source had failed.
    pub missing: u64,
}

impl Add for EventCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            read: self.read + other.read,
            forwarded: self.forwarded + other.forwarded,
            dropped: self.dropped + other.dropped,
            discarded: self.discarded + other.discarded,
            replaced: self.replaced + other.replaced,
            missing: self.missing + other.missing,
        }
    }
}

/// The time from one event to the next.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct PaceReport {
    /// Events paired with their assignments.
    pub events: u64,
    /// Mean time per event, in microseconds.
    pub mean_us: f64,
    /// Minimum time, in microseconds.
    pub min_us: f64,
    /// Maximum time, in microseconds.
    pub max_us: f64,
    /// How often complete events had to wait for their assignment.
    pub waited_for_assignments: u64,
}

/// The time between events: from one pairing to the next, as the reference measures it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    /// Number of paired events.
    pub(crate) events: u64,
    /// How often complete events had to wait for their assignment.
    pub(crate) waited_for_assignment: u64,
    /// Total time in seconds, without the first event, which has no predecessor.
    seconds: f64,
    least: f64,
    most: f64,
    measured: u64,
    last: Option<Instant>,
    waits: bool,
}

impl Pace {
    /// Counts `events` that were paired in one step.
    pub(crate) fn add(&mut self, events: u64, now: Instant) {
        if events == 0 {
            return;
        }
        self.events += events;
        self.waits = false;
        if let Some(last) = self.last.replace(now) {
            let seconds = now.saturating_duration_since(last).as_secs_f64();
            let each = seconds / events as f64;
            self.least = if self.measured == 0 { each } else { self.least.min(each) };
            self.most = self.most.max(each);
            self.seconds += seconds;
            self.measured += events;
        }
    }

    /// The event has arrived, but not its assignment. Counted once for each time that the stream stalls.
    pub(crate) fn waits_for_assignment(&mut self) {
        if !std::mem::replace(&mut self.waits, true) {
            self.waited_for_assignment += 1;
        }
    }

    pub(crate) fn report(&self) -> PaceReport {
        PaceReport {
            events: self.events,
            mean_us: if self.measured == 0 { 0.0 } else { self.seconds / self.measured as f64 * 1e6 },
            min_us: self.least * 1e6,
            max_us: self.most * 1e6,
            waited_for_assignments: self.waited_for_assignment,
        }
    }

    /// A new scan: the time since the last event is not counted.
    pub(crate) fn restart(&mut self) {
        (self.last, self.waits) = (None, false);
    }

    /// Returns the counts and restarts counting; the next time is still measured from the last event.
    pub(crate) fn take(&mut self) -> PaceReport {
        let report = self.report();
        *self = Self { last: self.last, waits: self.waits, ..Self::default() };
        report
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_pace_is_measured_from_event_to_event() {
        let began = Instant::now();
        let mut pace = Pace::default();
        pace.add(1, began);
        pace.waits_for_assignment();
        pace.waits_for_assignment();
        pace.add(2, began + Duration::from_millis(2));
        pace.add(1, began + Duration::from_millis(5));
        let report = pace.take();
        assert_eq!((report.events, report.waited_for_assignments), (4, 1));
        let rounded = [report.mean_us, report.min_us, report.max_us].map(f64::round);
        assert_eq!(rounded, [1667.0, 1000.0, 3000.0]);
        assert_eq!(pace.report(), PaceReport::default());
    }
}
