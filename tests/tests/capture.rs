//! Captures of the real program: whole while the disk is well, and never in the way when it is not.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};

use ciborium::Value as Cbor;
use framegate_tests::{
    controller::Controller,
    detector::Detector,
    framegate,
    host::Host,
    process::{Process, free_port, wait_for},
    redis::RedisServer,
    standalone::{House, Wish, images, is_end},
    worker::{LIMIT, Worker},
};
use nix::{fcntl::OFlag, sys::stat::Mode, unistd::mkfifo};

/// One event of a capture: its number, and each stream with its type and frames.
type Captured = (u64, Vec<(String, String, Vec<Vec<u8>>)>);

/// Reads a capture, which must be whole.
fn read(bytes: &[u8]) -> Vec<Captured> {
    let (events, rest) = read_whole(bytes);
    assert!(rest.is_empty(), "{} bytes of an event that is not whole", rest.len());
    events
}

/// Reads a capture; what is left after its last whole event.
fn read_whole(bytes: &[u8]) -> (Vec<Captured>, &[u8]) {
    let mut rest = bytes;
    let mut events = Vec::new();
    loop {
        let mut next = rest;
        let Ok(item) = ciborium::from_reader::<Cbor, _>(&mut next) else { return (events, rest) };
        rest = next;
        let item = tagged(&tagged(&item, 55799), 42877).into_array().unwrap();
        let streams = item[1].as_map().unwrap().iter().map(|(name, event)| {
            let event = tagged(event, 42878).into_array().unwrap();
            let frames = event[1].as_array().unwrap().iter().map(|frame| frame.as_bytes().unwrap().clone());
            (name.as_text().unwrap().to_owned(), event[0].as_text().unwrap().to_owned(), frames.collect())
        });
        let time = tagged(&item[2], 0).into_text().unwrap();
        assert!(time.len() == 27 && time.ends_with('Z'), "{time}");
        events.push((u64::try_from(item[0].as_integer().unwrap()).unwrap(), streams.collect()));
    }
}

fn tagged(value: &Cbor, tag: u64) -> Cbor {
    match value {
        Cbor::Tag(number, inside) if *number == tag => (**inside).clone(),
        other => panic!("expected tag {tag}: {other:?}"),
    }
}

