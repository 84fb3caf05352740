//! The status as metrics, in the OpenMetrics text that Prometheus reads.
//!
//! Counts of a scan restart with the next scan, which Prometheus correctly takes for a reset. The counting itself is
//! done in `ingester/counts.rs`.

use std::{collections::BTreeMap, fmt};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    registry::Registry,
};

use super::{
    families::{Label, Out, Sample, label},
    process::Process,
    status::Status,
};
use crate::{
    control::report::ControlState,
    ingester::report::{Report, WorkerReport},
    names::IngesterName,
};

/// The content type for HTTP clients.
#[cfg_attr(not(feature = "admin"), allow(dead_code, reason = "for the admin endpoint"))]
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The text for one scrape.
///
/// # Errors
/// The library could not write it.
pub(crate) fn metrics(status: Status) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("framegate");
    registry.register_collector(Box::new(Snapshot(status)));
    let mut of_process = Registry::default();
    of_process.register_collector(Box::new(Process));
    let mut out = String::new();
    text::encode_registry(&mut out, &registry)?;
    text::encode_registry(&mut out, &of_process)?;
    text::encode_eof(&mut out)?;
    Ok(out)
}

#[derive(Debug)]
struct Snapshot(Status);

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(encoder);
        let status = &self.0;
        let build = vec![label("version", status.version), label("control", status.control.driver.to_string())];
        out.gauge("build", "The program and who controls it; always 1.", [(build, 1.0)])?;
        out.gauge("uptime_seconds", "Time since the start.", [(vec![], status.uptime_seconds)])?;
        let up = f64::from(u8::from(!matches!(status.control.state, ControlState::Connecting | ControlState::Down)));
        out.gauge("control_up", "Whether Redis answers; 1 without Redis.", [(vec![], up)])?;
        let words = status.control.counters.iter().map(|(what, count)| (vec![label("what", what.id())], *count as f64));
        out.counter("control_occurrences", "Input from the controller that could not be used, by kind.", words)?;
        // A content has several copies in the process if a call of one hung.
        let mut sums = BTreeMap::<(&str, &str), [u64; 2]>::new();
        for copy in &status.generations {
            let [given, returned] = sums.entry((&copy.stream, &copy.sha256)).or_default();
            *given += copy.frames_given;
            *returned += copy.frames_returned;
        }
        let frames = sums.iter().flat_map(|((stream, sha256), [given, returned])| {
            let labels = [label("stream", *stream), label("sha256", *sha256)];
            [("given", given), ("returned", returned)]
                .map(|(what, count)| ([&labels[..], &[label("what", what)]].concat(), *count as f64))
        });
        out.counter("plugin_frames", "Frames that a loaded plugin gave, and frames of it that were released.", frames)?;
        faults(&mut out, status)?;
        ingesters(&mut out, &status.ingesters)?;
        streams(&mut out, &status.ingesters)?;
        workers(&mut out, &status.ingesters)
    }
}

/// The same number of faults as status marks.
fn faults(out: &mut Out<'_>, status: &Status) -> fmt::Result {
    fn of<'a>(status: &'a Status, name: Option<&'a IngesterName>) -> Sample<'a> {
        let count = status.faults.iter().filter(|fault| fault.ingester.as_ref() == name).count();
        (vec![label("ingester", name.map_or("", IngesterName::as_str))], count as f64)
    }
    let each = status.ingesters.iter().map(|report| of(status, Some(&report.name)));
    let help = "Current faults of each ingester, and without an ingester those of the host; status describes them.";
    out.gauge("faults", help, each.chain([of(status, None)]))
}

fn ingesters(out: &mut Out<'_>, reports: &[Report]) -> fmt::Result {
    let each = |number: fn(&Report) -> f64| reports.iter().map(move |report| (vec![name(report)], number(report)));
    let state = reports.iter().map(|report| (vec![name(report), label("state", report.state.to_string())], 1.0));
    out.gauge("ingester_state", "The state that an ingester is in; 1 for that state.", state)?;
    out.counter(
        "processed_events",
        "Events forwarded or discarded in the current scan.",
        each(|r| r.processed_events as f64),
    )?;
    out.gauge("event_rate", "Events a second, over the last second.", each(|r| r.event_rate))?;
    out.gauge("memory_used_bytes", "Bytes of events and messages held.", each(|r| r.memory_used as f64))?;
    out.gauge("memory_limit_bytes", "Bytes that may be held.", each(|r| r.memory_limit as f64))?;
    out.gauge(
        "assignments_waiting",
        "Assigned events that have not been received yet.",
        each(|r| r.assignments_waiting as f64),
    )?;
    out.gauge("event_mean_seconds", "Mean time from event to event.", each(|r| r.pace.mean_us / 1e6))?;
    out.gauge("event_max_seconds", "Longest time from event to event.", each(|r| r.pace.max_us / 1e6))?;
    out.counter(
        "waits_for_assignments",
        "How often events had to wait for their assignments in the current scan.",
        each(|r| r.pace.waited_for_assignments as f64),
    )?;
    let counters = reports.iter().flat_map(|report| {
        report.counters.iter().map(|(what, count)| (vec![name(report), label("what", what.id())], *count as f64))
    });
    out.counter("occurrences", "Everything else that is counted since the start, by kind.", counters)?;
    let captures = reports.iter().filter_map(|report| report.capture.as_ref().map(|capture| (report, capture)));
    let outcomes = captures.flat_map(|(report, capture)| {
        [("written", capture.written), ("not_written", capture.not_written)]
            .map(|(outcome, count)| (vec![name(report), label("outcome", outcome)], count as f64))
    });
    out.counter("capture_events", "Events of the current capture: written or not.", outcomes)?;
    let waiting =
        reports.iter().filter_map(|report| Some((vec![name(report)], report.capture.as_ref()?.bytes_waiting as f64)));
    out.gauge("capture_waiting_bytes", "Bytes of events that wait for the capture's disk.", waiting)
}

