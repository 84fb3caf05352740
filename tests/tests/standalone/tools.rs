//! `framegate listen` as a worker and `framegate replay` as a detector, each in a separate process.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use ciborium::Value as Cbor;
use framegate_tests::{
    framegate,
    host::Host,
    process::{Process, free_port},
    standalone::{House, Wish, configuration},
    worker::LIMIT,
};
use serde_json::{Value, json};

/// A dranspose dump from a real beamline, `tests/data/dump_xrd.cbors` in its source distribution: 11 messages.
pub(crate) fn dump() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/stins/fixtures/dump_xrd.cbors")
}

#[test]
fn listen_is_a_worker_that_shows_what_arrives() {
    let mut house = House::new(&Wish::default());
    let mut listen = framegate::command();
    listen.args(["listen", &house.url, "--name", "ear", "--json", "--count", "12"]);
    let mut listen = Process::start("listen", &mut listen, house.folder());
    house.wait_for_worker("ear");
    house.detector.run((0..10).map(|image| vec![image; 1000]));
    assert!(listen.wait(LIMIT).success());
    let output = listen.output();
    let lines: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 13, "{output}");
    for (number, line) in lines[..12].iter().enumerate() {
        assert_eq!(line["event_number"], number, "{line}");
    }
    assert_eq!(lines[5]["streams"], json!({"camera": {"typ": "STINS", "length": 2}}));
    assert!(lines[5]["bytes"].as_u64().unwrap() > 1000);
    let sums = &lines[12];
    assert_eq!((&sums["events"], &sums["missing"], &sums["malformed"]), (&json!(12), &json!(0), &json!(0)), "{sums}");
}

#[test]
fn listen_shows_a_table_to_people() {
    let mut house = House::new(&Wish::default());
    let mut listen = framegate::command();
    listen.args(["listen", &house.url, "--count", "3"]);
    let mut listen = Process::start("listen", &mut listen, house.folder());
    house.host.wait_for("a worker", |ingester| ingester["workers"].as_array().is_some_and(|all| !all.is_empty()));
    house.detector.run([vec![1; 1000]]);
    assert!(listen.wait(LIMIT).success());
    let output = listen.output();
    assert!(output.contains("camera") && output.contains("3 events"), "{output}");
    assert!(!output.contains('\u{1b}'), "no colours, no moving lines without a terminal: {output:?}");
}

/// Replays a file to framegate; returns what a worker got.
fn replayed(file: &Path, flags: &[&str]) -> (Vec<Vec<Vec<u8>>>, String) {
    let folder = tempfile::tempdir().unwrap();
    let (url, upstream) = (format!("tcp://127.0.0.1:{}", free_port()), format!("tcp://127.0.0.1:{}", free_port()));
    let mut host = Host::start(folder.path(), &configuration(&url, &upstream, &Wish::default()));
    let worker = host.worker("w1", &url);
    host.wait_for("scan and worker", |ingester| ingester["state"] == "running" && ingester["workers"] != json!([]));
    let mut replay = framegate::command();
    replay.arg("replay").arg(file).args(["--bind", &upstream]).args(flags);
    let mut replay = Process::start("replay", &mut replay, folder.path());
    let got = (0..11).map(|_| worker.next().frames).collect();
    assert!(replay.wait(LIMIT).success(), "{}", replay.output());
    (got, replay.output())
}

#[test]
fn replay_plays_a_dump_of_dranspose_as_a_detector() {
    let (got, said) = replayed(&dump(), &["--rate", "500"]);
    assert!(got == messages(&dump()), "a frame differs");
    assert!(said.contains("replayed 11 messages"), "{said}");
}

#[test]
fn replay_plays_captured_messages_compressed_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut items = Vec::new();
    for message in messages(&dump()) {
        let parts = message.into_iter().map(Cbor::Bytes).collect();
        ciborium::into_writer(&Cbor::Array(parts), &mut items).unwrap();
    }
    let plain = folder.path().join("messages.cbors");
    fs::write(&plain, &items).unwrap();
    let compressed = folder.path().join("messages.cbors.gz");
    let mut encoder = flate2::write::GzEncoder::new(File::create(&compressed).unwrap(), flate2::Compression::fast());
    encoder.write_all(&items).unwrap();
    encoder.finish().unwrap();
    for file in [plain, compressed] {
        assert!(replayed(&file, &[]).0 == messages(&dump()), "{}: a frame differs", file.display());
    }
}

#[test]
fn replay_publishes_to_every_subscriber() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("tcp://127.0.0.1:{}", free_port());
    let mut replay = framegate::command();
    replay.arg("replay").arg(dump()).args(["--bind", &url, "--socket", "pub"]);
    let mut replay = Process::start("replay", &mut replay, folder.path());
    let subscriber = zmq::Context::new().socket(zmq::SUB).unwrap();
    subscriber.set_rcvtimeo(i32::try_from(LIMIT.as_millis()).unwrap()).unwrap();
    subscriber.set_subscribe(b"").unwrap();
    subscriber.connect(&url).unwrap();
    let got: Vec<_> = (0..11).map(|_| subscriber.recv_multipart(0).unwrap()).collect();
    assert!(got == messages(&dump()), "a frame differs");
    assert!(replay.wait(LIMIT).success());
}

#[test]
fn replay_in_a_loop_goes_on_until_it_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("tcp://127.0.0.1:{}", free_port());
    let mut replay = framegate::command();
    replay.arg("replay").arg(dump()).args(["--bind", &url, "--loop"]);
    let mut replay = Process::start("replay", &mut replay, folder.path());
    let pull = zmq::Context::new().socket(zmq::PULL).unwrap();
    pull.set_rcvtimeo(i32::try_from(LIMIT.as_millis()).unwrap()).unwrap();
    pull.connect(&url).unwrap();
    let got: Vec<_> = (0..100).map(|_| pull.recv_multipart(0).unwrap()).collect();
    assert!(got[11..22] == got[..11]);
    assert!(replay.ended().is_none());
    replay.stop(Duration::from_secs(15));
}

/// The messages of a dump with one stream.
fn messages(file: &Path) -> Vec<Vec<Vec<u8>>> {
    fn inside(value: &Cbor) -> &Cbor {
        if let Cbor::Tag(_, value) = value { inside(value) } else { value }
    }
    let bytes = fs::read(file).unwrap();
    let mut rest = bytes.as_slice();
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let item: Cbor = ciborium::from_reader(&mut rest).unwrap();
        let streams = inside(&inside(&item).as_array().unwrap()[1]).as_map().unwrap();
        let parts = inside(&streams[0].1).as_array().unwrap()[1].as_array().unwrap();
        messages.push(parts.iter().map(|part| part.as_bytes().unwrap().clone()).collect());
    }
    messages
}
