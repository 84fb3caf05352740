//! The state of the whole host as one value, which status and metrics both show.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use serde::Serialize;
use tokio::sync::watch;

use super::faults::{Fault, faults};
use crate::{
    control::report::ControlReport,
    host::swap::{
        Swaps,
        receipt::{SwapReceipt, SwapState},
    },
    ingester::report::Report,
    names::{IngesterName, StreamName},
    plugin::{
        SourceIdentity,
        report::{GenerationReport, ProcessReport},
    },
    source::{factory::Factory, loaded::generations},
};

/// The state of a host at one time.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// The version of framegate.
    pub version: &'static str,
    /// The id of the process.
    pub pid: u32,
    /// Time since the start of the host.
    pub uptime_seconds: f64,
    /// The address of its HTTP endpoint.
    pub admin: Option<SocketAddr>,
    /// The controller of the host, and whether Redis is reachable.
    pub control: ControlReport,
    /// The source of each stream.
    pub sources: Vec<SourceStatus>,
    /// Every loaded copy of a plugin file; linked sources have none.
    pub generations: Vec<GenerationReport>,
    /// The latest swaps of sources, oldest first.
    pub swaps: Vec<SwapReceipt>,
    /// Each ingester.
    pub ingesters: Vec<Report>,
    /// All current faults.
    pub faults: Vec<Fault>,
}

/// The source of a stream.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SourceStatus {
    /// The stream.
    pub stream: StreamName,
    /// Name, version and file of the source.
    pub source: String,
    /// The same as separate values.
    pub identity: SourceIdentity,
    /// Its process, if it has one of its own (`isolate`).
    pub process: Option<ProcessReport>,
    /// The swap that takes effect at the next scan start.
    pub pending: Option<u64>,
}

/// Provides the state at any time, on any thread.
#[derive(Debug, Clone)]
pub(crate) struct Observer {
    started: Instant,
    admin: Option<SocketAddr>,
    swaps: Arc<Swaps>,
    reports: Vec<watch::Receiver<Report>>,
    control: watch::Receiver<ControlReport>,
}

impl Observer {
    pub(crate) fn new(
        admin: Option<SocketAddr>,
        swaps: Arc<Swaps>,
        reports: Vec<watch::Receiver<Report>>,
        control: watch::Receiver<ControlReport>,
    ) -> Self {
        Self { started: Instant::now(), admin, swaps, reports, control }
    }

    /// The address of the admin endpoint.
    pub(crate) fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// The swaps of the host.
    #[cfg_attr(not(feature = "admin"), allow(dead_code, reason = "for the admin endpoint"))]
    pub(crate) fn swaps(&self) -> &Arc<Swaps> {
        &self.swaps
    }

    pub(crate) fn status(&self) -> Status {
        let swaps = self.swaps.receipts();
        let source = |(stream, factory): (StreamName, Arc<Factory>)| {
            let waits = |swap: &&SwapReceipt| swap.stream == stream && swap.state == SwapState::Pending;
            let pending = swaps.iter().rfind(waits).map(|swap| swap.number);
            let identity = factory.identity();
            SourceStatus { source: identity.to_string(), stream, identity, process: factory.process(), pending }
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
            sources: self.swaps.factories().into_iter().map(source).collect(),
            generations: generations(),
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
