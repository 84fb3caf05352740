//! Waiting for a host, and watching it.

use std::{thread, time::Duration};

use framegate::{
    ControlState, Host, HostEvent, IngesterState, SwapSpec, WaitError,
    settings::{Control, RedisSettings, Standalone},
};
use framegate_tests::redis::RedisServer;
use serde_json::json;

use super::{LIMIT, builder, host, settings, stream, worker};

fn standalone(scans: u64) -> Host {
    let mut settings = settings(&[&[("a", json!({ "events": 3 }))]]);
    let mut standalone = Standalone::default();
    standalone.scans = Some(scans);
    settings.control = Control::Standalone(standalone);
    builder(settings).start().unwrap()
}

#[test]
fn a_host_that_is_done_ends_every_wait() {
    let host = standalone(2);
    assert_eq!(host.wait_timeout(Duration::from_millis(50)), Ok(false), "nobody takes its events");
    let mut inside = host.worker(worker("w")).queue().unwrap();
    let reader = thread::spawn(move || {
        let mut events = 0;
        while inside.wait(LIMIT).is_ok() {
            events += 1;
        }
        events
    });
    host.wait().unwrap();
    assert_eq!(host.wait_timeout(Duration::ZERO), Ok(true));
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(host.wait_async()).unwrap();
    host.shutdown();
    assert_eq!(reader.join().unwrap(), 6);
}

#[test]
fn each_event_is_told_in_its_order() {
    let host = host(&[("a", 3)]);
    let (mut events, mut missed) = (host.events(), host.events());
    let mut inside = host.worker(worker("w")).queue().unwrap();
    let (ingester, w) = (host.reports()[0].name.clone(), worker("w"));
    assert_eq!(events.wait(LIMIT), Ok(HostEvent::WorkerCame { ingester: ingester.clone(), worker: w.clone() }));
    let mut ids = Vec::new();
    for _ in 0..2 {
        let mut scan = host.scan().begin().unwrap();
        (0..3).for_each(|_| _ = inside.wait(LIMIT).unwrap());
        scan.wait_ended(LIMIT).unwrap();
        scan.finish(LIMIT).unwrap();
        ids.push(scan.id());
    }
    for scan in ids {
        assert_eq!(events.wait(LIMIT), Ok(HostEvent::ScanReady { ingester: ingester.clone(), scan }));
        assert_eq!(events.wait(LIMIT), Ok(HostEvent::ScanFinished { ingester: ingester.clone(), scan }));
    }
    drop(inside);
    assert_eq!(events.wait(LIMIT), Ok(HostEvent::WorkerLeft { ingester: ingester.clone(), worker: w }));
    let receipt = host.swap("a", &SwapSpec::new("played")).unwrap();
    let scan = host.scan().begin().unwrap();
    let (mut swapped, mut ready) = (None, None);
    while swapped.is_none() || ready.is_none() {
        match events.wait(LIMIT).unwrap() {
            HostEvent::SwapEffective { stream, swap, scan } => swapped = Some((stream, swap, scan)),
            HostEvent::ScanReady { scan, .. } => ready = Some(scan),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((swapped.unwrap(), ready.unwrap()), ((stream("a"), receipt.number, scan.id()), scan.id()));
    assert_eq!(events.wait(Duration::from_millis(10)), Err(WaitError::TimedOut));
    host.shutdown();
    while events.wait(LIMIT).is_ok() {}
    assert_eq!(events.wait(LIMIT), Err(WaitError::Stopped));
    assert!(matches!(missed.wait(LIMIT), Ok(HostEvent::WorkerCame { .. })), "a subscription keeps its own place");
}

#[test]
fn a_source_that_fails_is_told_with_its_scan() {
    let host = builder(settings(&[&[("ill", json!({ "fails": true }))]])).start().unwrap();
    let mut events = host.events();
    let mut scan = host.scan().begin().unwrap();
    let failed = events.wait(LIMIT).unwrap();
    let HostEvent::SourceFailed { stream: failed, scan: of, why, .. } = failed else { panic!("{failed:?}") };
    assert_eq!((failed, of), (stream("ill"), scan.id()));
    assert!(why.contains("it is made to fail"), "{why}");
    scan.finish(LIMIT).unwrap();
}

#[test]
fn who_reads_too_slowly_is_told_how_much_was_missed() {
    let host = host(&[("a", 0)]);
    let mut events = host.events();
    for _ in 0..600 {
        host.scan().begin().unwrap().finish(LIMIT).unwrap();
    }
    // Ready and finished, 600 times; the last 1,024 are kept.
    assert_eq!(events.wait(LIMIT), Ok(HostEvent::Missed { count: 2 * 600 - 1024 }));
    assert!((0..1024).all(|_| !matches!(events.wait(LIMIT).unwrap(), HostEvent::Missed { .. })));
}

#[test]
fn a_watch_returns_each_state_and_the_same_as_metrics_and_status() {
    let host = host(&[("a", 3)]);
    let mut watch = host.watch();
    let mut inside = host.worker(worker("w")).queue().unwrap();
    let mut scan = host.scan().begin().unwrap();
    let reader = thread::spawn(move || while inside.wait(LIMIT).is_ok() {});
    scan.wait_ended(LIMIT).unwrap();
    scan.finish(LIMIT).unwrap();
    loop {
        let status = watch.wait(LIMIT).unwrap();
        if status.ingesters[0].state == IngesterState::Finished {
            break;
        }
    }
    let status = host.status();
    assert_eq!(status.ingesters[0].streams[&stream("a")].forwarded, 3);
    assert_eq!((status.faults.len(), status.admin, host.admin()), (0, None, None));
    let metrics = host.metrics();
    assert!(metrics.contains("framegate_stream_events_total{"), "{metrics}");
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
    host.shutdown();
    reader.join().unwrap();
    while watch.wait(LIMIT).is_ok() {}
    assert_eq!(watch.wait(LIMIT).unwrap_err(), WaitError::Stopped);
}

#[test]
fn a_port_that_the_system_chose_is_told() {
    let mut settings = settings(&[&[("a", json!({}))], &[("b", json!({}))]]);
    settings.admin = Some(([127, 0, 0, 1], 0).into());
    let host = builder(settings).start().unwrap();
    let urls = host.urls();
    let ports: std::collections::BTreeSet<_> = urls.values().map(|url| url.rsplit(':').next().unwrap()).collect();
    assert!(ports.len() == 2 && !ports.contains("0"), "{urls:?}");
    assert_eq!(
        host.reports().into_iter().map(|report| report.url).collect::<Vec<_>>(),
        urls.into_values().collect::<Vec<_>>()
    );
    let admin = host.admin().unwrap();
    let status = ureq::get(&format!("http://{admin}/status")).call().unwrap();
    assert_eq!(status.status(), 200);
}

#[test]
fn the_loss_of_redis_is_told_and_its_return() {
    let mut redis = RedisServer::start();
    let mut settings = settings(&[&[("a", json!({}))]]);
    settings.control = Control::Redis(RedisSettings::new(&redis.url()));
    let host = builder(settings).start().unwrap();
    let (mut events, mut watch) = (host.events(), host.watch());
    while host.control_report().state != ControlState::Up {
        watch.wait(LIMIT).unwrap();
    }
    redis.kill();
    let HostEvent::RedisLost { why } = events.wait(LIMIT).unwrap() else { panic!("another event") };
    assert!(!why.is_empty());
    redis.launch();
    assert_eq!(events.wait(LIMIT), Ok(HostEvent::RedisBack));
}
