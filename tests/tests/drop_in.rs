//! framegate in place of a Python ingester, with the same command line and environment, the same controller, workers
//! and reducer, and the same detector data. The workers must get the same messages, byte for byte.
//!
//! `tests/run drop-in` shows the first of these tests step by step.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use framegate_tests::{
    framegate,
    process::{Process, free_port, wait_for},
    python::{self, Dranspose, Received, peers_environment},
    redis::RedisServer,
};
use redis::streams::{StreamId, StreamRangeReply};
use tempfile::TempDir;

/// The stream in `dump_xrd.cbors`, and its images between the detector's header and its end.
const STREAM: &str = "xrd";
const IMAGES: usize = 9;
const LIMIT: Duration = Duration::from_secs(60);

/// One beamline: Redis, controller, reducer and two workers, all real, and a folder for their files.
struct Beamline {
    dranspose: Dranspose,
    redis: RedisServer,
    folder: TempDir,
}

/// A running ingester and its detector's address.
struct Ingester {
    process: Process,
    detector: String,
}

impl Beamline {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let redis = RedisServer::start();
        let dranspose = Dranspose::start(&redis.url(), &["w1", "w2"], folder.path());
        Self { dranspose, redis, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts `PROGRAM ingester -c ZmqPullSingleIngester -n xrd -u URL`: the same line for both programs.
    fn ingester(&self, name: &str, mut program: Command, dump_path: Option<&Path>) -> Ingester {
        let detector = format!("tcp://127.0.0.1:{}", free_port());
        program.args(["ingester", "-c", "ZmqPullSingleIngester", "-n", STREAM, "-u", &detector]);
        peers_environment(&mut program, &self.redis.url());
        program.env("INGESTER_URL", format!("tcp://127.0.0.1:{}", free_port()));
        if let Some(path) = dump_path {
            program.env("DUMP_PATH", path);
        }
        let shown = Path::new(program.get_program()).file_name().unwrap();
        println!("   {} ingester -c ZmqPullSingleIngester -n {STREAM} -u {detector}", shown.display());
        let process = Process::start(name, &mut program, self.folder.path());
        self.dranspose.wait_for_stream(STREAM);
        Ingester { process, detector }
    }

    /// One complete scan: `framegate replay` plays the capture as the detector.
    fn scan(&self, ingester: &Ingester) -> Scan {
        let (uuid, mut detector) = self.begin(ingester);
        self.dranspose.wait_for_finish();
        self.end(uuid, &mut detector)
    }

    /// The same; `None` if it does not finish in time.
    fn scan_within(&self, limit: Duration, ingester: &Ingester) -> Option<Scan> {
        let (uuid, mut detector) = self.begin(ingester);
        self.dranspose.finishes_within(limit).then(|| self.end(uuid, &mut detector))
    }

    fn begin(&self, ingester: &Ingester) -> (String, Process) {
        let uuid = self.dranspose.start_scan(STREAM, IMAGES);
        self.dranspose.wait_for_workers(&uuid);
        let mut replay = framegate::command();
        let bind = ingester.detector.replace("127.0.0.1", "*");
        replay.arg("replay").arg(capture()).args(["--bind", &bind, "--stream", STREAM]);
        (uuid, Process::start("detector", &mut replay, self.folder.path()))
    }

    fn end(&self, uuid: String, detector: &mut Process) -> Scan {
        assert!(detector.wait(LIMIT).success());
        let received = self.dranspose.received(&uuid);
        println!("   scan {uuid}: the workers got {} messages", received.len());
        Scan { assigned: self.assigned(&uuid), uuid, received }
    }

    /// The workers of each event, as the controller has assigned them in a scan so far.
    fn assigned(&self, scan: &str) -> Workers {
        let entries: StreamRangeReply = self.redis.ask(&["XRANGE", &format!("dranspose:assigned:{scan}"), "-", "+"]);
        let list = |entry: &StreamId| serde_json::from_str(&entry.get::<String>("data")?).ok();
        let mut assigned = Workers::new();
        for one in entries.ids.iter().filter_map(list).flat_map(|list: Vec<Assigned>| list) {
            assigned.entry(one.event_number).or_default().extend(one.assignments.into_values().flatten());
        }
        assigned
    }

    /// Stops an ingester as a service manager does; it must remove its state.
    fn stop(&self, mut ingester: Ingester) {
        let status = ingester.process.stop(LIMIT);
        assert!(status.success(), "{status}");
        self.dranspose.wait_for_no_ingester();
    }
}

/// The workers of each event.
type Workers = BTreeMap<u64, BTreeSet<String>>;

/// An assignment of dranspose's controller.
#[derive(serde::Deserialize)]
struct Assigned {
    event_number: u64,
    assignments: BTreeMap<String, Vec<String>>,
}

/// A completed scan.
struct Scan {
    uuid: String,
    assigned: Workers,
    received: Vec<Received>,
}

impl Scan {
    /// The message of each event, header and frames. The controller chooses an event's worker, differently from run to
    /// run; the first and last event are sent to all workers, and must be the same for all.
    fn messages(&self) -> BTreeMap<u64, (&str, &[String])> {
        let mut messages = BTreeMap::new();
        for got in &self.received {
            let message = (got.header.as_str(), got.frames.as_slice());
            let before = messages.insert(got.event, message);
            assert!(before.is_none_or(|before| before == message), "event {} differs between workers", got.event);
        }
        messages
    }

