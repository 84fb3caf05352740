//! A stream without a detector: dranspose's example of a software-triggered ingester, a Python subclass, replaced by
//! two streams in the configuration of one ingester. The scan is from its `tests/test_custom_ingester.py`.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

use framegate::{
    IngesterState,
    names::{IngesterName, StreamName},
    settings::{IngesterSettings, StreamSettings},
};
use framegate_tests::{
    controller::LIMIT,
    framegate::plugin,
    process::{free_port, wait_for},
    protocols,
    python::suite_file,
    redis::RedisServer,
    stage::Stage,
};
use serde_json::{Value, json};

/// Number of events in the capture, between its start and its end.
const TRIGGERS: usize = 20;

#[test]
fn a_configuration_of_two_streams_does_the_job_of_the_subclass_in_python() {
    let contrast = protocols::ALL.iter().find(|protocol| protocol.name == "contrast").unwrap().socket();
    contrast.bind("tcp://127.0.0.1:*").unwrap();
    let contrast_url = contrast.get_last_endpoint().unwrap().unwrap();
    let panda = TcpListener::bind("127.0.0.1:0").unwrap();
    let panda_url = format!("tcp://{}", panda.local_addr().unwrap());

    let mut stage = Stage::with(RedisServer::start(), &["pcap", "dummy"], 0, |settings| {
        settings.ingesters[0].streams = vec![
            stream("pcap", "pcap-raw", json!({ "upstream_url": panda_url })),
            stream("dummy", "on-demand-example", json!({})),
        ];
        let other = vec![stream("contrast", "contrast", json!({ "upstream_url": contrast_url }))];
        let name = IngesterName::new("second").unwrap();
        settings.ingesters.push(IngesterSettings::new(name, "127.0.0.1", free_port(), other));
    });
    let (worker, of_contrast) = (stage.worker("w1"), stage.worker_of(1, "w1"));

    let server = thread::spawn(move || {
        let (mut connection, _) = panda.accept().unwrap();
        connection.read_exact(&mut [0]).unwrap();
        connection.write_all(b"OK\n").unwrap();
        connection
    });
    stage.scan(&["contrast", "pcap", "dummy"]);
    stage.controller.wait_ready("second");
    let mut panda = server.join().unwrap();

    protocols::wait_for_subscription(&contrast).unwrap();
    let capture = messages_of_contrast();
    capture.iter().for_each(|message| contrast.send(&message[..], 0).unwrap());
    let lines = (0..TRIGGERS).map(|line| format!(" {line} 0.5\n"));
    let sent: Vec<_> =
        ["arm_time: now\n\n".to_owned()].into_iter().chain(lines).chain(["END 20 Ok\n".to_owned()]).collect();
    panda.write_all(sent.concat().as_bytes()).unwrap();

    let all: &[(&str, &[&str])] = &[("contrast", &["w1"]), ("pcap", &["w1"]), ("dummy", &["w1"])];
    stage.controller.assign(&[all; TRIGGERS + 2]);
    for (number, line) in sent.iter().enumerate() {
        let message = worker.next();
        assert_eq!(message.number(), number as u64);
        assert_eq!(message.stream("pcap").unwrap(), [line.as_bytes()]);
        // As `software_trigger` in the subclass yields it.
        assert_eq!(message.header()["streams"]["dummy"], json!({"typ": "JSON", "length": 1}));
        assert_eq!(message.stream("dummy").unwrap(), [br#"{"temperature": 315.15}"#]);
        let message = of_contrast.next();
        assert_eq!(
            (message.number(), message.header()["streams"]["contrast"]["typ"].as_str()),
            (number as u64, Some("contrast"))
        );
    }
    stage.finish();
    stage.controller.wait_notice("second");
    assert_eq!(stage.report().processed_events, (TRIGGERS + 2) as u64);
}

#[test]
fn a_finish_with_a_backlog_delivers_every_event_whose_detector_has_given_its_part() {
    const EVENTS: usize = 100;
    let folder = tempfile::tempdir().unwrap();
    let answers = folder.path().join("answers");
    let mut stage = Stage::with(RedisServer::start(), &["played"], 0, |settings| {
        let linked =
            |name: &str, source: &str, settings| StreamSettings::new(StreamName::new(name).unwrap(), source, settings);
        settings.ingesters[0].streams = vec![
            linked("asked", "asked", json!({"answers_when": answers})),
            linked("played", "played", json!({"events": EVENTS})),
        ];
    });
    let worker = stage.worker("w1");
    stage.scan(&["asked", "played"]);
    let both: &[(&str, &[&str])] = &[("asked", &["w1"]), ("played", &["w1"])];
    stage.controller.assign(&[both; EVENTS]);
    // All of the detector's events have arrived, and wait for the other source, which was asked for the first event.
    stage.wait_report("the events", |report| {
        report.assignments_waiting == EVENTS as u64 && report.streams["played"].read == EVENTS as u64
    });
    stage.controller.finish();
    stage.wait_report("the finish", |report| report.state != IngesterState::Running);
    fs::write(&answers, "").unwrap();
    let name = stage.name.clone();
    stage.controller.wait_notice(&name);
    let report = stage.report();
    let discarded = report.streams["played"].discarded;
    assert_eq!((report.processed_events, discarded), (EVENTS as u64, 0), "{:?}", report.counters);
    for number in 0..EVENTS as u64 {
        let message = worker.next();
        assert_eq!(message.number(), number);
        for stream in ["asked", "played"] {
            assert_eq!(message.stream(stream).unwrap()[0][..8], number.to_le_bytes(), "{stream}");
        }
    }
}

#[test]
fn a_stop_with_a_backlog_delivers_every_event_whose_detector_has_given_its_part() {
    const EVENTS: usize = 100;
    let folder = tempfile::tempdir().unwrap();
    let answers = folder.path().join("answers");
    let mut stage = Stage::with(RedisServer::start(), &["asked-at-stop", "played-at-stop"], 0, |settings| {
        let linked =
            |name: &str, source: &str, settings| StreamSettings::new(StreamName::new(name).unwrap(), source, settings);
        settings.shutdown_grace = LIMIT;
        settings.ingesters[0].streams = vec![
            linked("asked-at-stop", "asked", json!({"answers_when": answers})),
            linked("played-at-stop", "played", json!({"events": EVENTS})),
        ];
    });
    let worker = stage.worker("w1");
    stage.scan(&["asked-at-stop", "played-at-stop"]);
    let both: &[(&str, &[&str])] = &[("asked-at-stop", &["w1"]), ("played-at-stop", &["w1"])];
    stage.controller.assign(&[both; EVENTS]);
    stage.wait_report("the events", |report| {
        report.assignments_waiting == EVENTS as u64 && report.streams["played-at-stop"].read == EVENTS as u64
    });
    let host = stage.host.take().unwrap();
    let stopping = thread::spawn(move || host.shutdown());
    // The stop has come when the other source has ended.
    let reads = |task: fs::DirEntry| {
        fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.starts_with("read played-at-"))
    };
    let goes_on = || fs::read_dir("/proc/self/task").unwrap().any(|task| reads(task.unwrap()));
    wait_for("the stop", LIMIT, || (!goes_on()).then_some(()));
    fs::write(&answers, "").unwrap();
    (0..EVENTS as u64).for_each(|number| assert_eq!(worker.next().number(), number));
    stopping.join().unwrap();
}

fn messages_of_contrast() -> Vec<Vec<u8>> {
    let bytes = fs::read(suite_file("tests/data/contrast-dump.cbors")).unwrap();
    let mut rest = bytes.as_slice();
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let parts: ciborium::Value = ciborium::from_reader(&mut rest).unwrap();
        messages.push(parts.into_array().unwrap().remove(0).into_bytes().unwrap());
    }
    messages
}

fn stream(name: &str, source: &str, settings: Value) -> StreamSettings {
    StreamSettings::new(StreamName::new(name).unwrap(), plugin(source).to_str().unwrap(), settings)
}