fn streams(out: &mut Out<'_>, reports: &[Report]) -> fmt::Result {
    let (mut state, mut events, mut queued, mut waiting) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut skipped, mut received, mut connected) = (Vec::new(), Vec::new(), Vec::new());
    for report in reports {
        for (stream, of_stream) in &report.streams {
            let labels = vec![name(report), label("stream", stream.as_str())];
            let with = |more| [&labels[..], &[more]].concat();
            state.push((with(label("state", of_stream.source.to_string())), 1.0));
            for (outcome, count) in [
                ("read", of_stream.since_start.read),
                ("forwarded", of_stream.since_start.forwarded),
                ("dropped", of_stream.since_start.dropped),
                ("discarded", of_stream.since_start.discarded),
                ("replaced", of_stream.since_start.replaced),
                ("missing", of_stream.since_start.missing),
            ] {
                events.push((with(label("outcome", outcome)), count as f64));
            }
            skipped.extend(of_stream.skipped.iter().map(|(why, count)| (with(label("reason", why)), *count as f64)));
            received.extend(of_stream.received.iter().map(|(what, count)| (with(label("what", what)), *count as f64)));
            waiting.push((labels.clone(), of_stream.bytes_waiting as f64));
            if let Some(connection) = &of_stream.connection {
                connected.push((labels.clone(), f64::from(u8::from(connection.connected))));
            }
            queued.push((labels, of_stream.queued as f64));
        }
    }
    out.gauge("source_state", "The state that a stream's source is in; 1 for that state.", state)?;
    out.counter("stream_events", "Events since the start, by outcome; see docs/operate/monitoring.md.", events)?;
    out.gauge(
        "stream_connected",
        "Whether a stream's detector is connected; missing if no scan runs or the source cannot tell.",
        connected,
    )?;
    out.gauge("stream_queued_events", "Events that wait for their assignments.", queued)?;
    out.gauge(
        "stream_waiting_bytes",
        "Bytes of these events, and of data that the source has not given yet.",
        waiting,
    )?;
    out.counter(
        "stream_skipped_messages",
        "Skipped messages of the detector in the current scan, by reason.",
        skipped,
    )?;
    out.counter("source_received", "What a stream's source has counted itself in the current scan.", received)
}

fn workers(out: &mut Out<'_>, reports: &[Report]) -> fmt::Result {
    let each = |number: fn(&WorkerReport) -> f64| {
        let mut samples = Vec::new();
        for report in reports {
            for worker in &report.workers {
                samples.push((vec![name(report), label("worker", worker.name.as_str())], number(worker)));
            }
        }
        samples
    };
    out.gauge("worker_connected", "Whether a worker is connected.", each(|w| f64::from(u8::from(w.connected))))?;
    out.counter("worker_sent_messages", "Messages given to the network in the scan.", each(|w| w.sent as f64))?;
    out.gauge("worker_waiting_messages", "Messages that wait for the worker.", each(|w| w.waiting as f64))?;
    out.counter(
        "worker_dropped_messages",
        "Messages dropped in the scan, because the worker was evicted.",
        each(|w| w.dropped as f64),
    )?;
    out.counter(
        "worker_lost_messages",
        "Messages lost in the scan when the worker's connection ended.",
        each(|w| w.lost as f64),
    )
}

fn name(report: &Report) -> Label<'_> {
    label("ingester", report.name.as_str())
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::{control::report::ControlReport, counter::Counter, pages};

    /// The tables of the page, from the code.
    fn tables() -> String {
        let nothing = Status {
            version: "",
            pid: 0,
            uptime_seconds: 0.0,
            admin: None,
            control: ControlReport::standalone(),
            sources: Vec::new(),
            generations: Vec::new(),
            swaps: Vec::new(),
            ingesters: Vec::new(),
            faults: Vec::new(),
        };
        let text = metrics(nothing).unwrap();
        let lines = |what: &str| -> Vec<(String, String)> {
            let of = text.lines().filter_map(|line| line.strip_prefix(what)?.split_once(' '));
            of.map(|(name, rest)| (name.to_owned(), rest.to_owned())).collect()
        };
        let (help, kinds) = (lines("# HELP "), lines("# TYPE "));
        let mut out = "| metric | type | meaning |\n|---|---|---|\n".to_owned();
        for ((name, about), (of, kind)) in help.iter().zip(&kinds) {
            assert_eq!(name, of);
            let total = if kind == "counter" { "_total" } else { "" };
            writeln!(out, "| `{name}{total}` | {kind} | {about} |").unwrap();
        }
        out += "\n## Counters\n\n| `what` | meaning |\n|---|---|\n";
        for counter in Counter::ALL {
            writeln!(out, "| `{counter}` | {} |", counter.about()).unwrap();
        }
        out
    }

    #[test]
    fn the_page_lists_every_metric_and_every_counter() {
        pages::compare("../docs/reference/metrics.md", "## Metrics\n\n", &tables());
    }
}