    /// Each worker got what was assigned to it, once. The controller sends the first event and the last to all workers that
    /// it knows when the scan starts; on a busy machine it may know only one.
    fn check_delivery(&self) {
        assert_eq!(self.assigned.len(), IMAGES + 2, "{:?}", self.assigned);
        assert_eq!(self.delivered(), self.assigned);
        let copies: usize = self.assigned.values().map(BTreeSet::len).sum();
        assert_eq!(self.received.len(), copies, "messages in all");
    }

    /// Whether each worker got what was assigned to it.
    fn is_whole(&self) -> bool {
        self.delivered() == self.assigned
    }

    fn delivered(&self) -> Workers {
        let mut delivered = Workers::new();
        for got in &self.received {
            delivered.entry(got.event).or_default().insert(got.worker.clone());
        }
        delivered
    }
}

fn capture() -> PathBuf {
    python::suite_file("tests/data/dump_xrd.cbors")
}

fn dranspose() -> Command {
    Command::new(python::script("dranspose"))
}

/// The workers' messages from the Python ingester, and the beamline without it. `None` if it hangs: this happens
/// sometimes when a mapping without streams arrives while it starts; its workers then end themselves. `None` too if it
/// sends an event to one worker instead of both, as it sometimes does on a busy machine.
fn reference() -> Option<(Beamline, Scan)> {
    let beamline = Beamline::start();
    let ingester = beamline.ingester("python", dranspose(), None);
    let reference = beamline.scan_within(Duration::from_secs(25), &ingester)?;
    beamline.stop(ingester);
    if !reference.is_whole() {
        println!("   the Python ingester has not sent every event to all of its workers");
        return None;
    }
    Some((beamline, reference))
}

#[test]
fn workers_get_byte_for_byte_what_they_get_from_the_python_ingester() {
    python::past_its_own_race(|| {
        println!("1. Start Redis, dranspose's controller and reducer, and two workers that write down what they get.");
        println!(
            "2. The reference: the Python ingester; {} is the detector.",
            capture().file_name().unwrap().display()
        );
        let (beamline, reference) = (0..3).find_map(|_| reference()).expect("one of three references");

        println!("3. framegate in its place, with {}; two scans.", framegate::plugin("stins").display());
        let ingester = beamline.ingester("framegate", framegate::command(), None);
        let first = beamline.scan(&ingester);
        let second = beamline.scan(&ingester);
        beamline.stop(ingester);

        println!("4. Compare.");
        for scan in [&first, &second] {
            scan.check_delivery();
            let (ours, theirs) = (scan.messages(), reference.messages());
            for (event, message) in &ours {
                let bytes: usize = message.1.iter().map(|frame| frame.len() / 2).sum();
                let verdict = if theirs.get(event) == Some(message) { "equal" } else { "DIFFERENT" };
                println!("   event {event:>2}: {} frames, {bytes:>3} bytes, {verdict}", message.1.len());
            }
            assert_eq!(ours, theirs);
            println!("   scan {}: {} events, the same bytes as from Python", scan.uuid, ours.len());
        }
    });
}

#[test]
fn dranspose_and_cbor2_read_the_captures_of_framegate() {
    python::past_its_own_race(|| {
        let beamline = Beamline::start();
        let by_path = beamline.path("by_path.cbors");
        let ingester = beamline.ingester("framegate-path", framegate::command(), Some(&by_path));
        let scan = beamline.scan(&ingester);
        beamline.stop(ingester);
        check_capture(&by_path, &scan);

        // The prefix is a parameter that people set while everything runs.
        let ingester = beamline.ingester("framegate-prefix", framegate::command(), None);
        let prefix = beamline.path("by_prefix_");
        beamline.dranspose.set_parameter("dump_prefix", prefix.to_str().unwrap());
        for _ in 0..2 {
            let scan = beamline.scan(&ingester);
            let by_prefix = beamline.path(&format!("by_prefix_{STREAM}-ingester-{}.cbors", scan.uuid));
            check_capture(&by_prefix, &scan);
        }
        beamline.stop(ingester);
    });
}

#[test]
fn a_controller_that_is_killed_in_a_scan_and_started_again_has_its_next_scan_whole() {
    python::past_its_own_race(|| {
        let mut beamline = Beamline::start();
        let ingester = beamline.ingester("framegate", framegate::command(), None);
        let scan = beamline.dranspose.start_scan(STREAM, IMAGES);
        beamline.dranspose.wait_for_workers(&scan);
        let mut replay = framegate::command();
        replay.arg("replay").arg(capture()).args(["--bind", &ingester.detector, "--stream", STREAM, "--rate", "4"]);
        let detector = Process::start("detector", &mut replay, beamline.folder.path());
        wait_for("the first events", LIMIT, || (beamline.dranspose.received(&scan).len() >= 4).then_some(()));
        beamline.dranspose.kill_controller();
        // Assigned events continue without a controller.
        let assigned = beamline.assigned(&scan);
        wait_for("all assigned events", LIMIT, || {
            let received = beamline.dranspose.received(&scan);
            assigned.keys().all(|event| received.iter().any(|got| got.event == *event)).then_some(())
        });
        beamline.dranspose.start_controller();
        beamline.dranspose.wait_for_stream(STREAM);
        drop(detector);
        for _ in 0..2 {
            beamline.scan(&ingester).check_delivery();
        }
        beamline.stop(ingester);
    });
}

#[test]
fn an_ingester_that_is_restarted_after_a_scan_waits_for_the_next_and_logs_no_error() {
    python::past_its_own_race(|| {
        let beamline = Beamline::start();
        let first = beamline.ingester("first", framegate::command(), None);
        beamline.scan(&first).check_delivery();
        beamline.stop(first);
        let second = beamline.ingester("second", framegate::command(), None);
        // The controller announces the finished scan to it, because its parameters differ.
        let said = || second.process.output();
        wait_for("its word on that scan", LIMIT, || said().contains("is over; waiting for the next one").then_some(()));
        beamline.scan(&second).check_delivery();
        assert!(!said().contains("ERROR"), "{}", said());
        beamline.stop(second);
    });
}

/// The capture has each event once, and `dranspose replay` and cbor2 read the workers' frames from it.
fn check_capture(file: &Path, scan: &Scan) {
    // The scan's end was reported after the capture was closed, so the capture is complete now.
    let events: Vec<_> = scan.messages().into_iter().map(|(event, (_, frames))| (event, frames.to_vec())).collect();

    let mut replay = dranspose();
    let classes = concat!(env!("CARGO_MANIFEST_DIR"), "/peer");
    replay.args(["replay", "-w", "recording_worker:ReplayingWorker", "-r", "recording_worker:PrintingReducer"]);
    let output = replay.arg("-f").arg(file).env("PYTHONPATH", classes).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut replayed = Vec::new();
    for line in String::from_utf8(output.stdout).unwrap().lines().filter(|line| line.starts_with('{')) {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let frames: Vec<String> = serde_json::from_value(event["streams"][STREAM].clone()).unwrap();
        replayed.push((event["event"].as_u64().unwrap(), frames));
    }
    // `dranspose replay` gives the first event to all its workers.
    replayed.dedup();
    assert_eq!(replayed, events, "what dranspose replays from {}", file.display());

    const READ: &str = "
import cbor2, sys
with open(sys.argv[1], 'rb') as file:
    while file.peek():
        number, streams, time = cbor2.load(file).value
        typ, frames = streams['xrd'].value
        print(number, typ, *(frame.hex() for frame in frames))
";
    let output = Command::new(python::python()).args(["-c", READ]).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected: Vec<_> = events.iter().map(|(event, frames)| format!("{event} STINS {}", frames.join(" "))).collect();
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().collect::<Vec<_>>(), expected);
    assert!(fs::metadata(file).unwrap().len() > 0);
}
