//! Workers inside the program: they get what a worker at the port gets, without a socket, and are treated like one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use framegate::{Assignment, Host, HostEvent, WaitError, WorkerError, settings::AllowedWorkers};
use framegate_tests::{process::wait_for, worker::Worker};
use serde_json::json;

use super::{LIMIT, builder, host, number_in, settings, stream, worker};

#[test]
fn a_worker_inside_gets_the_same_as_one_at_the_port() {
    let host = host(&[("a", 50), ("b", 50)]);
    let url = host.urls().into_values().next().unwrap();
    let at_the_port = Worker::connect("w1", &url);
    let mut inside = host.worker(worker("w2")).queue().unwrap();
    let mut scan = host.scan().to_all().min_workers(2).begin().unwrap();
    for number in 0..50 {
        let (message, event) = (at_the_port.next(), inside.wait(LIMIT).unwrap());
        assert_eq!((message.number(), event.number(), event.scan()), (number, number, scan.id()));
        assert_eq!(event.ingester().as_str(), "of-a");
        let streams: Vec<_> =
            event.streams().map(|stream| (stream.stream.as_str(), stream.typ, stream.length)).collect();
        assert_eq!(streams, [("a", "played", 1), ("b", "played", 1)]);
        for name in ["a", "b"] {
            let frames: Vec<_> = event.stream(name).unwrap().frames().map(<[u8]>::to_vec).collect();
            assert_eq!(Some(&frames[..]), message.stream(name), "{name}");
        }
        assert!(event.stream("c").is_none());
    }
    scan.wait_ended(LIMIT).unwrap();
    scan.finish(LIMIT).unwrap();
    assert!(inside.take().is_none());
    host.shutdown();
    assert_eq!(inside.wait(LIMIT).unwrap_err(), WaitError::Stopped);
}

#[test]
fn events_are_assigned_to_workers_inside_and_at_the_port_side_by_side() {
    let host = host(&[("a", 300)]);
    let url = host.urls().into_values().next().unwrap();
    let at_the_port = Worker::connect("port", &url);
    let (sender, inside) = mpsc::channel();
    let each = host.worker(worker("inside"));
    let each = each
        .each(move |event| {
            let frame = event.stream("a").unwrap().frames().next().unwrap();
            sender.send((event.number(), number_in(frame))).unwrap();
        })
        .unwrap();
    let (a, names) = (stream("a"), [worker("port"), worker("inside")]);
    let mut scan = host.scan().assigned().begin().unwrap();
    let event = |number: u64| Assignment::new(number).stream(&a, [&names[usize::from(!number.is_multiple_of(3))]]);
    scan.assign((0..300).map(event), LIMIT).unwrap();
    scan.wait_ended(LIMIT).unwrap();
    for number in 0..300 {
        if number % 3 == 0 {
            assert_eq!(at_the_port.next().number(), number);
        } else {
            assert_eq!(inside.recv_timeout(LIMIT).unwrap(), (number, number));
        }
    }
    scan.finish(LIMIT).unwrap();
    host.shutdown();
    each.wait(LIMIT).unwrap();
    assert!(!each.has_panicked());
}

#[test]
fn a_worker_inside_that_holds_its_events_stops_nobody_until_its_limit_and_then_only_memory_counts() {
    let host = host(&[("a", 2000)]);
    // Each event of 64 bytes is some 200 bytes on the wire.
    let mut inside = host.worker(worker("w")).limit(20_000).queue().unwrap();
    let mut scan = host.scan().begin().unwrap();
    let first = inside.wait(LIMIT).unwrap();
    let waiting = || host.reports()[0].workers.iter().map(|worker| worker.waiting).sum::<u64>();
    wait_for("the limit", LIMIT, || (waiting() > 1000).then_some(()));
    let mut held = vec![first];
    while let Some(event) = inside.take() {
        held.push(event);
    }
    assert!((10..1000).contains(&held.len()), "{}", held.len());
    assert_eq!(inside.wait(Duration::from_millis(50)).unwrap_err(), WaitError::TimedOut);
    drop(held);
    let mut count = 0;
    while count + 1 < 2000 && inside.wait(Duration::from_secs(5)).is_ok() {
        count += 1;
    }
    scan.wait_ended(LIMIT).unwrap();
    scan.finish(LIMIT).unwrap();
    assert_eq!(host.reports()[0].memory_used, 0, "each byte came back");
}

#[test]
fn a_large_event_passes_alone_and_is_not_copied() {
    let host = host(&[("a", 2)]);
    let mut inside = host.worker(worker("w")).limit(1).queue().unwrap();
    let _scan = host.scan().begin().unwrap();
    let first = inside.wait(LIMIT).unwrap();
    assert!(inside.wait(Duration::from_millis(50)).is_err(), "the first is held");
    drop(first);
    assert_eq!(inside.wait(LIMIT).unwrap().number(), 1);
}

/// A host whose memory is full after some events, with short limits.
fn small(events: u64) -> Host {
    let mut settings = settings(&[&[("a", json!({ "events": events }))]]);
    settings.ingesters[0].memory_limit = 200_000;
    settings.ingesters[0].worker_timeout = Duration::from_millis(500);
    builder(settings).start().unwrap()
}

