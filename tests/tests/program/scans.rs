//! Scans that the program begins, assigns and finishes, with workers at the port and inside.

use std::time::Duration;

use framegate::{
    Assignment, Host, ScanError, SourceState,
    settings::{Control, Standalone},
};
use framegate_tests::worker::Worker;
use serde_json::json;

use super::{LIMIT, builder, host, number_in, settings, stream, worker};

/// The address of the only ingester.
fn url(host: &Host) -> String {
    host.urls().into_values().next().unwrap()
}

#[test]
fn events_of_a_scan_go_to_workers_in_turn_and_all_are_counted() {
    let host = host(&[("a", 10), ("b", 10)]);
    let workers = ["w1", "w2"].map(|name| Worker::connect(name, &url(&host)));
    let mut scan = host.scan().in_turn().min_workers(2).begin().unwrap();
    scan.wait_ended(LIMIT).unwrap();
    let outcome = scan.finish(LIMIT).unwrap();
    assert_eq!(outcome.scan, scan.id());
    for name in ["a", "b"] {
        let counts = &outcome.streams[&stream(name)];
        assert_eq!((counts.read, counts.forwarded, counts.source), (10, 10, SourceState::Ended), "{name}");
    }
    let mut numbers: Vec<_> = workers.iter().flat_map(|worker| (0..5).map(|_| worker.next().number())).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
    host.shutdown();
}

#[test]
fn every_event_of_a_scan_goes_to_all_and_the_next_scan_has_other_streams() {
    let host = host(&[("a", 3), ("b", 2)]);
    let workers = ["w1", "w2"].map(|name| Worker::connect(name, &url(&host)));
    for (streams, count) in [(["a"], 3), (["b"], 2)] {
        let mut scan = host.scan().streams(streams.map(stream)).to_all().min_workers(2).begin().unwrap();
        scan.wait_ended(LIMIT).unwrap();
        let outcome = scan.finish(LIMIT).unwrap();
        assert_eq!(outcome.streams.keys().cloned().collect::<Vec<_>>(), streams.map(stream));
        for worker in &workers {
            for number in 0..count {
                let message = worker.next();
                assert_eq!((message.number(), number_in(&message.stream(streams[0]).unwrap()[0])), (number, number));
            }
        }
    }
}

#[test]
fn assigned_events_go_where_the_program_says_whatever_the_ingester() {
    let own = builder(settings(&[&[("a", json!({ "events": 100 }))], &[("b", json!({ "events": 100 }))]]));
    let host = own.start().unwrap();
    let urls: Vec<_> = host.urls().into_values().collect();
    let at = [Worker::connect("w1", &urls[0]), Worker::connect("w2", &urls[1])];
    let (a, b, w1, w2) = (stream("a"), stream("b"), worker("w1"), worker("w2"));
    let mut scan = host.scan().assigned().begin().unwrap();
    // Event 0 has stream a, event 1 stream b, event 2 both, and so on; b's frames of even events are read and discarded.
    let event = |number: u64| match number % 3 {
        0 => Assignment::new(number).stream(&a, [&w1]),
        1 => Assignment::new(number).stream(&b, [&w2]),
        _ => Assignment::new(number).stream(&a, [&w1]).stream(&b, (number % 2 == 1).then_some(&w2)),
    };
    for first in [0, 60] {
        scan.assign((first..first + 60).map(event), LIMIT).unwrap();
        assert_eq!(scan.next_event(), first + 60);
    }
    scan.wait_delivered(LIMIT).unwrap();
    for (name, own, worker) in [("a", [0, 2], &at[0]), ("b", [1, 2], &at[1])] {
        let numbers = (0..120).filter(|number| own.contains(&(number % 3)));
        // The k-th event of a stream belongs to the k-th number that names it.
        for (kth, number) in numbers.enumerate().filter(|(_, number)| name == "a" || number % 3 == 1 || number % 2 == 1)
        {
            let message = worker.next();
            assert_eq!(message.number(), number, "{name}");
            assert_eq!(number_in(&message.stream(name).unwrap()[0]), kth as u64, "{name}: event {number}");
        }
    }
    let outcome = scan.finish(LIMIT).unwrap();
    let counts = ["a", "b"].map(|name| {
        let counts = &outcome.streams[&stream(name)];
        [counts.read, counts.forwarded, counts.discarded]
    });
    assert_eq!(counts, [[100, 80, 20], [100, 60, 40]]);
}

