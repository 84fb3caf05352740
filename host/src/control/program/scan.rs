//! A scan that a program has begun.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{
    Shared,
    assignment::{Assignment, check, for_ingester},
    error::ScanError,
};
use crate::{
    control::scan,
    ingester::report::{Report, StreamReport},
    names::{EventNumber, ScanId, StreamName},
    park::wait_for,
};

/// A scan that this program has begun, with [`Host::scan`](crate::Host::scan).
///
/// It waits for its sources, takes assignments if it was begun so, and ends with [`Scan::finish`]. Dropped before, it
/// continues until the next scan replaces it.
pub struct Scan {
    id: ScanId,
    program: Shared,
    streams: Vec<StreamName>,
    is_assigned: bool,
    /// The number of the next assignment.
    next: EventNumber,
    finishing: bool,
}

/// The result of a finished scan.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ScanOutcome {
    /// The scan.
    pub scan: ScanId,
    /// Every stream that took part, with its counts.
    pub streams: BTreeMap<StreamName, StreamReport>,
}

/// Number of assignments that are handed over together.
const AT_ONCE: usize = 4096;

impl Scan {
    pub(super) fn new(id: ScanId, program: Shared, streams: Vec<StreamName>, is_assigned: bool) -> Self {
        Self { id, program, streams, is_assigned, next: 0, finishing: false }
    }

    /// Identifies the scan, in messages to workers and in reports.
    #[must_use]
    pub fn id(&self) -> ScanId {
        self.id
    }

    /// The number of the next event to assign.
    #[must_use]
    pub fn next_event(&self) -> EventNumber {
        self.next
    }

    /// Waits until all sources are open, or have failed to open: [`StreamReport::source`] tells which. Blocks the thread.
    ///
    /// # Errors
    /// The time is up, or the host has stopped.
    pub fn wait_ready(&self, limit: Duration) -> Result<(), ScanError> {
        within(limit, self.wait_ready_async())
    }

    /// Does the same as [`Scan::wait_ready`] without blocking, and without a limit.
    ///
    /// # Errors
    /// The host has stopped.
    pub async fn wait_ready_async(&self) -> Result<(), ScanError> {
        self.until(|report| report.ready == Some(self.id)).await
    }

    /// Assigns events to workers, in order, beginning with event 0. Workers that are not connected yet are waited for, as
    /// long as `worker_timeout`.
    ///
    /// Waits until the scan is ready, and while the assignments that wait for their events take more than 10 MiB. Blocks
    /// the thread.
    ///
    /// # Errors
    /// An assignment is not allowed; then none is taken. After [`ScanError::TimedOut`] some may be taken:
    /// [`Scan::next_event`] is the first that is not.
    pub fn assign(
        &mut self,
        assignments: impl IntoIterator<Item = Assignment>,
        limit: Duration,
    ) -> Result<(), ScanError> {
        within(limit, self.assign_async(assignments))
    }

    /// Does the same as [`Scan::assign`] without blocking, and without a limit. If it is dropped before its end, some may
    /// be taken: [`Scan::next_event`] is the first that is not.
    ///
    /// # Errors
    /// An assignment is not allowed, or the host has stopped.
    pub async fn assign_async(&mut self, assignments: impl IntoIterator<Item = Assignment>) -> Result<(), ScanError> {
        let events: Vec<_> = assignments.into_iter().collect();
        if self.finishing {
            return Err(ScanError::Finishing);
        }
        if !self.is_assigned {
            return Err(ScanError::Dealt);
        }
        check(&events, self.next, &self.streams)?;
        // An ingester refuses assignments of a scan that is not ready.
        self.wait_ready_async().await?;
        let ingesters = self.program.ingesters()?;
        for piece in events.chunks(AT_ONCE) {
            let mut places = Vec::new();
            for ingester in &ingesters {
                places.push((ingester, ingester.commands.place().await?));
            }
            // No wait from here on: either all ingesters get a piece, or none does.
            for (ingester, place) in places {
                place.assign(for_ingester(self.id, piece, &ingester.streams));
            }
            self.next += piece.len() as u64;
        }
        Ok(())
    }

    /// Waits until the events that are assigned so far have come, and their workers have them. Notices it within 200 ms.
    /// Blocks the thread.
    ///
    /// # Errors
    /// The time is up, or the host has stopped.
    pub fn wait_delivered(&self, limit: Duration) -> Result<(), ScanError> {
        within(limit, self.wait_delivered_async())
    }

    /// Does the same as [`Scan::wait_delivered`] without blocking, and without a limit.
    ///
    /// # Errors
    /// The host has stopped.
    pub async fn wait_delivered_async(&self) -> Result<(), ScanError> {
        self.until(|report| {
            report.ready == Some(self.id)
                && report.assignments >= self.next
                && report.assignments_waiting == 0
                && report.workers.iter().all(|worker| worker.waiting == 0)
        })
        .await
    }

    /// Waits until every source has given its last event, or has failed, and all is delivered. Blocks the thread.
    ///
    /// # Errors
    /// The time is up, or the host has stopped.
    pub fn wait_ended(&self, limit: Duration) -> Result<(), ScanError> {
        within(limit, self.wait_ended_async())
    }

    /// Does the same as [`Scan::wait_ended`] without blocking, and without a limit.
    ///
    /// # Errors
    /// The host has stopped.
    pub async fn wait_ended_async(&self) -> Result<(), ScanError> {
        self.until(|report| report.runs_ended == Some(self.id)).await
    }

    /// Ends the scan, and returns its counts. Complete events are delivered; an assignment whose event has not come is
    /// dropped and counted, and so is an event without an assignment. Then the next scan may begin.
    ///
    /// Blocks the thread. May be repeated after [`ScanError::TimedOut`].
    ///
    /// # Errors
    /// The time is up, or the host has stopped.
    pub fn finish(&mut self, limit: Duration) -> Result<ScanOutcome, ScanError> {
        within(limit, self.finish_async())
    }

    /// Does the same as [`Scan::finish`] without blocking, and without a limit.
    ///
    /// # Errors
    /// The host has stopped.
    pub async fn finish_async(&mut self) -> Result<ScanOutcome, ScanError> {
        let ingesters = self.program.ingesters()?;
        self.finishing = true;
        scan::finish(&ingesters, self.id).await?;
        let reports = scan::reports(&ingesters);
        drop(ingesters);
        scan::until(reports, |report| report.finished == Some(self.id)).await?;
        let streams = self.counts()?;
        self.program.release(self.id);
        Ok(ScanOutcome { scan: self.id, streams })
    }

    /// The current counts of the streams that take part.
    ///
    /// # Errors
    /// The host has stopped.
    pub fn counts(&self) -> Result<BTreeMap<StreamName, StreamReport>, ScanError> {
        let reports = self.program.ingesters()?.into_iter().map(|ingester| ingester.report.borrow().clone());
        let streams = reports.flat_map(|report: Report| report.streams);
        Ok(streams.filter(|(stream, _)| self.streams.contains(stream)).collect())
    }

    async fn until(&self, says: impl Fn(&Report) -> bool) -> Result<(), ScanError> {
        let reports = scan::reports(&self.program.ingesters()?);
        Ok(scan::until(reports, says).await?)
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        self.program.release(self.id);
    }
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan").field("id", &self.id).field("streams", &self.streams).finish_non_exhaustive()
    }
}

fn within<T>(limit: Duration, step: impl Future<Output = Result<T, ScanError>>) -> Result<T, ScanError> {
    wait_for(step, Some(limit)).unwrap_or(Err(ScanError::TimedOut))
}
