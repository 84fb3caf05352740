//! A detector may send as soon as an ingester publishes the new uuid: nothing is lost. And a stream that is not active
//! in a scan does not connect to its detector.
//!
//! ```text
//!     FRAMEGATE_READY=1000 cargo test -p framegate-tests --test ready
//! ```
//!
//! runs 1000 scans instead of 100.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    env,
    io::{ErrorKind, Read as _},
    net::{TcpListener, TcpStream},
    time::Instant,
};

use framegate::settings::Settings;
use framegate_tests::{
    controller::LIMIT,
    detectors::{Attach, Detector, Say},
    framegate::plugin,
    process::wait_for,
    protocols,
    redis::RedisServer,
    stage::Stage,
};
use serde_json::{Value, json};

#[test]
fn what_a_detector_sends_when_the_uuid_is_published_is_not_lost() {
    all_scans_come_whole("connect", Detector::all());
}

#[test]
fn what_a_detector_that_connects_to_us_sends_when_the_uuid_is_published_is_not_lost() {
    all_scans_come_whole("bind", Detector::on_zeromq(Attach::Bind));
}

fn all_scans_come_whole(attach: &str, mut detectors: Vec<Detector>) {
    let scans: u32 = env::var("FRAMEGATE_READY").map_or(100, |text| text.parse().expect("a number of scans"));
    detectors.iter_mut().for_each(Detector::appear);
    // Tests run at the same time, and streams with the same name would share their loaded plugins.
    let names: Vec<_> = detectors.iter().map(|detector| format!("{attach}-{}", detector.name)).collect();
    let streams: Vec<_> = names.iter().map(String::as_str).collect();
    let mut stage = Stage::with(RedisServer::start(), &streams, 0, |settings| {
        for (name, detector) in streams.iter().zip(&detectors) {
            let mut own = detector.settings();
            // On a machine that is far too busy, a handshake takes longer than the 250 ms of the default: then the scan
            // begins without this detector. A subscription may take longer than 10 ms.
            if own["upstream_url"].is_string() {
                own["connect_wait"] = json!("60 s");
            }
            if protocols::ALL.iter().any(|protocol| protocol.name == detector.name) {
                own["subscribe_settle"] = json!("100 ms");
            }
            use_plugin(settings, name, detector.name, own);
        }
    });
    let name = stage.name.clone();
    let worker = stage.worker("w1");
    let to_w1: Vec<(&str, &[&str])> = streams.iter().map(|stream| (*stream, &["w1"][..])).collect();

    for scan in 0..scans {
        let uuid = json!(stage.controller.start_scan(&streams));
        let began = Instant::now();
        // Without a delay: polls without a pause.
        while stage.controller.state(&name).is_none_or(|state| state["mapping_uuid"] != uuid) {
            assert!(began.elapsed() < LIMIT, "scan {scan} does not begin");
        }
        // A start, data and an end: three events.
        let run = [Say::Start(scan), Say::Data(0), Say::End(scan)];
        let said: Vec<_> = detectors.iter().map(|detector| run.map(|what| detector.say(what))).collect();
        stage.controller.assign(&[to_w1.as_slice(); 3]);
        for number in 0..3 {
            let message = worker.within(LIMIT).unwrap_or_else(|| {
                panic!("scan {scan}: event {number} does not come; {:#?}", stage.report());
            });
            for (stream, said) in streams.iter().zip(&said) {
                let got = message.stream(stream).unwrap();
                assert!(got == said[number], "scan {scan}, event {number} of {stream}: {got:?}");
            }
        }
        stage.finish();
    }
}

#[test]
fn a_stream_that_is_not_active_has_no_connection_to_its_detector() {
    // Other stream names than in the tests above, whose hosts may load the same plugins at the same time.
    let plugins = protocols::ALL.iter().map(|protocol| protocol.name).chain(["pcap-raw"]);
    let names: Vec<_> = plugins.map(|from| (from, format!("own-{from}"))).collect();
    let detectors: Vec<_> =
        names.iter().map(|(_, name)| (name.as_str(), TcpListener::bind("127.0.0.1:0").unwrap())).collect();
    let streams: Vec<_> = names.iter().map(|(_, name)| name.as_str()).chain(["played"]).collect();
    let mut stage = Stage::with(RedisServer::start(), &streams, 0, |settings| {
        for ((from, _), (name, listener)) in names.iter().zip(&detectors) {
            listener.set_nonblocking(true).unwrap();
            let url = format!("tcp://{}", listener.local_addr().unwrap());
            use_plugin(settings, name, from, json!({ "upstream_url": url }));
        }
    });
    let mut whole_scan = |streams: &[&str]| {
        stage.scan(streams);
        stage.finish();
    };
    let assert_alone = || {
        for (name, detector) in &detectors {
            let answer = detector.accept().map_err(|error| error.kind());
            assert!(matches!(answer, Err(ErrorKind::WouldBlock)), "{name}: {answer:?}");
        }
    };

    whole_scan(&["played"]);
    whole_scan(&["played"]);
    assert_alone();

    whole_scan(&streams);
    let connections: Vec<_> = detectors
        .iter()
        .map(|(name, detector)| {
            let what = format!("the connection of {name}");
            (*name, wait_for(&what, LIMIT, || detector.accept().ok().map(|(connection, _)| connection)))
        })
        .collect();

    whole_scan(&["played"]);
    // All connections are closed, including those that were retried because the detector did not answer.
    let made_anew = detectors.iter().flat_map(|(name, detector)| {
        let pending = std::iter::from_fn(|| detector.accept().ok());
        pending.map(|(connection, _)| (*name, connection))
    });
    connections.into_iter().chain(made_anew).for_each(|(name, connection)| read_to_the_end(name, connection));
    whole_scan(&["played"]);
    assert_alone();
}

fn read_to_the_end(name: &str, mut connection: TcpStream) {
    connection.set_nonblocking(false).unwrap();
    connection.set_read_timeout(Some(LIMIT)).unwrap();
    match connection.read_to_end(&mut Vec::new()) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the connection of {name} is not closed: {error}"),
    }
}

/// Feeds a stream from a plugin's file.
fn use_plugin(settings: &mut Settings, name: &str, from: &str, own: Value) {
    let mut streams = settings.ingesters[0].streams.iter_mut();
    let stream = streams.find(|stream| stream.name.as_str() == name).unwrap();
    stream.source = plugin(from).to_str().unwrap().to_owned();
    stream.settings = own;
}
