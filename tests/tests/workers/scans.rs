//! What one scan leaves for the next: evicted workers, and frames that no worker took.

use std::time::Duration;

use framegate_stins_detector::image;
use framegate_tests::{
    controller::LIMIT,
    listener::Listener,
    process::wait_for,
    redis::RedisServer,
    stage::{IMAGE_BYTES, Stage, check},
    worker::Worker,
};

const FRAMES: u32 = 9000;

#[test]
fn an_evicted_worker_that_wakes_gets_nothing_until_it_has_another_uuid_or_the_next_scan_begins() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::with(RedisServer::start(), &["eiger"], FRAMES, |settings| {
        let ingester = &mut settings.ingesters[0];
        ingester.memory_limit = 1 << 20;
        ingester.worker_timeout = Duration::from_millis(1500);
    });
    let url = stage.settings.ingesters[0].url();
    let connected = |stage: &Stage, name: &str, other_than: Option<uuid::Uuid>| {
        let report = stage.wait_report("the worker", |report| {
            let mut workers = report.workers.iter();
            workers.any(|one| one.name.as_str() == name && one.connected && one.service_uuid != other_than)
        });
        report.workers.iter().find(|one| one.name.as_str() == name).unwrap().service_uuid
    };
    let stopped = Listener::connect("stopped", &url, folder.path());
    let uuid = connected(&stage, "stopped", None);
    let reads = stage.worker("reads");
    stopped.pause();
    stage.hold_after(6000);
    stage.scan(&["eiger"]);
    let to_both: &[(&str, &[&str])] = &[("eiger", &["stopped", "reads"])];
    let next = |from: u64, to: u64| (from..to).for_each(|number| check(&reads.next(), "eiger", number, 0, FRAMES));
    stage.controller.assign(&vec![to_both; FRAMES as usize + 2]);
    // The network's buffers take some messages; then the other worker waits no longer than worker_timeout.
    next(0, 6000);
    // A report may be 200 ms old; if the eviction never appears, there were too few images.
    let evicted = stage.wait_report("the eviction", |report| report.counters["workers_evicted"] == 1);

    stopped.resume();
    stage.wait_report("the same worker by a new connection", |report| {
        let ended = "connections_of_lost_workers";
        let pings = |one: &framegate::Report| {
            one.workers.iter().find(|one| one.name.as_str() == "stopped").map(|one| one.last_seen)
        };
        report.counters[ended] == 1 && pings(report) > pings(&evicted)
    });
    stage.hold_after(7000);
    stage.next_runs();
    next(6000, 7000);
    let got = stopped.numbers();
    assert!(got.is_sorted() && got.last().is_none_or(|last| *last < 6000), "{:?}", got.last());
    assert_eq!(got, (0..got.len() as u64).collect::<Vec<_>>(), "what it got before it was given up");

    // A restarted process is another worker.
    stopped.kill();
    let restarted = Listener::connect("stopped", &url, folder.path());
    connected(&stage, "stopped", uuid);
    stage.hold_after(8000);
    stage.next_runs();
    next(7000, 8000);
    let of_restarted = || restarted.numbers().into_iter().skip(got.len()).collect::<Vec<_>>();
    wait_for("the events since its restart", LIMIT, || of_restarted().contains(&7999).then_some(()));
    assert!(of_restarted()[0] >= 7000, "{:?}", of_restarted()[0]);
    stage.hold_after(u32::MAX);
    stage.next_runs();
    next(8000, u64::from(FRAMES) + 2);
    stage.finish();
}

#[test]
fn an_evicted_worker_is_served_again_in_the_next_scan() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::with(RedisServer::start(), &["eiger"], 4000, |settings| {
        let ingester = &mut settings.ingesters[0];
        ingester.memory_limit = 1 << 20;
        ingester.worker_timeout = Duration::from_millis(500);
    });
    let url = stage.settings.ingesters[0].url();
    let stopped = Listener::connect("stopped", &url, folder.path());
    let is_connected =
        |report: &framegate::Report| report.workers.iter().any(|one| one.name.as_str() == "stopped" && one.connected);
    stage.wait_report("the worker", is_connected);
    stopped.pause();
    stage.scan(&["eiger"]);
    let to_it: &[(&str, &[&str])] = &[("eiger", &["stopped"])];
    stage.controller.assign(&vec![to_it; 4002]);
    let evicted = stage.wait_report("the eviction", |report| report.counters["workers_evicted"] == 1);
    assert!(evicted.streams.values().all(|stream| stream.dropped == 0));
    stage.finish();
    stopped.resume();
    stage.wait_report("its ping", |report| report.counters["workers_evicted"] == 1 && is_connected(report));
    let of_old = stopped.numbers().len();
    stage.scan(&["eiger"]);
    stage.next_runs();
    stage.controller.assign(&vec![to_it; 4002]);
    let last = || stopped.numbers().last() == Some(&4001);
    wait_for("the next scan", LIMIT, || last().then_some(()));
    let got = stopped.numbers();
    let begins = got.iter().rposition(|number| *number == 0).unwrap();
    assert!(begins >= of_old.min(1) && got[begins..] == (0..4002).collect::<Vec<_>>()[..], "{begins}");
    stage.finish();
}

