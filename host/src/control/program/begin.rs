//! Begins a scan.

use std::time::Duration;

use uuid::Uuid;

use super::{Shared, error::ScanError, scan::Scan};
use crate::{
    control::{report::ControlDriver, scan},
    ingester::command::Deal,
    names::{ScanId, StreamName},
    park::wait_for,
};

/// What the next scan is like; [`ScanBuilder::begin`] begins it. By default all streams take part, and the host deals the
/// events to the workers in turn.
#[derive(Debug, Clone)]
#[must_use = "it begins with `begin`"]
pub struct ScanBuilder {
    program: Shared,
    driver: ControlDriver,
    streams: Option<Vec<StreamName>>,
    dealing: Dealing,
    min_workers: usize,
}

#[derive(Debug, Clone, Copy)]
enum Dealing {
    InTurn,
    ToAll,
    Assigned,
}

impl ScanBuilder {
    pub(crate) fn new(program: Shared, driver: ControlDriver) -> Self {
        Self { program, driver, streams: None, dealing: Dealing::InTurn, min_workers: 1 }
    }

    /// Only these streams take part.
    pub fn streams(self, streams: impl IntoIterator<Item = StreamName>) -> Self {
        Self { streams: Some(streams.into_iter().collect()), ..self }
    }

    /// The host sends each event to the next worker in turn. The first and the last event of a run go to all.
    pub fn in_turn(self) -> Self {
        Self { dealing: Dealing::InTurn, ..self }
    }

    /// The host sends every event to every worker.
    pub fn to_all(self) -> Self {
        Self { dealing: Dealing::ToAll, ..self }
    }

    /// The program assigns the events, with [`Scan::assign`].
    pub fn assigned(self) -> Self {
        Self { dealing: Dealing::Assigned, ..self }
    }

    /// The first event waits until this many workers are connected; default 1. Not for assigned events, which wait for the
    /// workers that they name.
    pub fn min_workers(self, workers: usize) -> Self {
        Self { min_workers: workers.max(1), ..self }
    }

    /// Begins the scan: tells its sources to open. [`Scan::wait_ready`] waits for them.
    ///
    /// Blocks only while 64 commands wait for an ingester, at most for 10 s; [`ScanBuilder::begin_async`] does not.
    ///
    /// # Errors
    /// Another scan runs, a stream is unknown, or something else controls the host.
    pub fn begin(self) -> Result<Scan, ScanError> {
        wait_for(self.begin_async(), Some(ANSWER)).unwrap_or(Err(ScanError::TimedOut))
    }

    /// Does the same as [`ScanBuilder::begin`] without blocking the thread.
    ///
    /// # Errors
    /// The same.
    pub async fn begin_async(self) -> Result<Scan, ScanError> {
        if self.driver != ControlDriver::Program {
            return Err(ScanError::NotControlled { driver: self.driver });
        }
        let ingesters = self.program.ingesters()?;
        let known: Vec<_> = ingesters.iter().flat_map(|ingester| ingester.streams.iter().cloned()).collect();
        let streams = self.streams.unwrap_or_else(|| known.clone());
        if let Some(stream) = streams.iter().find(|stream| !known.contains(stream)) {
            return Err(ScanError::UnknownStream { stream: stream.clone(), known });
        }
        let min_workers = self.min_workers;
        let deal = match self.dealing {
            Dealing::InTurn => Deal::InTurn { min_workers },
            Dealing::ToAll => Deal::ToAll { min_workers },
            Dealing::Assigned => Deal::Controller,
        };
        let id = ScanId(Uuid::new_v4());
        self.program.claim(id)?;
        // From here on, dropping it releases the scan.
        let begun = Scan::new(id, self.program, streams.clone(), deal == Deal::Controller);
        tracing::info!(scan = %id, "a scan begins");
        scan::begin(&ingesters, id, |stream| streams.contains(stream), deal).await?;
        Ok(begun)
    }
}

/// How long an ingester may take to take a command.
const ANSWER: Duration = Duration::from_secs(10);
