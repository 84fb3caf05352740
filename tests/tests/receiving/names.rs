//! Detectors addressed by name, with a simulated name server.

use std::{
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};

use framegate_tests::{
    detectors::{Attach, Detector, Say},
    host::LIMIT,
    preload::Names,
    process::{free_port, wait_for},
};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::{Beamline, NAME};

const HEADER: &[u8] = br#"{"htype": "header", "filename": "x.h5", "msg_number": 0}"#;

fn by_name(name: &str, port: u16) -> Value {
    json!({ "upstream_url": format!("tcp://{name}:{port}") })
}

/// A PUSH socket at a numeric address.
fn push(address: &str, port: u16) -> zmq::Socket {
    let socket = zmq::Context::new().socket(zmq::PUSH).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_sndtimeo(20_000).unwrap();
    socket.set_ipv6(address.starts_with('[')).unwrap();
    socket.bind(&format!("tcp://{address}:{port}")).unwrap();
    socket
}

#[test]
fn a_name_server_that_does_not_answer_holds_up_no_scan_and_the_detectors_are_found_when_it_does() {
    let files = tempfile::tempdir().unwrap();
    let names = Names::new(files.path());
    let mut detectors = Detector::on_zeromq(Attach::Connect);
    detectors.iter_mut().for_each(Detector::appear);
    let silent: Vec<_> = detectors.iter().map(|detector| (format!("{}.test", detector.name), "silent")).collect();
    let known = |answer: &'static str| -> Vec<(&str, &str)> {
        silent.iter().map(|(name, _)| (name.as_str(), answer)).collect()
    };
    names.set(&known("silent"));
    let port = |detector: &Detector| detector.address().rsplit(':').next().unwrap().parse().unwrap();
    let streams: Vec<_> = detectors
        .iter()
        .map(|detector| (detector.name, detector.name, by_name(&format!("{}.test", detector.name), port(detector))))
        .collect();
    let mut beamline = Beamline::start(&streams, |command| names.give(command));
    for scan in 0..3 {
        let began = Instant::now();
        beamline.begin();
        // A start waits a quarter of a second for an absent detector; the server is silent for a minute.
        assert!(began.elapsed() < Duration::from_secs(5), "scan {scan} begins after {:?}", began.elapsed());
    }
    names.set(&known("127.0.0.1"));
    for detector in &detectors {
        detector.wait_for_source();
        let said = detector.say(Say::Start(1));
        if detector.name != "lecroy" {
            beamline.gets(detector.name, &said);
        }
    }
    // The server becomes silent after the connections are made, and these break: the names are looked up again.
    names.set(&known("silent"));
    detectors.iter_mut().for_each(Detector::vanish);
    wait_for("the connections to break", LIMIT, || {
        let ingester = beamline.host.ingester().ok()?;
        let streams = ingester["streams"].as_object()?;
        streams.values().all(|stream| stream["received"]["disconnects"].as_u64() >= Some(1)).then_some(())
    });
    for scan in 3..6 {
        let began = Instant::now();
        beamline.begin();
        assert!(began.elapsed() < Duration::from_secs(5), "scan {scan} begins after {:?}", began.elapsed());
    }
    assert!(beamline.host.log().contains("the name server has not answered yet"), "{}", beamline.host.log());
    names.set(&[]);
    beamline.ends();
}

#[test]
fn a_name_that_nobody_knows_is_one_warning_in_a_scan_and_the_detector_is_found_when_it_is_known() {
    let files = tempfile::tempdir().unwrap();
    let names = Names::new(files.path());
    let (port, nobody) = (free_port(), free_port());
    let detector = push("127.0.0.1", port);
    let streams =
        [("camera", "stins", by_name("camera.test", port)), ("panda", "pcap-raw", by_name("panda.test", nobody))];
    let mut beamline = Beamline::start(&streams, |command| names.give(command));
    for scan in 1..=2 {
        beamline.begin();
        for name in ["camera.test", "panda.test"] {
            wait_for("the warning", LIMIT, || (beamline.warnings(name).len() == scan).then_some(()));
        }
    }
    assert!(beamline.warnings("camera.test")[0].contains("is not known"), "{}", beamline.host.log());
    names.set(&[("camera.test", "127.0.0.1")]);
    detector.send(HEADER, 0).unwrap();
    beamline.gets("camera", &vec![HEADER.to_vec()]);
    // It was looked up all the time.
    assert_eq!(beamline.warnings("camera.test").len(), 2, "{}", beamline.host.log());
    beamline.ends();
}

#[test]
fn a_detector_whose_name_moves_away_from_a_machine_that_is_off_is_found() {
    let files = tempfile::tempdir().unwrap();
    let names = Names::new(files.path());
    let port = free_port();
    // Like a machine that is off: connection requests get no answer, because the backlog is full.
    let off = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    off.bind(&SocketAddr::from(([127, 0, 0, 2], port)).into()).unwrap();
    off.listen(0).unwrap();
    let waiting = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    waiting.connect(&SocketAddr::from(([127, 0, 0, 2], port)).into()).unwrap();
    names.set(&[("moves.test", "127.0.0.2")]);
    let detector = push("127.0.0.3", port);
    let mut beamline =
        Beamline::start(&[("camera", "stins", by_name("moves.test", port))], |command| names.give(command));
    beamline.begin();
    let address = format!("0200007F:{port:04X} 02");
    wait_for("a try to connect", LIMIT, || {
        fs::read_to_string("/proc/net/tcp").unwrap().contains(&address).then_some(())
    });
    names.set(&[("moves.test", "127.0.0.3")]);
    detector.send(HEADER, 0).unwrap();
    beamline.gets("camera", &vec![HEADER.to_vec()]);
    beamline.ends();
}

#[test]
fn a_name_that_has_an_address_of_ipv6_only_works_like_any_other_and_may_change() {
    let files = tempfile::tempdir().unwrap();
    let names = Names::new(files.path());
    names.set(&[("six.test", "::1")]);
    let port = free_port();
    let six = push("[::1]", port);
    let mut beamline =
        Beamline::start(&[("camera", "stins", by_name("six.test", port))], |command| names.give(command));
    beamline.begin();
    six.send(HEADER, 0).unwrap();
    beamline.gets("camera", &vec![HEADER.to_vec()]);
    beamline.controller.finish_and_wait(NAME);
    // To IPv4, within a scan.
    drop(six);
    beamline.begin();
    names.set(&[("six.test", "127.0.0.1")]);
    let four = push("127.0.0.1", port);
    four.send(HEADER, 0).unwrap();
    beamline.gets("camera", &vec![HEADER.to_vec()]);
    beamline.ends();
}
