//! An ingester's report: a snapshot of its state, always the latest.
//!
//! A snapshot, not a series of messages: nobody can miss one, and it needs no queue. The forwarder replaces it at once when
//! `ready`, `finished`, `runs_ended` or the workers change, and otherwise at most every 200 ms while counters change.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use uuid::Uuid;

use super::counts::{EventCounts, PaceReport};
use crate::{
    counter::Counter,
    names::{IngesterName, ScanId, StreamName, WorkerName},
};

/// The state of one ingester. All counts are here, and all drops with their reason.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The ingester.
    pub name: IngesterName,
    /// New for each start of the process.
    pub service_uuid: Uuid,
    /// The address for workers.
    pub url: String,
    /// What it does now.
    pub state: IngesterState,
    /// The scan whose sources are all open and whose uuid may be published.
    pub ready: Option<ScanId>,
    /// The last scan whose finish was carried out (capture closed).
    pub finished: Option<ScanId>,
    /// The last scan in which every stream's run has ended and everything was delivered; for standalone control.
    pub runs_ended: Option<ScanId>,
    /// Events forwarded or discarded in the current scan.
    pub processed_events: u64,
    /// Events a second over the last second.
    pub event_rate: f64,
    /// Bytes in use, out of `memory_limit`.
    pub memory_used: u64,
    /// The limit.
    pub memory_limit: u64,
    /// Number of events of the current scan that are assigned so far.
    pub assignments: u64,
    /// Number of assignments that wait for their events.
    pub assignments_waiting: u64,
    /// Time between events in the current scan.
    pub pace: PaceReport,
    /// Each stream.
    pub streams: BTreeMap<StreamName, StreamReport>,
    /// Workers that are connected, and workers with waiting messages.
    pub workers: Vec<WorkerReport>,
    /// The first names of workers that are refused, because `workers` does not allow them.
    pub workers_not_allowed: Vec<WorkerName>,
    /// Counts since the start of the process that belong to no stream: junk pings, late assignments, …
    pub counters: BTreeMap<Counter, u64>,
    /// The capture, if one is or was written.
    pub capture: Option<CaptureReport>,
    /// Current faults, in words.
    pub faults: Vec<String>,
    /// The faults that keep the ingester from forwarding events.
    pub hindrances: Vec<String>,
}

impl Report {
    /// The report before the ingester's thread has created one.
    pub(crate) fn starting(
        name: IngesterName,
        service_uuid: Uuid,
        settings: &crate::settings::IngesterSettings,
    ) -> Self {
        Self {
            name,
            service_uuid,
            url: settings.url(),
            state: IngesterState::Idle,
            ready: None,
            finished: None,
            runs_ended: None,
            processed_events: 0,
            event_rate: 0.0,
            memory_used: 0,
            memory_limit: settings.memory_limit,
            assignments: 0,
            assignments_waiting: 0,
            pace: PaceReport::default(),
            streams: settings.streams.iter().map(|stream| (stream.name.clone(), StreamReport::default())).collect(),
            workers: Vec::new(),
            workers_not_allowed: Vec::new(),
            counters: BTreeMap::new(),
            capture: None,
            faults: Vec::new(),
            hindrances: Vec::new(),
        }
    }
}

/// The state of an ingester.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum IngesterState {
    /// There was no scan yet.
    Idle,
    /// The sources of a new scan are opening.
    Opening,
    /// The scan's events are forwarded.
    Running,
    /// The scan's last events are delivered, and its capture is closed.
    Finishing,
    /// The scan is finished, and no new one has begun.
    Finished,
    /// Its thread is about to end.
    Stopped,
}

impl fmt::Display for IngesterState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// The state of a stream's source in the current scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum SourceState {
    /// No run is open.
    #[default]
    Closed,
    /// The run is opening.
    Opening,
    /// The run is open and gives events.
    Open,
    /// The run has given its last event.
    Ended,
    /// The source has failed in this scan.
    Failed,
}

impl fmt::Display for SourceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// One stream in a [`Report`]. Counts are for the current scan.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct StreamReport {
    /// Whether it takes part in the current scan.
    pub active: bool,
    /// The state of its source.
    pub source: SourceState,
    /// Events taken from the source.
    pub read: u64,
    /// Events handed to the network, for at least one worker.
    pub forwarded: u64,
    /// Events dropped: by policy when full, or because the source had failed.
    pub dropped: u64,
    /// Events discarded because their assignment names no worker, or because none came.
    pub discarded: u64,
    /// Events in assignments that never came, because the source had failed.
    pub missing: u64,
    /// Messages of the detector that gave no event, by reason.
    pub skipped: BTreeMap<String, u64>,
    /// Why the last invalid message of the detector was invalid, in the source's words.
    pub last_invalid: Option<String>,
    /// Whether a detector is connected; `None` if no run is open or the source cannot tell.
    pub connection: Option<ConnectionReport>,
    /// Counts of the source itself: messages, bytes, numbers that the detector left out, …
    pub received: BTreeMap<String, u64>,
    /// Events queued. At every moment `read` is the sum of `forwarded`, `dropped`, `discarded` and `queued`; over all
    /// scans (`since_start`) of these and `replaced`.
    pub queued: u64,
    /// Waiting bytes: those of the queued events, and those that the source has received and not yet delivered.
    pub bytes_waiting: u64,
    /// The counts over all scans since the start: losses stay visible when the next scan begins.
    pub since_start: EventCounts,
}

/// The connection between a source and its detector, in a [`StreamReport`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ConnectionReport {
    /// Whether a detector is connected.
    pub connected: bool,
    /// Since when, in UTC (RFC 3339).
    pub since: String,
    /// The detector's address, or, while none is connected, the one that the source uses.
    pub address: Option<String>,
}

/// One worker in a [`Report`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct WorkerReport {
    /// Its name.
    pub name: WorkerName,
    /// Its service uuid, from its last ping; `None` before the first.
    pub service_uuid: Option<Uuid>,
    /// Seconds since the epoch.
    pub last_seen: f64,
    /// Whether it counts as connected: only connected workers are published.
    pub connected: bool,
    /// Messages handed to the network in the current scan.
    pub sent: u64,
    /// Number of messages that wait for it.
    pub waiting: u64,
    /// Number of bytes of the first waiting message that the network has.
    pub begun: u64,
    /// Messages dropped in the current scan because the worker was evicted.
    pub dropped: u64,
    /// Messages that the network had in the current scan when the connection ended, and that the worker's machine had not confirmed.
    pub lost: u64,
}

/// The capture in a [`Report`].
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct CaptureReport {
    /// The file.
    pub path: String,
    /// Events written.
    pub written: u64,
    /// Events not written, for any reason.
    pub not_written: u64,
    /// Bytes of events that wait for the disk, out of `capture_limit`. Not part of `memory_used`.
    pub bytes_waiting: u64,
    /// Why it was closed before the end of the scan.
    pub fault: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_is_one_word() {
        let states = [
            IngesterState::Idle,
            IngesterState::Opening,
            IngesterState::Running,
            IngesterState::Finishing,
            IngesterState::Finished,
            IngesterState::Stopped,
        ];
        let words = ["idle", "opening", "running", "finishing", "finished", "stopped"];
        assert_eq!(states.map(|state| state.to_string()), words);
        let states =
            [SourceState::Closed, SourceState::Opening, SourceState::Open, SourceState::Ended, SourceState::Failed];
        assert_eq!(states.map(|state| state.to_string()), ["closed", "opening", "open", "ended", "failed"]);
    }
}
