//! The heart of an ingester: values in, values out.
//!
//! Runs on the forwarder thread. It knows no socket, file, thread or clock: time is a parameter, so it cannot block and
//! a test needs no mock. [`Ingester::pair`] turns events and assignments into messages, which wait with their workers
//! until the forwarder takes them.

pub(crate) mod assemble;
mod backlog;
pub(crate) mod command;
pub(crate) mod counts;
pub(crate) mod header;
pub(crate) mod message;
mod pair;
pub(crate) mod report;
pub(crate) mod scan;
pub(crate) mod snapshot;
mod sources;
mod strangers;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod workers;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use uuid::Uuid;

pub(crate) use self::pair::PairedEvent;
use self::{
    command::{Assignments, Command, Deal},
    counts::{EventCounts, Pace},
    message::Messages,
    scan::{CAPTURE_CLOSE, DRAIN, Phase, Scan},
    workers::Workers,
};
use crate::{
    batch::Remainder,
    counter::Counter,
    events::HostEvent,
    names::{EventNumber, IngesterName, ScanId, StreamName},
    settings::AllowedWorkers,
};

/// The ingester's configured limits.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) worker_timeout: Duration,
    pub(crate) stall_timeout: Option<Duration>,
    pub(crate) source_timeout: Duration,
    pub(crate) allowed_workers: AllowedWorkers,
    /// Maximum number of known workers, in addition to those in assignments.
    pub(crate) most_workers: usize,
}

/// A task for the forwarder.
#[derive(Debug, PartialEq)]
pub(crate) enum Action {
    /// Close the stream's run if one is open, and open the one of this scan.
    Open { stream: usize },
    /// Close the stream's run if one is open.
    Close { stream: usize },
    /// Trigger the event of an on-demand source.
    Trigger { stream: usize, number: EventNumber },
    /// Set a parameter of a source.
    SetParameter { stream: usize, name: String, value: std::sync::Arc<[u8]> },
    /// The old capture ends; open the new scan's capture, if there is one.
    OpenCapture { scan: ScanId },
    /// Close the capture, then call [`Ingester::capture_closed`].
    CloseCapture { scan: ScanId },
    /// Begin to stop.
    Stop { grace: Duration },
    /// Tell subscribers.
    Tell(HostEvent),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Ingester {
    name: IngesterName,
    streams: Vec<Stream>,
    limits: Limits,
    pub(crate) workers: Workers,
    /// The current scan: one value, which the next scan drops as a whole.
    scan: Option<Scan>,
    pub(crate) dump_prefix: String,
    ready: Option<ScanId>,
    finished: Option<ScanId>,
    /// Counts since the start of the process, by reason.
    counters: BTreeMap<Counter, u64>,
    pub(crate) pace: Pace,
    pub(crate) actions: Vec<Action>,
    /// The next event waits only for triggered sources.
    asking: bool,
    created_at: header::CreatedAt,
    messages: Messages,
}

/// One of the ingester's streams, across scans.
#[derive(Debug)]
struct Stream {
    name: StreamName,
    /// The name as written in a header.
    escaped: String,
    on_demand: bool,
    /// Name, version and file of its source, for messages.
    fed_by: String,
    /// The counts of the scans before the current one.
    earlier: EventCounts,
    /// The last fault of its source, unless it has worked since.
    fault: Option<String>,
}

impl Ingester {
    pub(crate) fn new(name: IngesterName, streams: Vec<(StreamName, bool)>, limits: Limits) -> Self {
        let stream = |(name, on_demand)| Stream {
            escaped: header::escape(&name),
            name,
            on_demand,
            fed_by: String::new(),
            earlier: EventCounts::default(),
            fault: None,
        };
        Self {
            name,
            streams: streams.into_iter().map(stream).collect(),
            workers: Workers::new(&limits),
            limits,
            scan: None,
            dump_prefix: String::new(),
            ready: None,
            finished: None,
            counters: BTreeMap::new(),
            pace: Pace::default(),
            actions: Vec::new(),
            asking: false,
            created_at: header::CreatedAt::default(),
            messages: Messages::new(),
        }
    }

    /// The stream has another source from the next scan on.
    pub(crate) fn replaced(&mut self, stream: usize, on_demand: bool) {
        self.streams[stream].on_demand = on_demand;
    }