#[test]
fn a_capture_holds_every_event_also_those_that_nobody_gets() {
    let folder = tempfile::tempdir().unwrap();
    let redis = RedisServer::start();
    let mut detector = Detector::bind();
    let url = format!("tcp://127.0.0.1:{}", free_port());
    let mut host = Host::start(
        folder.path(),
        &format!(
            "redis = \"{}\"\n[[ingester]]\nurl = \"{url}\"\n[[ingester.stream]]\nname = \"camera\"\nsource = \"{}\"\n\
             settings.upstream_url = \"{}\"\n",
            redis.url(),
            framegate::plugin("stins").display(),
            detector.url,
        ),
    );
    host.wait_for("it to be there", |ingester| ingester["state"] == "idle");
    let mut controller = Controller::new(&redis);
    controller.set_parameter("dump_prefix", format!("{}/run-", folder.path().display()).as_bytes());
    // A controller repeats itself until it is heard: what was told before the ingester listened is not looked for.
    wait_for("the parameter", LIMIT, || {
        controller.repeat();
        let hash = controller.hash();
        controller.state("camera-ingester").filter(|state| state["parameters_hash"] == hash.as_str())
    });
    let scan = controller.scan("camera-ingester", &["camera"]);
    let worker = Worker::connect("w1", &url);
    // The header to the worker, an image to nobody, one to the worker, one to nobody, the end to the worker.
    let one: &[(&str, &[&str])] = &[("camera", &["w1"])];
    let none: &[(&str, &[&str])] = &[("camera", &[])];
    controller.assign(&[one, none, one, none, one]);
    detector.run([vec![1; 1000], vec![2; 100_000], vec![3; 10]]);
    assert_eq!(worker.until(is_end).len(), 3);
    controller.finish_and_wait("camera-ingester");

    // People read it as soon as the notice is in.
    let file = folder.path().join(format!("run-camera-ingester-{scan}.cbors"));
    let events = read(&fs::read(&file).unwrap());
    assert_eq!(events.iter().map(|event| event.0).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    let pixels: Vec<_> = events.iter().filter_map(|event| event.1[0].2.get(1).cloned()).collect();
    assert_eq!(pixels, [vec![1; 1000], vec![2; 100_000], vec![3; 10]]);
    assert!(events.iter().all(|event| event.1[0].0 == "camera" && event.1[0].1 == "STINS"));

    // And replay plays it.
    let upstream = format!("tcp://127.0.0.1:{}", free_port());
    let mut replay = framegate::command();
    replay.arg("replay").arg(&file).args(["--bind", &upstream]);
    let mut replay = Process::start("replay", &mut replay, folder.path());
    let pull = zmq::Context::new().socket(zmq::PULL).unwrap();
    pull.set_rcvtimeo(20_000).unwrap();
    pull.connect(&upstream).unwrap();
    for (_, streams) in &events {
        assert!(pull.recv_multipart(0).unwrap() == streams[0].2);
    }
    assert!(replay.wait(LIMIT).success());
}

/// Asserts that a capture which fails from its beginning costs nothing but itself, and that it is told once, with a reason.
fn fails_from_the_beginning(path: &str, reason: &str) {
    let ingester = format!("dump_path = \"{path}\"");
    let mut house = House::new(&Wish { standalone: "scans = 1", ingester: &ingester, ..Wish::default() });
    let worker = house.worker("w1");
    house.detector.header();
    (0..20).for_each(|image| house.detector.image(&[image; 100_000]));
    let got: Vec<_> = (0..21).map(|_| worker.next()).collect();
    assert_eq!(images(&got), (0..20).map(|image| vec![image; 100_000]).collect::<Vec<_>>());
    let status = house.host.wait_for("the count", |ingester| ingester["capture"]["not_written"] == 21);
    let capture = &status["capture"];
    assert_eq!(capture["written"], 0, "{capture}");
    assert!(capture["fault"].as_str().unwrap().contains(reason), "{capture}");
    house.detector.end();
    assert!(is_end(&worker.next()), "forwarding goes on to the end");
    assert!(house.host.wait(LIMIT).success());
    let log = house.host.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains(reason)).collect();
    assert!(matches!(lines[..], [line] if line.contains("ERROR") && line.contains(path)), "{log}");
}

#[test]
fn a_full_disk_ends_the_capture_and_nothing_else() {
    fails_from_the_beginning("/dev/full", "No space left on device");
}

#[test]
fn a_path_that_cannot_be_written_ends_the_capture_and_nothing_else() {
    fails_from_the_beginning("/proc/no/such/folder/capture.cbors", "No such file or directory");
    fails_from_the_beginning("/proc/version/capture.cbors", "Not a directory");
}

/// A disk that writes nothing until somebody reads: a named pipe, open at its other end.
fn slow_disk(folder: &Path) -> (String, File) {
    let path = folder.join("slow-disk");
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    let mut options = File::options();
    let end = options.read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&path).unwrap();
    (path.display().to_string(), end)
}

/// Lets the disk be fast from now on: what it gets until the writer closes it.
fn drain(disk: File) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut disk = disk;
        let flags = nix::fcntl::FcntlArg::F_SETFL(OFlag::empty());
        nix::fcntl::fcntl(&disk, flags).unwrap();
        let mut all = Vec::new();
        disk.read_to_end(&mut all).unwrap();
        all
    })
}

