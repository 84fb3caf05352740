//! Plugins that are accepted: found by name and by path, and their events reach a worker.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{thread, time::Duration};

use framegate_stins::simulate::{Detector, Simulation, image};
use framegate_tests::{framegate, host::Host, process::free_port, worker::Worker};

const IMAGES: u32 = 20;
const BYTES: usize = 100_000;

/// Streams a run through the STINS plugin, which `source` names, to a worker.
fn streams_through(source: &str) {
    let folder = tempfile::tempdir().unwrap();
    let simulation = Simulation {
        bind: "tcp://127.0.0.1:*".to_owned(),
        scans: 1,
        frames: IMAGES,
        bytes: BYTES,
        rate: None,
        pause: Duration::ZERO,
    };
    let detector = Detector::bind(simulation).unwrap();
    let url = detector.endpoint().unwrap();
    let detector = thread::spawn(move || detector.stream(|_| true));
    let port = free_port();
    let mut host = Host::start(
        folder.path(),
        &format!(
            "[standalone]\n\
             [[ingester]]\nurl = \"tcp://127.0.0.1:{port}\"\n\
             [[ingester.stream]]\nname = \"slits\"\nsource = \"{source}\"\n\
             [ingester.stream.settings]\nupstream_url = \"{url}\"\n"
        ),
    );
    let worker = Worker::connect("w1", &format!("tcp://127.0.0.1:{port}"));
    let messages = worker.until(|message| message.number() == u64::from(IMAGES) + 1);
    assert_eq!(messages.len(), IMAGES as usize + 2);
    for (frame, message) in (0..).zip(&messages[1..=IMAGES as usize]) {
        assert_eq!(message.header()["streams"]["slits"]["typ"], "STINS");
        assert_eq!(message.stream("slits").unwrap()[1], image(0, frame, BYTES));
    }
    detector.join().unwrap().unwrap();
    assert!(host.log().contains("libframegate_stins.so"), "it says which file feeds the stream: {}", host.log());
    assert!(host.stop(Duration::from_secs(5)).success());
}

#[test]
fn a_plugin_beside_the_executable_is_found_by_its_name() {
    streams_through("stins");
}

#[test]
fn a_plugin_is_loaded_by_its_path() {
    streams_through(framegate::plugin("stins").to_str().unwrap());
}