#[test]
fn a_function_that_hangs_is_evicted_and_the_others_get_their_events() {
    let host = small(10_000);
    let mut events = host.events();
    let (ends, hangs) = mpsc::channel::<()>();
    let mut calls = 0;
    let hanging = host.worker(worker("hangs")).limit(1000);
    let hanging = hanging
        .each(move |_| {
            calls += 1;
            if calls == 3 {
                // Until the test ends.
                let _ = hangs.recv();
            }
        })
        .unwrap();
    let count = Arc::new(AtomicU64::new(0));
    let counted = count.clone();
    let well = host.worker(worker("well")).each(move |_| _ = counted.fetch_add(1, Ordering::Relaxed)).unwrap();
    let mut scan = host.scan().to_all().min_workers(2).begin().unwrap();
    scan.wait_ended(LIMIT).unwrap();
    let outcome = scan.finish(LIMIT).unwrap();
    assert_eq!(outcome.streams[&stream("a")].forwarded, 10_000);
    let report = &host.reports()[0];
    assert_eq!(report.counters["workers_evicted"], 1);
    assert!(report.counters["messages_dropped"] > 0);
    let evicted = loop {
        if let HostEvent::WorkerEvicted { worker, why, dropped, .. } = events.wait(LIMIT).unwrap() {
            break (worker, why, dropped > 0);
        }
    };
    assert_eq!(evicted, (worker("hangs"), "it neither pings nor reads, and memory_limit is reached".to_owned(), true));

    // It returns, and is served in the next scan as every worker.
    drop(ends);
    let mut scan = host.scan().to_all().min_workers(2).begin().unwrap();
    scan.wait_ended(LIMIT).unwrap();
    scan.finish(LIMIT).unwrap();
    assert_eq!(host.reports()[0].counters["workers_evicted"], 1);
    host.shutdown();
    hanging.wait(LIMIT).unwrap();
    well.wait(LIMIT).unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 20_000);
}

#[test]
fn a_function_that_panics_is_gone_like_a_process_that_has_ended() {
    let host = small(1000);
    let panics = host.worker(worker("panics"));
    let panics = panics.each(|event| assert!(event.number() < 3, "the panic of the test")).unwrap();
    let mut scan = host.scan().to_all().begin().unwrap();
    panics.wait(LIMIT).unwrap();
    assert!(panics.has_panicked());
    scan.wait_ready(LIMIT).unwrap();
    let mut well = host.worker(worker("well")).queue().unwrap();
    let reader = thread::spawn(move || while well.wait(LIMIT).is_ok() {});
    scan.wait_ended(LIMIT).unwrap();
    scan.finish(LIMIT).unwrap();
    let report = &host.reports()[0];
    assert_eq!(report.counters["workers_evicted"], 1, "{report:?}");
    host.shutdown();
    reader.join().unwrap();
}

#[test]
fn a_function_may_call_the_host() {
    let host = Arc::new(host(&[("a", 100)]));
    let own = Arc::downgrade(&host);
    let (done, asked) = mpsc::channel();
    let each = host.worker(worker("w"));
    let each = each
        .each(move |event| {
            let Some(host) = own.upgrade() else { return };
            assert_eq!(host.reports()[0].ready, Some(event.scan()));
            assert!(host.scan().begin().is_err() && host.metrics().contains("framegate_"));
            assert_eq!(host.worker(worker("w")).queue().unwrap_err(), WorkerError::NameTaken { name: worker("w") });
            done.send(()).unwrap();
        })
        .unwrap();
    let mut scan = host.scan().begin().unwrap();
    scan.wait_ended(LIMIT).unwrap();
    // The scan runs until the function has asked for the last time.
    (0..100).for_each(|_| asked.recv_timeout(LIMIT).unwrap());
    scan.finish(LIMIT).unwrap();
    drop(host);
    each.wait(LIMIT).unwrap();
    assert!(!each.has_panicked());
}

#[test]
fn names_are_checked_and_are_free_again_when_their_worker_is_dropped() {
    let mut settings = settings(&[&[("a", json!({ "events": 1 }))], &[("b", json!({ "events": 1 }))]]);
    settings.ingesters[1].workers = AllowedWorkers::named(["w*"]).unwrap();
    let host = builder(settings).start().unwrap();
    let urls: Vec<_> = host.urls().into_values().collect();
    let error = host.worker(worker("x")).queue().unwrap_err();
    assert_eq!(error, WorkerError::NotAllowed { name: worker("x") });
    let _at_the_port = Worker::connect("w1", &urls[0]);
    let connected = |name: &str| {
        host.reports()
            .iter()
            .any(|report| report.workers.iter().any(|worker| worker.connected && worker.name.as_str() == name))
    };
    wait_for("the worker", LIMIT, || connected("w1").then_some(()));
    assert_eq!(host.worker(worker("w1")).queue().unwrap_err(), WorkerError::NameTaken { name: worker("w1") });

    // A worker at the port with the name of one inside is not served, and takes nothing from it.
    let mut inside = host.worker(worker("w2")).queue().unwrap();
    let rival = Worker::connect("w2", &urls[0]);
    let pings = || host.reports()[0].counters["pings_not_allowed"];
    wait_for("a ping", LIMIT, || (pings() > 0).then_some(()));
    let mut scan = host.scan().streams([stream("a")]).assigned().begin().unwrap();
    scan.assign([Assignment::new(0).stream(&stream("a"), [&worker("w2")])], LIMIT).unwrap();
    assert_eq!(inside.wait(LIMIT).unwrap().number(), 0);
    scan.finish(LIMIT).unwrap();
    assert!(rival.within(Duration::from_millis(50)).is_none());
    drop(inside);
    let again = || host.worker(worker("w2")).queue().ok();
    drop(rival);
    wait_for("the name to be free", LIMIT, again);
    host.shutdown();
}