    /// Sets the description of a stream's source, for messages.
    pub(crate) fn fed_by(&mut self, stream: usize, source: String) {
        self.streams[stream].fed_by = source;
    }

    /// Handles a command from control.
    pub(crate) fn command(&mut self, command: Command, now: Instant) {
        match command {
            Command::StartScan { scan, streams, deal } => self.start(scan, &streams, deal, now),
            Command::Finish { scan } => match &mut self.scan {
                Some(current) if current.id == scan => match current.phase {
                    Phase::Opening { .. } => current.finish_asked = true,
                    Phase::Running => current.phase = Phase::Finishing,
                    // A repeated request.
                    Phase::Finishing | Phase::Closing { .. } | Phase::Finished => {}
                },
                _ => self.count(Counter::FinishesOfAnotherScan, 1),
            },
            Command::SetParameter { stream, name, value } => {
                if let Some(stream) = self.stream_index(&stream) {
                    self.actions.push(Action::SetParameter { stream, name, value });
                }
            }
            Command::DumpPrefix(prefix) => self.dump_prefix = prefix,
            Command::Stop { grace } => self.actions.push(Action::Stop { grace }),
        }
    }

    fn start(&mut self, id: ScanId, streams: &[StreamName], deal: Deal, now: Instant) {
        if let Some(old) = self.scan.take() {
            for (stream, of_old) in self.streams.iter_mut().zip(&old.streams) {
                stream.earlier = stream.earlier + of_old.counts;
                stream.earlier.replaced += of_old.flow.waiting();
            }
        }
        self.pace.restart();
        let dropped = self.workers.restart(now);
        self.count(Counter::MessagesReplaced, dropped);
        let active: Vec<_> = self.streams.iter().map(|own| streams.contains(&own.name)).collect();
        let orders = active.iter().enumerate();
        self.actions.extend(orders.map(|(stream, active)| match active {
            true => Action::Open { stream },
            false => Action::Close { stream },
        }));
        self.actions.push(Action::OpenCapture { scan: id });
        self.scan = Some(Scan::new(id, deal, &active, now + self.limits.source_timeout, now + DRAIN));
    }

    /// Counts what was left in a stream's queue when its scan was replaced.
    pub(crate) fn left_behind(&mut self, stream: usize, left: Remainder) {
        let earlier = &mut self.streams[stream].earlier;
        earlier.read += left.events + left.dropped;
        earlier.replaced += left.events;
        earlier.dropped += left.dropped;
    }

    /// Takes assignments of a controller.
    pub(crate) fn assign(&mut self, assignments: Assignments, now: Instant) {
        let Some(scan) = self.scan.as_mut().filter(|scan| scan.id == assignments.scan && scan.deal == Deal::Controller)
        else {
            return self.count(Counter::AssignmentsOfAnotherScan, assignments.events.len() as u64);
        };
        if scan.phase != Phase::Running {
            return self.count(Counter::AssignmentsAfterFinish, assignments.events.len() as u64);
        }
        // The indexes of the list's workers in our own list.
        let mut places = vec![None; assignments.workers.len()];
        let mut duplicates = 0;
        for mut assignment in assignments.events {
            if assignment.number < scan.next_number {
                duplicates += 1;
                continue;
            }
            if assignment.number > scan.next_number && scan.broken.is_none() {
                let why = format!(
                    "assignments jump from event {} to {}: Redis lost some, so events and assignments no longer fit; \
                     start the scan again",
                    scan.next_number, assignment.number
                );
                tracing::error!(scan = %scan.id, "{why}");
                scan.assigned.clear();
                scan.broken = Some(why);
            }
            scan.next_number = assignment.number.saturating_add(1);
            if scan.broken.is_some() {
                continue;
            }
            for worker in assignment.streams.iter_mut().flat_map(|(_, workers)| workers) {
                let name = &assignments.workers[*worker];
                *worker = *places[*worker].get_or_insert_with(|| self.workers.index(name, now));
            }
            assignment.streams.retain(|(stream, _)| scan.streams[*stream].active);
            if !assignment.streams.is_empty() {
                scan.assigned.push(assignment);
            }
        }
        self.count(Counter::AssignmentsDuplicate, duplicates);
    }

