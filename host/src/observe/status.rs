//! The state of the whole host as one value, which status and metrics both show.

use std::time::Instant;

use serde::Serialize;
use tokio::sync::watch;

use crate::{
    control::report::ControlReport,
    ingester::report::Report,
    names::{IngesterName, StreamName},
    plugin::generation::{self, GenerationReport},
};

/// The state of a host at one time.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Status {
    pub(crate) version: &'static str,
    pub(crate) pid: u32,
    pub(crate) uptime_seconds: f64,
    /// Who controls the host, and whether Redis is there.
    pub(crate) control: ControlReport,
    /// What feeds each stream.
    pub(crate) sources: Vec<SourceStatus>,
    /// Every loaded copy of a plugin file; linked sources have none.
    pub(crate) generations: Vec<GenerationReport>,
    pub(crate) ingesters: Vec<Report>,
}

/// What feeds a stream.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SourceStatus {
    pub(crate) stream: StreamName,
    /// Name, version and file of the source.
    pub(crate) source: String,
}

/// From where the state can be had at any time, by any thread.
#[derive(Debug, Clone)]
pub(crate) struct Observed {
    started: Instant,
    sources: Vec<SourceStatus>,
    reports: Vec<watch::Receiver<Report>>,
    control: watch::Receiver<ControlReport>,
}

impl Observed {
    pub(crate) fn new(
        sources: &[(StreamName, String)],
        reports: Vec<watch::Receiver<Report>>,
        control: watch::Receiver<ControlReport>,
    ) -> Self {
        let source =
            |(stream, source): &(StreamName, String)| SourceStatus { stream: stream.clone(), source: source.clone() };
        Self { started: Instant::now(), sources: sources.iter().map(source).collect(), reports, control }
    }

    pub(crate) fn status(&self) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            uptime_seconds: self.started.elapsed().as_secs_f64(),
            control: self.control.borrow().clone(),
            sources: self.sources.clone(),
            generations: generation::reports(),
            ingesters: self.reports.iter().map(|report| report.borrow().clone()).collect(),
        }
    }

    /// The ingesters whose threads have ended, although the host runs.
    pub(crate) fn dead(&self) -> Vec<IngesterName> {
        let dead = self.reports.iter().filter(|report| report.has_changed().is_err());
        dead.map(|report| report.borrow().name.clone()).collect()
    }
}
