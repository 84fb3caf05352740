//! Control by the program that embeds the host: it begins scans, assigns their events, and finishes them.
//!
//! Everything runs on the program's threads and tasks; the ingesters see the same commands as from other drivers.

mod assignment;
mod begin;
mod error;
mod scan;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::{
    assignment::Assignment,
    begin::ScanBuilder,
    error::ScanError,
    scan::{Scan, ScanOutcome},
};
use tokio::sync::watch;

use super::IngesterHandle;
use crate::names::ScanId;

/// Shared by a host and its scans. A scan that outlives the host finds it closed.
#[derive(Debug, Default)]
pub(crate) struct Program(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// `None`: the host has stopped, or is not started.
    ingesters: Option<Vec<IngesterHandle>>,
    /// The scan that a program holds.
    current: Option<ScanId>,
}

impl Program {
    /// From now on scans can begin.
    pub(crate) fn open(&self, ingesters: Vec<IngesterHandle>) {
        self.lock().ingesters = Some(ingesters);
    }

    /// Waits until `stop` rings; from then on every step of a scan fails.
    pub(crate) async fn until_stopped(&self, mut stop: watch::Receiver<bool>) {
        // An error means that the host is gone, which counts as a stop.
        let _ = stop.wait_for(|stop| *stop).await;
        self.lock().ingesters = None;
    }

    fn ingesters(&self) -> Result<Vec<IngesterHandle>, ScanError> {
        self.lock().ingesters.clone().ok_or(ScanError::Stopped)
    }

    /// Makes a scan the current one.
    fn claim(&self, scan: ScanId) -> Result<(), ScanError> {
        let mut state = self.lock();
        match state.current {
            Some(scan) => Err(ScanError::Runs { scan }),
            None => {
                state.current = Some(scan);
                Ok(())
            }
        }
    }

    /// The scan is finished, or its holder has dropped it.
    fn release(&self, scan: ScanId) {
        let mut state = self.lock();
        if state.current == Some(scan) {
            state.current = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a scan needs of its host.
type Shared = Arc<Program>;
