//! The state of the whole host as one value, which status and metrics both show.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use serde::Serialize;
use tokio::sync::watch;

use super::faults::{Fault, faults};
use crate::{
    control::report::ControlReport,
    host::{SwapReceipt, SwapState, Swaps},
    ingester::report::Report,
    names::{IngesterName, StreamName},
    plugin::{
        generation::{self, GenerationReport},
        identity::SourceIdentity,
    },
};

/// The state of a host at one time.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Status {
    pub(crate) version: &'static str,
    pub(crate) pid: u32,
    pub(crate) uptime_seconds: f64,
    /// Where it answers over HTTP.
    pub(crate) admin: Option<SocketAddr>,
    /// Who controls the host, and whether Redis is there.
    pub(crate) control: ControlReport,
    /// What feeds each stream.
    pub(crate) sources: Vec<SourceStatus>,
    /// Every loaded copy of a plugin file; linked sources have none.
    pub(crate) generations: Vec<GenerationReport>,
    /// The latest swaps of sources, the oldest first.
    pub(crate) swaps: Vec<SwapReceipt>,
    pub(crate) ingesters: Vec<Report>,
    /// Everything that is wrong now.
    pub(crate) faults: Vec<Fault>,
}

/// What feeds a stream.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SourceStatus {
    pub(crate) stream: StreamName,
    /// Name, version and file of the source.
    pub(crate) source: String,
    /// The same in parts.
    pub(crate) identity: SourceIdentity,
    /// The swap that takes effect at the next scan start.
    pub(crate) pending: Option<u64>,
}

/// From where the state can be had at any time, by any thread.
#[derive(Debug, Clone)]
pub(crate) struct Observed {
    started: Instant,
    admin: Option<SocketAddr>,
    swaps: Arc<Swaps>,
    reports: Vec<watch::Receiver<Report>>,
    control: watch::Receiver<ControlReport>,
}

impl Observed {
    pub(crate) fn new(
        admin: Option<SocketAddr>,
        swaps: Arc<Swaps>,
        reports: Vec<watch::Receiver<Report>>,
        control: watch::Receiver<ControlReport>,
    ) -> Self {
        Self { started: Instant::now(), admin, swaps, reports, control }
    }

    /// The swaps of the host.
    pub(crate) fn swaps(&self) -> &Arc<Swaps> {
        &self.swaps
    }

    pub(crate) fn status(&self) -> Status {
        let swaps = self.swaps.receipts();
        let source = |(stream, identity): (StreamName, SourceIdentity)| {
            let waits = |swap: &&SwapReceipt| swap.stream == stream && swap.state == SwapState::Pending;
            let pending = swaps.iter().rfind(waits).map(|swap| swap.number);
            SourceStatus { source: identity.to_string(), stream, identity, pending }
        };
        let control = self.control.borrow().clone();
        let ingesters: Vec<_> = self.reports.iter().map(|report| report.borrow().clone()).collect();
        Status {
            faults: faults(&control, &ingesters, &self.dead()),
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            uptime_seconds: self.started.elapsed().as_secs_f64(),
            admin: self.admin,
            control,
            sources: self.swaps.sources().into_iter().map(source).collect(),
            generations: generation::reports(),
            swaps,
            ingesters,
        }
    }

    /// The ingesters whose threads have ended, although the host runs.
    pub(crate) fn dead(&self) -> Vec<IngesterName> {
        let dead = self.reports.iter().filter(|report| report.has_changed().is_err());
        dead.map(|report| report.borrow().name.clone()).collect()
    }
}
