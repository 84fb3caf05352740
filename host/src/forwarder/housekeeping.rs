//! The forwarder's periodic work: evicts workers and gives up sources, measures the pace, and publishes the report
//! that control and people see.

use std::time::{Duration, Instant, SystemTime};

use super::Forwarder;
use crate::{
    counter::Counter,
    events::HostEvent,
    ingester::{
        report::{ConnectionReport, StreamReport},
        snapshot::Measured,
        workers::WorkerNews,
    },
    source::replacement::SourceNotice,
};

/// Events per second, and the time when the pace was last logged.
#[derive(Debug)]
pub(super) struct Rate {
    since: Instant,
    processed: u64,
    pub(super) per_second: f64,
    logged_at: Instant,
}

impl Rate {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, processed: 0, per_second: 0.0, logged_at: now }
    }

    /// Computes a new rate, once a second.
    fn measure(&mut self, now: Instant, processed: u64) {
        let seconds = now.duration_since(self.since).as_secs_f64();
        if seconds >= 1.0 {
            // A new scan counts from zero.
            self.per_second = processed.checked_sub(self.processed).unwrap_or(processed) as f64 / seconds;
            (self.since, self.processed) = (now, processed);
        }
    }

    fn is_log_due(&mut self, now: Instant) -> bool {
        let due = now.duration_since(self.logged_at) >= PACE_LOG;
        if due {
            self.logged_at = now;
        }
        due
    }
}

/// A call of a source that takes longer is shown as a fault: a source may wait 100 ms at most.
const STUCK: Duration = Duration::from_secs(2);
const LACKS_DESCRIPTORS: &str = "no worker can connect: this process has reached its limit of open files and connections \
                                 (RLIMIT_NOFILE, `ulimit -n`)";
/// Minimum interval between pace log lines. (The reference logs it every 1,000 events.)
const PACE_LOG: Duration = Duration::from_secs(10);

impl Forwarder {
    pub(super) fn housekeeping(&mut self, now: Instant) {
        let limits = self.ingester.limits().clone();
        let workers = &mut self.ingester.workers;
        workers.evict(now, &limits, self.assembled.is_full());
        for worker in std::mem::take(&mut workers.given_up) {
            self.router.end_of(&worker);
        }
        self.links.look(workers, now, SystemTime::now());
        for news in workers.take_news(now) {
            let ingester = self.settings.name.clone();
            self.news.tell(match news {
                WorkerNews::Came(worker) => HostEvent::WorkerCame { ingester, worker },
                WorkerNews::Left(worker) => HostEvent::WorkerLeft { ingester, worker },
                WorkerNews::Evicted { worker, dropped, why } => {
                    HostEvent::WorkerEvicted { ingester, worker, dropped, why: why.to_owned() }
                }
            });
        }
        self.router.audit(now, |worker| workers.has_place(worker));
        self.dump.flush();
        for line in workers.take_lines().into_iter().chain(self.router.take_line()) {
            tracing::warn!("{line}");
        }
        self.ingester.count(Counter::CapturesRefused, self.dump.take_refused());
        for stream in 0..self.inputs.len() {
            let reader = &mut self.inputs[stream].reader;
            let [made, not_made] = reader.shared.take_renewals();
            self.ingester.count(Counter::SourcesRecreated, made);
            self.ingester.count(Counter::SourcesNotRecreated, not_made);
            if reader.write_off_if_overdue(limits.source_timeout).is_some() {
                self.ingester.count(Counter::SourcesWrittenOff, 1);
                self.notify(SourceNotice::Hangs(self.inputs[stream].reader.shared.stream.clone()));
            }
            if self.ingester.is_giving(stream)
                && let Some(time) = self.inputs[stream].reader.shared.overdue(limits.source_timeout)
            {
                let why = format!(
                    "a call of the source has not returned for {time:.1?} (source_timeout); nothing more is taken from it \
                     in this scan"
                );
                self.ingester.failed(stream, why);
            }
        }
        self.state.rate.measure(now, self.ingester.processed());
        if self.ingester.pace.events > 0 && self.state.rate.is_log_due(now) {
            let pace = self.ingester.pace.take();
            tracing::info!(
                "forwarding: {} events since the last such line, {:.1} ms apart on average ({:.1} to {:.1} ms); {} \
                 waited for their assignments",
                pace.events,
                pace.mean_us / 1e3,
                pace.min_us / 1e3,
                pace.max_us / 1e3,
                pace.waited_for_assignments
            );
        }
    }

    pub(super) fn publish(&mut self, now: Instant, stopped: bool) {
        self.state.reported_at = now;
        self.state.landmarks = Some(self.ingester.landmarks(now));
        let inputs = &self.inputs;
        let source = |stream: usize, report: &mut StreamReport| {
            let Some(status) = inputs[stream].queue.as_ref().map(|queue| queue.status()) else { return };
            let told = status.told;
            report.skipped = told.skipped.into_iter().collect();
            report.last_invalid = Some(told.last_invalid).filter(|why| !why.is_empty());
            report.received = told.counters.into_iter().collect();
            report.bytes_waiting += told.bytes_waiting;
            report.connection = told.connected.zip(status.since).map(|((connected, _), since)| ConnectionReport {
                connected,
                since: format!("{since:.0}"),
                address: Some(told.peer).filter(|peer| !peer.is_empty()),
            });
        };
        let stuck = inputs.iter().enumerate().filter_map(|(stream, input)| {
            let busy = input.reader.shared.overdue(STUCK)?;
            let (stream, source) = (self.ingester.stream_name(stream), input.reader.shared.source());
            Some(format!("stream {stream}: {source}: a call of the source takes {busy:.1?} so far"))
        });
        let queued = inputs.iter().filter_map(|input| Some(input.queue.as_ref()?.used()));
        let lacks = self.router.lacks_descriptors(now).then(|| LACKS_DESCRIPTORS.to_owned());
        let report = self.ingester.report(
            now,
            Measured {
                service_uuid: self.service_uuid,
                url: &self.settings.url(),
                event_rate: self.state.rate.per_second,
                memory_used: queued.sum::<u64>() + self.assembled.used(),
                memory_limit: self.settings.memory_limit,
                source: &source,
                capture: self.dump.report(),
                connections: &self.router.counts,
                faults: inputs.iter().flat_map(|input| input.reader.shared.refused()).collect(),
                hindrances: stuck.chain(lacks).collect(),
                stopped,
                late: inputs.iter().map(|input| input.space.late()).sum(),
            },
        );
        let changed = self.report.send_if_modified(|last| {
            let changed = *last != report;
            *last = report;
            changed
        });
        if changed {
            self.news.ring();
        }
    }
}