#[test]
fn what_is_wrong_in_assignments_is_refused_and_nothing_of_it_is_taken() {
    let host = host(&[("a", 3), ("b", 3)]);
    let (a, b, w) = (stream("a"), stream("b"), worker("w"));
    let mut scan = host.scan().streams([a.clone()]).assigned().begin().unwrap();
    let event = |number| Assignment::new(number).stream(&a, [&w]);
    let mut refused = |events: Vec<Assignment>| scan.assign(events, LIMIT).unwrap_err();
    let late = ScanError::OutOfOrder { expected: 0, given: 1 };
    assert_eq!(refused(vec![event(1)]), late);
    assert_eq!(late.to_string(), "expected event 0, not 1: every event is assigned once, in order, beginning with 0");
    assert_eq!(refused(vec![event(0), event(0)]), ScanError::OutOfOrder { expected: 1, given: 0 });
    assert_eq!(refused(vec![event(0), event(2)]), ScanError::OutOfOrder { expected: 1, given: 2 });
    let twice = event(0).stream(&a, [&w]);
    assert_eq!(refused(vec![twice]), ScanError::StreamTwice { event: 0, stream: a.clone() });
    let other = Assignment::new(0).stream(&b, [&w]);
    assert_eq!(refused(vec![other]), ScanError::TakesNoPart { event: 0, stream: b.clone() });
    assert_eq!(scan.next_event(), 0);

    // All three are as if they had not been there.
    let port = Worker::connect("w", &url(&host));
    scan.assign((0..3).map(event), LIMIT).unwrap();
    scan.wait_delivered(LIMIT).unwrap();
    assert_eq!([0, 1, 2].map(|_| port.next().number()), [0, 1, 2]);
    assert_eq!(refused_after(&mut scan, event(1)), ScanError::OutOfOrder { expected: 3, given: 1 });
    scan.finish(LIMIT).unwrap();
    assert_eq!(refused_after(&mut scan, event(3)), ScanError::Finishing);
    let counters = &host.reports()[0].counters;
    assert!(counters.iter().all(|(_, count)| *count == 0), "{counters:?}");
}

fn refused_after(scan: &mut framegate::Scan, event: Assignment) -> ScanError {
    scan.assign([event], LIMIT).unwrap_err()
}

#[test]
fn events_for_a_worker_that_never_comes_are_dropped_and_counted() {
    let mut settings = settings(&[&[("a", json!({ "events": 5 }))]]);
    settings.ingesters[0].worker_timeout = Duration::from_millis(300);
    let host = builder(settings).start().unwrap();
    let (a, nobody) = (stream("a"), worker("nobody"));
    let mut scan = host.scan().assigned().begin().unwrap();
    scan.assign((0..5).map(|number| Assignment::new(number).stream(&a, [&nobody])), LIMIT).unwrap();
    scan.wait_ended(LIMIT).unwrap();
    scan.finish(LIMIT).unwrap();
    let report = &host.reports()[0];
    assert_eq!((report.counters["workers_evicted"], report.counters["messages_dropped"]), (1, 5));
}