    /// Counts events that were paired in one step.
    pub(crate) fn paired(&mut self, events: u64, now: Instant) {
        self.pace.add(events, now);
        if let Some(scan) = &mut self.scan {
            scan.pace.add(events, now);
        }
    }

    /// Number of assignments that wait for their events.
    pub(crate) fn assignments_waiting(&self) -> usize {
        self.scan.as_ref().map_or(0, |scan| scan.assigned.len())
    }

    /// Their size in bytes.
    pub(crate) fn assignments_bytes(&self) -> usize {
        self.scan.as_ref().map_or(0, |scan| scan.assigned.bytes())
    }

    /// Advances the scan as far as possible without another event.
    pub(crate) fn advance(&mut self, now: Instant) {
        let begun = self.workers.begun();
        let Some(scan) = &mut self.scan else { return };
        match scan.phase {
            Phase::Opening { deadline, drain_until } => {
                let overdue: Vec<usize> = if now < deadline {
                    Vec::new()
                } else {
                    (0..scan.streams.len()).filter(|stream| scan.streams[*stream].awaited).collect()
                };
                for stream in overdue {
                    let limit = self.limits.source_timeout;
                    self.failed(stream, format!("open or close did not return within {limit:?} (source_timeout)"));
                }
                let Some(scan) = &mut self.scan else { return };
                let answered = scan.streams.iter().all(|stream| !stream.awaited);
                // A message of the last scan that was partly sent has to be completed.
                if answered && (begun == 0 || now >= drain_until) {
                    scan.phase = if scan.finish_asked { Phase::Finishing } else { Phase::Running };
                    self.ready = Some(scan.id);
                    let (ingester, scan) = (self.name.clone(), scan.id);
                    self.actions.push(Action::Tell(HostEvent::ScanReady { ingester, scan }));
                    self.count(Counter::MessagesOfLastScan, begun);
                }
            }
            Phase::Closing { deadline } if now >= deadline => {
                tracing::error!(
                    "the disk of the capture is slow or hangs: the scan ends after waiting {CAPTURE_CLOSE:?} for it; waiting \
                     events are written when it answers again"
                );
                let id = scan.id;
                self.capture_closed(id);
            }
            Phase::Finished => scan.discard_waiting(),
            _ => {}
        }
    }

    /// Known pairs are delivered; events without an assignment are discarded.
    fn close_scan(&mut self, now: Instant) {
        let Some(scan) = &mut self.scan else { return };
        scan.discard_waiting();
        let unpaired = scan.assigned.clear();
        scan.phase = Phase::Closing { deadline: now + CAPTURE_CLOSE };
        self.actions.push(Action::CloseCapture { scan: scan.id });
        self.count(Counter::AssignmentsWithoutEvents, unpaired);
    }

    /// The capture of this scan is closed, or there was none.
    pub(crate) fn capture_closed(&mut self, id: ScanId) {
        let Some(scan) = self.scan.as_mut().filter(|scan| scan.id == id) else { return };
        if matches!(scan.phase, Phase::Closing { .. }) {
            scan.phase = Phase::Finished;
            self.finished = Some(id);
            let ingester = self.name.clone();
            self.actions.push(Action::Tell(HostEvent::ScanFinished { ingester, scan: id }));
            let lines = self.counts_in_a_line();
            tracing::info!("scan {id} finished: {lines}");
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The current scan; nil before the first.
    pub(crate) fn scan_id(&self) -> ScanId {
        self.scan.as_ref().map_or(ScanId(Uuid::nil()), |scan| scan.id)
    }

    /// Number of streams that take part in the scan.
    pub(crate) fn active_streams(&self) -> usize {
        self.scan.iter().flat_map(|scan| &scan.streams).filter(|stream| stream.active).count()
    }

    pub(crate) fn is_opening(&self) -> bool {
        self.scan.as_ref().is_some_and(|scan| !scan.is_ready())
    }

    pub(crate) fn stream_name(&self, stream: usize) -> &StreamName {
        &self.streams[stream].name
    }

    fn stream_index(&self, name: &StreamName) -> Option<usize> {
        self.streams.iter().position(|own| own.name == *name)
    }

    pub(crate) fn count(&mut self, what: Counter, count: u64) {
        if count > 0 {
            *self.counters.entry(what).or_default() += count;
        }
    }
}
