//! The outcomes of each stream's events add up at every moment: while scans replace each other, and at the end.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use framegate::{
    Report,
    names::StreamName,
    settings::{StreamSettings, WhenFull},
};
use framegate_tests::{played::given, redis::RedisServer, stage::Stage};
use serde_json::json;

const SCANS: usize = 500;
const STREAMS: [&str; 3] = ["played-a", "played-b", "played-drops"];

/// Ends the watching thread, also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// For a stream: the events read in all scans, and the sum of their outcomes.
fn sums(report: &Report, stream: &str) -> (u64, u64) {
    let stream = &report.streams[stream];
    let now = stream.forwarded + stream.dropped + stream.discarded + stream.queued;
    assert_eq!(stream.read, now, "in this scan: {stream:?}");
    let all = stream.since_start;
    (all.read, all.forwarded + all.dropped + all.discarded + all.replaced + stream.queued)
}

#[test]
fn at_every_moment_what_was_read_is_the_sum_of_what_became_of_it_also_while_scans_replace_each_other() {
    let mut stage = Stage::with(RedisServer::start(), &STREAMS, 0, |settings| {
        let ingester = &mut settings.ingesters[0];
        // Small enough that the stream `played-drops` drops events.
        ingester.memory_limit = 256 << 10;
        ingester.streams = STREAMS
            .iter()
            .map(|name| {
                let source = json!({ "events": u64::MAX });
                let mut stream = StreamSettings::new(StreamName::new(name).unwrap(), "played", source);
                stream.when_full = if *name == "played-drops" { WhenFull::Drop } else { WhenFull::Block };
                stream
            })
            .collect();
    });
    let name = stage.name.clone();
    let _worker = stage.worker("w1");
    let over = AtomicBool::new(false);
    let (host, controller) = (stage.host.as_ref().unwrap(), &mut stage.controller);
    let asked = thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let (mut asked, mut last) = (0u64, 0);
            while !over.load(Ordering::Relaxed) {
                let report = host.reports().remove(0);
                for stream in STREAMS.iter().filter(|stream| report.streams.contains_key(**stream)) {
                    let (read, sum) = sums(&report, stream);
                    assert_eq!(read, sum, "{stream}: {:?}", report.streams[*stream]);
                }
                let read: u64 = report.streams.values().map(|stream| stream.since_start.read).sum();
                asked += u64::from(read != last);
                last = read;
                thread::yield_now();
            }
            asked
        });
        let ends = Over(&over);
        // Some events of each scan are assigned, to a worker or to none; in some scans no events are assigned.
        let to_w1: &[(&str, &[&str])] = &[("played-a", &["w1"]), ("played-b", &[]), ("played-drops", &["w1"])];
        for scan in 0..SCANS {
            let active = if scan % 3 == 0 { &STREAMS[..2] } else { &STREAMS[..] };
            controller.scan(&name, active);
            controller.assign(&vec![to_w1; scan % 4 * 10]);
            assert!(!watcher.is_finished(), "a sum is wrong");
        }
        // A scan without this ingester's streams, so that events in transit are finished.
        controller.scan(&name, &["another ingester's"]);
        drop(ends);
        watcher.join().unwrap()
    });
    assert!(asked > SCANS as u64 / 2, "{asked} different reports were seen");
    let report = stage.report();
    let all = STREAMS.map(|stream| report.streams[stream].since_start);
    let outcomes = [
        all.map(|all| all.forwarded).iter().sum::<u64>(),
        all.map(|all| all.dropped).iter().sum::<u64>(),
        all.map(|all| all.discarded).iter().sum::<u64>(),
        all.map(|all| all.replaced).iter().sum::<u64>(),
    ];
    assert!(outcomes.iter().all(|count| *count > 0), "each outcome is in play: {all:?}");
    // The sources' own counts match too: nothing is lost between them and the ingester.
    stage.wait_report("everything that the sources gave", |report| {
        let late = report.counters["events_late"];
        let read: u64 = report.streams.values().map(|stream| stream.since_start.read).sum();
        STREAMS.map(given).iter().sum::<u64>() == read + late
    });
}