#[test]
fn a_scan_can_be_begun_only_after_the_last_one_and_a_dropped_one_is_replaced() {
    let host = host(&[("a", 1_000_000)]);
    let first = host.scan().begin().unwrap();
    first.wait_ready(LIMIT).unwrap();
    let error = host.scan().begin().unwrap_err();
    assert_eq!(error, ScanError::Runs { scan: first.id() });
    assert!(error.to_string().contains("finish it first"), "{error}");
    // Without a worker no event is dealt.
    assert_eq!(first.wait_ended(Duration::from_millis(50)), Err(ScanError::TimedOut));
    drop(first);
    let mut second = host.scan().begin().unwrap();
    second.wait_ready(LIMIT).unwrap();
    let outcome = second.finish(LIMIT).unwrap();
    assert_eq!(host.reports()[0].finished, Some(outcome.scan));
    assert_eq!(second.finish(LIMIT).unwrap().scan, outcome.scan, "a finish may be repeated");
    // Its end does not free the place of the next one.
    let third = host.scan().begin().unwrap();
    drop(second);
    assert_eq!(host.scan().begin().unwrap_err(), ScanError::Runs { scan: third.id() });
}

#[test]
fn what_cannot_be_begun_says_why() {
    let known = host(&[("a", 1), ("b", 1)]);
    let error = known.scan().streams([stream("a"), stream("c")]).begin().unwrap_err();
    assert_eq!(error.to_string(), "there is no stream \"c\"\n  streams here: a, b");
    let mut dealt = known.scan().begin().unwrap();
    assert_eq!(dealt.assign([Assignment::new(0)], LIMIT), Err(ScanError::Dealt));

    let mut standalone = settings(&[&[("a", json!({}))]]);
    standalone.control = Control::Standalone(Standalone::default());
    let error = builder(standalone).start().unwrap().scan().begin().unwrap_err();
    assert_eq!(error.to_string(), "scans of this host are begun by standalone\n  set `control` to `Control::Program`");
}

#[test]
fn a_host_that_is_dropped_in_the_middle_of_a_scan_ends_it() {
    let host = host(&[("a", 1_000_000)]);
    let mut scan = host.scan().begin().unwrap();
    scan.wait_ready(LIMIT).unwrap();
    // Others still wait for the scan when the host ends.
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| scan.wait_ended(LIMIT));
        let began = std::time::Instant::now();
        drop(host);
        assert_eq!(waits.join().unwrap(), Err(ScanError::Stopped));
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    });
    assert_eq!(scan.wait_ready(LIMIT), Err(ScanError::Stopped));
    assert_eq!(scan.finish(LIMIT).unwrap_err(), ScanError::Stopped);
    assert_eq!(scan.counts().unwrap_err(), ScanError::Stopped);
}

#[test]
fn scans_follow_each_other_in_two_hosts_of_a_process() {
    let hosts = [host(&[("a", 20)]), host(&[("a", 20)])];
    let workers = hosts.each_ref().map(|host| Worker::connect("w", &url(host)));
    for _ in 0..20 {
        let mut scans = hosts.each_ref().map(|host| host.scan().begin().unwrap());
        for (scan, worker) in scans.iter_mut().zip(&workers) {
            scan.wait_ended(LIMIT).unwrap();
            assert_eq!(scan.finish(LIMIT).unwrap().streams[&stream("a")].forwarded, 20);
            assert!((0..20).all(|number| worker.next().number() == number));
        }
    }
}

#[test]
fn a_scan_works_in_an_async_program() {
    let host = host(&[("a", 5)]);
    let worker = Worker::connect("w", &url(&host));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let counts = runtime.block_on(async {
        let mut scan = host.scan().assigned().begin_async().await.unwrap();
        scan.wait_ready_async().await.unwrap();
        let (a, w) = (stream("a"), super::worker("w"));
        scan.assign_async((0..5).map(|number| Assignment::new(number).stream(&a, [&w]))).await.unwrap();
        scan.wait_delivered_async().await.unwrap();
        scan.wait_ended_async().await.unwrap();
        let outcome = scan.finish_async().await.unwrap();
        host.shutdown_async().await;
        outcome.streams[&a].forwarded
    });
    assert_eq!((counts, (0..5).map(|_| worker.next().number()).sum::<u64>()), (5, 10));
}