#[test]
fn a_new_scan_gets_nothing_of_what_waited_in_the_old() {
    const OLD: u32 = 8000;
    let mut stage = Stage::with(RedisServer::start(), &["eiger"], OLD, |_| ());
    let worker = Worker::stalled("w1", &stage.settings.ingesters[0].url());
    let uuid = worker.service_uuid().to_string();
    stage.wait_state("the worker", |state| state["connected_workers"].get(&uuid).is_some());
    stage.scan(&["eiger"]);
    let to_it: &[(&str, &[&str])] = &[("eiger", &["w1"])];
    stage.controller.assign(&vec![to_it; OLD as usize + 2]);
    let old = stage.wait_report("undelivered messages", |report| {
        report.processed_events == u64::from(OLD) + 2 && report.workers[0].waiting > 1000
    });
    let old = (old.workers[0].sent, old.workers[0].waiting);
    stage.scan(&["eiger"]);
    stage.next_runs();
    let report = stage.report();
    let [dropped, begun] =
        ["messages_replaced", "messages_of_last_scan"].map(|what| report.counters.get(what).copied().unwrap_or(0));
    // The network has taken few messages meanwhile, because the worker does not read.
    assert!(dropped <= old.1 && dropped + 100 > old.1, "{dropped} of {} are counted", old.1);
    // A message that was partly sent is completed.
    assert!(begun <= 1, "{begun} were begun");
    stage.controller.assign(&vec![to_it; OLD as usize + 2]);
    worker.read(true);
    let mut of_old = 0;
    loop {
        let message = worker.next();
        let pixels = message.frames.get(1);
        if message.number() == 0 && of_old > 0 {
            break;
        }
        let number = message.number();
        assert!(number == of_old && pixels.is_none_or(|pixels| *pixels == image(0, number as u32 - 1, IMAGE_BYTES)));
        of_old += 1;
    }
    // All messages that the network had, and none that waited.
    assert_eq!(of_old, u64::from(OLD) + 2 - dropped);
    (1..u64::from(OLD) + 2).for_each(|number| check(&worker.next(), "eiger", number, 1, OLD));
    stage.finish();
}

#[test]
fn a_worker_that_comes_back_in_the_next_scan_gets_nothing_of_the_old() {
    const OLD: u32 = 8000;
    let mut stage = Stage::with(RedisServer::start(), &["eiger"], OLD, |_| ());
    let stalled = Worker::stalled("w1", &stage.settings.ingesters[0].url());
    let uuid = stalled.service_uuid().to_string();
    stage.wait_state("the worker", |state| state["connected_workers"].get(&uuid).is_some());
    stage.scan(&["eiger"]);
    let to_it: &[(&str, &[&str])] = &[("eiger", &["w1"])];
    stage.controller.assign(&vec![to_it; OLD as usize + 2]);
    stage.wait_report("a message that is partly sent", |report| {
        report.processed_events == u64::from(OLD) + 2 && report.workers[0].waiting > 1000 && report.workers[0].begun > 0
    });
    stage.scan(&["eiger"]);
    let before = stage.report();
    assert_eq!((before.workers[0].waiting, before.counters["messages_of_last_scan"]), (1, 1));
    drop(stalled);
    let worker = stage.worker("w1");
    let replaced = before.counters["messages_replaced"] + 1;
    stage.wait_report("the count", |report| report.counters["messages_replaced"] == replaced);
    stage.next_runs();
    stage.controller.assign(&vec![to_it; OLD as usize + 2]);
    (0..u64::from(OLD) + 2).for_each(|number| check(&worker.next(), "eiger", number, 1, OLD));
    stage.finish();
}
