//! Counts what was sent and what has arrived, for each scan.
//!
//! The detector's thread and the workers' threads write, the main thread reads.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytesize::ByteSize;
use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};

/// See the module.
#[derive(Debug)]
pub(crate) struct Tally {
    state: Mutex<State>,
    /// Notified at every header and every end.
    turned: Condvar,
    workers: usize,
    images: u32,
    bytes: usize,
}

#[derive(Debug)]
struct State {
    scans: Vec<Scan>,
    /// All differences from what was sent.
    wrong: Vec<String>,
}

/// One scan.
#[derive(Debug, Clone)]
struct Scan {
    sent: u64,
    /// How often each image arrived.
    images: Vec<u8>,
    /// Number of events that each worker got, header and end included.
    received: Vec<u64>,
    started: usize,
    ended: usize,
    /// From the header to the last end, at the workers.
    began: Option<Instant>,
    over: Option<Instant>,
}

impl Tally {
    pub(crate) fn new(scans: u32, images: u32, bytes: usize, workers: usize) -> Self {
        let scan = Scan {
            sent: 0,
            images: vec![0; images as usize],
            received: vec![0; workers],
            started: 0,
            ended: 0,
            began: None,
            over: None,
        };
        let state = State { scans: vec![scan; scans as usize], wrong: Vec::new() };
        Self { state: Mutex::new(state), turned: Condvar::new(), workers, images, bytes }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records an event that the detector has sent.
    pub(crate) fn sent(&self, scan: u32) {
        self.state().scans[scan as usize].sent += 1;
    }

    /// Records a worker's header of a scan.
    pub(crate) fn started(&self, scan: u32, worker: usize) {
        self.count(scan, worker, |scan| {
            scan.started += 1;
            scan.began.get_or_insert_with(Instant::now);
        });
    }

    /// Records a worker's correct image.
    pub(crate) fn image(&self, scan: u32, worker: usize, frame: u32) {
        self.count(scan, worker, |scan| {
            if let Some(count) = scan.images.get_mut(frame as usize) {
                *count = count.saturating_add(1);
            }
        });
    }

    /// Records a worker's end of a scan.
    pub(crate) fn ended(&self, scan: u32, worker: usize) {
        self.count(scan, worker, |scan| {
            scan.ended += 1;
            scan.over = Some(Instant::now());
        });
    }

    fn count(&self, scan: u32, worker: usize, what: impl FnOnce(&mut Scan)) {
        let mut state = self.state();
        match state.scans.get_mut(scan as usize) {
            Some(scan) => {
                scan.received[worker] += 1;
                what(scan);
            }
            None => state.wrong.push(format!("an event of scan {}, which was never sent", scan + 1)),
        }
        drop(state);
        self.turned.notify_all();
    }

    /// Records a difference from what was sent.
    pub(crate) fn wrong(&self, what: String) {
        self.state().wrong.push(what);
    }

    /// Waits until every worker has the end of a scan; returns false if not before `limit`.
    pub(crate) fn wait_for_end(&self, scan: u32, limit: Instant) -> bool {
        let mut state = self.state();
        while state.scans[scan as usize].ended < self.workers {
            let left = limit.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.turned.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Number of a scan's images that were sent, and that have arrived; `None` if there is no such scan.
    pub(crate) fn images(&self, scan: usize) -> Option<(u64, u64)> {
        let state = self.state();
        let scan = state.scans.get(scan)?;
        // The first and the last event are header and end.
        let sent = scan.sent.saturating_sub(1).min(u64::from(self.images));
        Some((sent, scan.images.iter().filter(|count| **count > 0).count() as u64))
    }

    /// All complaints; empty if everything is correct.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let state = self.state();
        let mut complaints = state.wrong.clone();
        for (index, scan) in state.scans.iter().enumerate() {
            let number = index + 1;
            let expected = u64::from(self.images) + 2;
            if scan.sent != expected {
                complaints.push(format!("scan {number}: {} events were sent instead of {expected}", scan.sent));
            }
            let lost = scan.images.iter().filter(|count| **count == 0).count();
            let twice = scan.images.iter().filter(|count| **count > 1).count();
            for (what, count) in [("lost", lost), ("delivered more than once", twice)] {
                if count > 0 {
                    complaints.push(format!("scan {number}: {count} images were {what}"));
                }
            }
            for (what, count) in [("header", scan.started), ("end", scan.ended)] {
                if count != self.workers {
                    complaints.push(format!("scan {number}: its {what} reached {count} of {} workers", self.workers));
                }
            }
        }
        complaints
    }

    /// The final table.
    pub(crate) fn table(&self) -> String {
        let state = self.state();
        let mut table = Table::new();
        let workers = (1..=self.workers).map(|worker| format!("worker{worker}"));
        let header = ["scan", "sent", "received", "lost"].map(str::to_owned).into_iter().chain(workers);
        table.load_style(UTF8_FULL_CONDENSED);
        table.set_header(header.chain(["events/s".to_owned(), "bytes/s".to_owned()]));
        for (index, scan) in state.scans.iter().enumerate() {
            let images = scan.images.iter().filter(|count| **count > 0).count() as u64;
            let received = images + u64::from(scan.started > 0) + u64::from(scan.ended > 0);
            let took = match (scan.began, scan.over) {
                (Some(began), Some(over)) => over.duration_since(began),
                _ => Duration::ZERO,
            };
            let rate = received as f64 / took.as_secs_f64().max(1e-3);
            let counts = [index as u64 + 1, scan.sent, received, scan.sent.saturating_sub(received)];
            let counts = counts.iter().chain(&scan.received).map(ToString::to_string);
            table
                .add_row(counts.chain([format!("{rate:.0}"), ByteSize((rate * self.bytes as f64) as u64).to_string()]));
        }
        for column in table.column_iter_mut() {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One scan of two images to two workers, all correct except for the changes of `spoil`.
    fn check(spoil: impl FnOnce(&Tally)) -> Vec<String> {
        let tally = Tally::new(1, 2, 10, 2);
        (0..4).for_each(|_| tally.sent(0));
        (0..2).for_each(|worker| tally.started(0, worker));
        tally.image(0, 0, 0);
        spoil(&tally);
        (0..2).for_each(|worker| tally.ended(0, worker));
        tally.complaints()
    }

    #[test]
    fn a_whole_scan_gives_no_complaint() {
        assert_eq!(check(|tally| tally.image(0, 1, 1)), Vec::<String>::new());
    }

    #[test]
    fn what_is_lost_doubled_or_wrong_is_told() {
        assert_eq!(check(|_| ()), ["scan 1: 1 images were lost"]);
        assert_eq!(check(|tally| [0, 1, 1].map(|frame| tally.image(0, 1, frame)).into_iter().collect()).len(), 1);
        assert_eq!(check(|tally| (tally.image(0, 1, 1), tally.wrong("a byte".into())).1), ["a byte"]);
        assert_eq!(check(|tally| (tally.image(0, 1, 1), tally.started(0, 1)).1).len(), 1);
        assert_eq!(check(|tally| (tally.image(0, 1, 1), tally.image(7, 1, 1)).1).len(), 1);
    }
}
