//! Builds the report of the ingester's state for control and people.

use std::{collections::BTreeMap, time::Instant};

use uuid::Uuid;

use super::{
    Ingester, Stream,
    report::{CaptureReport, IngesterState, Report, StreamReport},
    scan::{Phase, Scan, StreamScan},
};
use crate::{counter::Counter, names::ScanId};

/// The forwarder's part of the report: measured outside the heart.
pub(crate) struct Measured<'a> {
    pub(crate) service_uuid: Uuid,
    pub(crate) url: &'a str,
    pub(crate) event_rate: f64,
    pub(crate) memory_used: u64,
    pub(crate) memory_limit: u64,
    /// Adds the state of a source's run: messages that gave no event, by reason; what it has received, and what waits in it.
    pub(crate) source: &'a dyn Fn(usize, &mut StreamReport),
    /// Number of closed or refused connections, by reason.
    pub(crate) connections: &'a BTreeMap<Counter, u64>,
    pub(crate) capture: Option<CaptureReport>,
    pub(crate) faults: Vec<String>,
    /// Further faults that keep it from forwarding events.
    pub(crate) hindrances: Vec<String>,
    pub(crate) stopped: bool,
    /// Number of events that were read after the end of their scan.
    pub(crate) late: u64,
}

/// Values whose change makes a new report due at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Landmarks {
    ready: Option<ScanId>,
    finished: Option<ScanId>,
    is_over: bool,
    state: Option<IngesterState>,
    /// Number of connected workers, and of all that ever connected.
    workers: (usize, u64),
}

impl Ingester {
    pub(crate) fn report(&self, now: Instant, measured: Measured<'_>) -> Report {
        let scan = self.scan.as_ref();
        let mut counters: BTreeMap<Counter, u64> = self.counters.clone();
        let strangers = &self.workers.strangers;
        counters.insert(Counter::MessagesInvalid, strangers.junk);
        counters.insert(Counter::PingsNotAllowed, strangers.pings_not_allowed);
        counters.insert(Counter::MessagesNotAllowed, strangers.messages_not_allowed);
        counters.insert(Counter::PingsWithoutPlace, strangers.without_place);
        counters.insert(Counter::MessagesDropped, self.workers.dropped);
        counters.insert(Counter::WorkersEvicted, self.workers.evictions);
        counters.insert(Counter::MessagesLost, self.workers.lost);
        counters.extend(measured.connections);
        counters.insert(Counter::EventsLate, measured.late);
        let mut hindrances = measured.hindrances;
        let mut streams = BTreeMap::new();
        for (index, stream) in self.streams.iter().enumerate() {
            let mut report = StreamReport::default();
            if let Some(scan) = scan {
                let in_scan = &scan.streams[index];
                if let Some(why) = &in_scan.failure {
                    hindrances.push(format!("stream {}: {why}", stream.name));
                }
                report = StreamReport {
                    active: in_scan.active,
                    source: in_scan.source,
                    read: in_scan.counts.read,
                    forwarded: in_scan.counts.forwarded,
                    dropped: in_scan.counts.dropped,
                    discarded: in_scan.counts.discarded,
                    missing: in_scan.counts.missing,
                    queued: in_scan.flow.waiting(),
                    bytes_waiting: in_scan.flow.bytes(),
                    since_start: stream.earlier + in_scan.counts,
                    ..StreamReport::default()
                };
                (measured.source)(index, &mut report);
            }
            streams.insert(stream.name.clone(), report);
        }
        hindrances.extend(scan.and_then(|scan| scan.broken.clone()));
        Report {
            name: self.name.clone(),
            service_uuid: measured.service_uuid,
            url: measured.url.to_owned(),
            state: match scan {
                _ if measured.stopped => IngesterState::Stopped,
                None => IngesterState::Idle,
                Some(scan) => scan.state(),
            },
            ready: self.ready,
            finished: self.finished,
            runs_ended: scan
                .filter(|scan| scan.phase == Phase::Running && self.has_delivered_all(scan))
                .map(|scan| scan.id),
            processed_events: scan.map_or(0, |scan| scan.processed),
            event_rate: measured.event_rate,
            memory_used: measured.memory_used,
            memory_limit: measured.memory_limit,
            assignments: scan.map_or(0, |scan| scan.next_number),
            assignments_waiting: self.assignments_waiting() as u64,
            pace: scan.map(|scan| scan.pace.report()).unwrap_or_default(),
            streams,
            workers: self.workers.report(now),
            workers_not_allowed: strangers.names.iter().cloned().collect(),
            counters,
            capture: measured.capture,
            faults: [hindrances.clone(), measured.faults].concat(),
            hindrances,
        }
    }

    /// The scan's counts in one line for the log: when it is finished, nothing is queued any more.
    pub(crate) fn counts_in_a_line(&self) -> String {
        let Some(scan) = &self.scan else { return String::new() };
        let line = |(stream, in_scan): (&Stream, &StreamScan)| {
            let counts = in_scan.counts;
            let (name, read) = (&stream.name, counts.read);
            let mut line = match counts.forwarded == read {
                true => format!("{name}: {read} events read, all forwarded"),
                false => format!(
                    "{name}: {read} events read, {} forwarded, {} dropped, {} discarded",
                    counts.forwarded, counts.dropped, counts.discarded
                ),
            };
            if counts.missing > 0 {
                line += &format!(", {} more missing", counts.missing);
            }
            line
        };
        let lines: Vec<_> =
            self.streams.iter().zip(&scan.streams).filter(|(_, in_scan)| in_scan.active).map(line).collect();
        if lines.is_empty() { "no stream of this ingester took part".to_owned() } else { lines.join("; ") }
    }

    /// Number of events paired in the current scan.
    pub(crate) fn processed(&self) -> u64 {
        self.scan.as_ref().map_or(0, |scan| scan.processed)
    }

    pub(crate) fn landmarks(&self, now: Instant) -> Landmarks {
        let scan = self.scan.as_ref();
        Landmarks {
            ready: self.ready,
            finished: self.finished,
            is_over: scan.is_some_and(|scan| self.has_delivered_all(scan)),
            state: scan.map(|scan| scan.state()),
            workers: self.workers.presence(now),
        }
    }

    /// Whether every run has ended, everything is paired, and the network has all messages for every worker that was not evicted.
    fn has_delivered_all(&self, scan: &Scan) -> bool {
        let streams = || self.streams.iter().zip(&scan.streams).filter(|(_, in_scan)| in_scan.active);
        // A stream without a detector has no end of its own: it is over when the streams that it follows are over.
        let follows = streams().any(|(stream, _)| !stream.on_demand);
        let is_over = |(stream, in_scan): (&Stream, &StreamScan)| in_scan.is_over() || (stream.on_demand && follows);
        scan.is_ready() && streams().all(is_over) && self.workers.nothing_waits()
    }
}