#[test]
fn a_slow_disk_makes_the_capture_thin_and_what_is_in_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (path, disk) = slow_disk(folder.path());
    let ingester = format!("dump_path = \"{path}\"\ncapture_limit = \"500 KB\"");
    let mut house = House::new(&Wish { standalone: "scans = 1", ingester: &ingester, ..Wish::default() });
    let worker = house.worker("w1");
    house.detector.header();
    (0..50).for_each(|image| house.detector.image(&[image; 100_000]));
    let got: Vec<_> = (0..51).map(|_| worker.next()).collect();
    assert_eq!(images(&got).len(), 50, "forwarding goes on");
    let status = house.host.wait_for("the count", |ingester| ingester["capture"]["not_written"].as_u64() > Some(40));
    assert!(status["capture"]["fault"].is_null(), "{status}");
    let thinned = status["capture"]["not_written"].as_u64().unwrap();
    let draining = drain(disk);
    house.host.wait_for("the disk", |ingester| {
        let capture = &ingester["capture"];
        capture["written"].as_u64().unwrap() + capture["not_written"].as_u64().unwrap() == 51
    });
    house.detector.end();
    assert!(is_end(&worker.next()));
    assert!(house.host.wait(LIMIT).success());
    let events = read(&draining.join().unwrap());
    assert_eq!(events.len() as u64, 52 - thinned);
    for (number, streams) in &events[1..events.len() - 1] {
        assert_eq!(streams[0].2[1], vec![*number as u8 - 1; 100_000]);
    }
    let log = house.host.log();
    assert_eq!(log.lines().filter(|line| line.contains("skips events")).count(), 1, "{log}");
    assert!(log.contains(&format!("has {} events, {thinned} are missing", events.len())), "{log}");
}

#[test]
fn a_capture_may_be_closed_when_its_disk_is_slow() {
    let folder = tempfile::tempdir().unwrap();
    let (path, disk) = slow_disk(folder.path());
    let ingester = format!("dump_path = \"{path}\"\ncapture_limit = \"500 KB\"\ncapture_when_full = \"close\"");
    let mut house = House::new(&Wish { standalone: "scans = 1", ingester: &ingester, ..Wish::default() });
    let worker = house.worker("w1");
    house.detector.header();
    (0..50).for_each(|image| house.detector.image(&[image; 100_000]));
    (0..51).for_each(|_| drop(worker.next()));
    let status = house.host.wait_for("the end of the capture", |ingester| !ingester["capture"]["fault"].is_null());
    let reason = status["capture"]["fault"].as_str().unwrap();
    assert!(reason.contains("too slow") && reason.contains("capture_limit"), "{reason}");
    let draining = drain(disk);
    house.detector.end();
    assert!(is_end(&worker.next()));
    assert!(house.host.wait(LIMIT).success());
    let bytes = draining.join().unwrap();
    let (events, _cut) = read_whole(&bytes);
    assert!((1..12).contains(&events.len()), "{} events", events.len());
}

#[test]
fn a_capture_may_hold_back_forwarding_and_then_nothing_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let (path, disk) = slow_disk(folder.path());
    let ingester = format!(
        "dump_path = \"{path}\"\ncapture_limit = \"500 KB\"\ncapture_when_full = \"block\"\nmemory_limit = \"2 MiB\""
    );
    let wish = Wish {
        standalone: "scans = 1",
        ingester: &ingester,
        settings: "receive_budget = \"1 MiB\"",
        ..Wish::default()
    };
    let mut house = House::new(&wish);
    let worker = house.worker("w1");
    let mut sent = 0;
    house.detector.header();
    while !house.detector.is_held_back_for(Duration::from_millis(700)) {
        house.detector.image(&[sent; 100_000]);
        sent += 1;
        assert!(sent < 200, "nothing is held back");
    }
    let mut got = Vec::new();
    while let Some(message) = worker.within(Duration::from_millis(500)) {
        got.push(message);
    }
    assert!(got.len() < 12, "{} events were forwarded beside a full capture", got.len());
    let draining = drain(disk);
    house.detector.end();
    got.extend(worker.until(is_end));
    assert_eq!(images(&got).len(), usize::from(sent));
    assert!(house.host.wait(LIMIT).success());
    assert_eq!(read(&draining.join().unwrap()).len(), usize::from(sent) + 2);
}

#[test]
fn a_disk_that_hangs_delays_the_end_by_no_more_than_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hangs");
    // Nobody reads from it: opening it waits for ever.
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    let ingester = format!("dump_path = \"{}\"", path.display());
    let mut house = House::new(&Wish { ingester: &ingester, ..Wish::default() });
    let worker = house.worker("w1");
    house.detector.run([vec![1; 10]]);
    assert_eq!(worker.until(is_end).len(), 3);
    assert!(house.host.stop(Duration::from_secs(4)).success());
}
