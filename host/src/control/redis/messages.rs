//! What is on the wire, as lax in reading as pydantic and as strict in writing as its models demand.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    control::Line,
    ingester::{
        command::Assignment,
        report::{Report, WorkerReport},
    },
    names::{StreamName, WorkerName},
};

/// The controller's update (`ControllerUpdate`).
#[derive(Debug, Clone, Deserialize, PartialEq)]
pub(super) struct ControllerUpdate {
    pub(super) mapping_uuid: Uuid,
    pub(super) parameters_version: BTreeMap<String, Uuid>,
    #[serde(default)]
    pub(super) active_streams: Vec<String>,
    #[serde(default)]
    pub(super) finished: bool,
}

/// One event's work (`WorkAssignment`).
#[derive(Debug, Clone, Deserialize)]
pub(super) struct WorkAssignment {
    event_number: u64,
    assignments: HashMap<String, Vec<String>>,
}

impl WorkAssignment {
    /// What concerns an ingester with these streams. The number is kept even if nothing does: numbers show gaps.
    pub(super) fn filtered(mut self, own: &[StreamName]) -> Assignment {
        let worker = |name: String| match WorkerName::new(&name) {
            Ok(name) => Some(name),
            Err(problem) => {
                tracing::warn!("an assignment names a worker that cannot be: {problem}");
                None
            }
        };
        let streams = own.iter().filter_map(|stream| {
            let workers = self.assignments.remove(stream.as_str())?;
            Some((stream.clone(), workers.into_iter().filter_map(worker).collect()))
        });
        Assignment { number: self.event_number, streams: streams.collect() }
    }
}

/// An ingester's state (`IngesterState`). One invalid field ends the connection task of every Python worker, so what goes in
/// here is typed.
#[derive(Debug, Serialize)]
pub(super) struct IngesterState<'a> {
    service_uuid: Uuid,
    mapping_uuid: Option<Uuid>,
    dranspose_version: &'static str,
    mapreduce_version: Option<&'a BuildMeta>,
    parameters_hash: Option<&'a str>,
    processed_events: u64,
    event_rate: f64,
    name: &'a str,
    url: &'a str,
    connected_workers: BTreeMap<Uuid, ConnectedWorker<'a>>,
    streams: &'a [StreamName],
}

#[derive(Debug, Serialize)]
struct ConnectedWorker<'a> {
    name: &'a str,
    service_uuid: Uuid,
    last_seen: f64,
}

/// Shown to people: which program this is, and whose wire it speaks.
const VERSION: &str = concat!("framegate ", env!("CARGO_PKG_VERSION"), " (wire of dranspose 0.2.0)");

impl<'a> IngesterState<'a> {
    pub(super) fn new(
        line: &'a Line,
        report: &'a Report,
        build: Option<&'a BuildMeta>,
        parameters_hash: Option<&'a str>,
    ) -> Self {
        let worker = |worker: &'a WorkerReport| {
            let service_uuid = worker.service_uuid.filter(|_| worker.connected)?;
            let name = worker.name.as_str();
            Some((service_uuid, ConnectedWorker { name, service_uuid, last_seen: worker.last_seen }))
        };
        Self {
            service_uuid: line.service_uuid,
            mapping_uuid: report.ready.map(|scan| scan.0),
            dranspose_version: VERSION,
            mapreduce_version: build,
            parameters_hash,
            processed_events: report.processed_events,
            // A NaN would be written as null, which the model refuses.
            event_rate: if report.event_rate.is_finite() { report.event_rate } else { 0.0 },
            name: line.name.as_str(),
            url: &line.url,
            connected_workers: report.workers.iter().filter_map(worker).collect(),
            streams: &line.streams,
        }
    }
}

/// What BUILD_META_FILE says (`BuildGitMeta`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct BuildMeta {
    commit_hash: String,
    branch_name: String,
    timestamp: jiff::Timestamp,
    repository_url: String,
}

impl BuildMeta {
    /// The file's content, if it is there and right.
    pub(super) fn read(path: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(path).ok()?;
        let looks_like_url = |meta: &Self| meta.repository_url.contains("://");
        match serde_json::from_str::<Self>(&text) {
            Ok(meta) if looks_like_url(&meta) => Some(meta),
            Ok(_) => {
                tracing::warn!("{}: repository_url is no URL; no build is published", path.display());
                None
            }
            Err(problem) => {
                tracing::warn!("{}: {problem}; no build is published", path.display());
                None
            }
        }
    }
}

/// The notice that a scan is finished (`IngesterUpdate`).
pub(super) fn finished(line: &Line) -> String {
    serde_json::json!({"state": "finished", "source": "ingester", "ingester": line.name.as_str()}).to_string()
}
