//! Captures of the real program: complete with a working disk, and never blocking the stream with a faulty one.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod full;
mod root;
mod slow;

use std::{fs, process::Command};

use ciborium::Value as Cbor;
use framegate_tests::{
    controller::Controller,
    detector::Detector,
    framegate,
    host::{Host, write_configuration},
    process::{Process, free_port, wait_for},
    redis::RedisServer,
    standalone::is_end,
    worker::{LIMIT, Message, Worker},
};
use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

/// One event of a capture: its number, and each stream with its type and frames.
type Captured = (u64, Vec<(String, String, Vec<Vec<u8>>)>);

/// Reads a capture, which must be complete.
fn read(bytes: &[u8]) -> Vec<Captured> {
    let (events, rest) = read_whole(bytes);
    assert!(rest.is_empty(), "{} bytes of an event that is not whole", rest.len());
    events
}

/// Reads a capture; also returns the rest after its last complete event.
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

/// The program between a detector, a worker and a simulated controller that sets the capture's path.
struct Beamline {
    folder: TempDir,
    controller: Controller,
    detector: Detector,
    worker: Worker,
    host: Host,
    _redis: RedisServer,
}

const NAME: &str = "camera-ingester";

impl Beamline {
    /// Starts it with further lines at the top of its configuration; `start` may change the command.
    fn start(top: &str, start: impl FnOnce(Command) -> Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let redis = RedisServer::start();
        let detector = Detector::bind();
        let url = format!("tcp://127.0.0.1:{}", free_port());
        let (path, admin) = write_configuration(
            folder.path(),
            &format!(
                "redis = \"{}\"\n{top}\n[[ingester]]\nurl = \"{url}\"\n[[ingester.stream]]\nname = \"camera\"\n\
                 source = \"{}\"\nsettings.upstream_url = \"{}\"\n",
                redis.url(),
                framegate::plugin("stins").display(),
                detector.url,
            ),
        );
        let mut command = framegate::command();
        command.current_dir(folder.path()).args(["run", "--config"]).arg(path);
        let mut host = Host::with(&mut start(command), folder.path(), admin);
        host.wait_for("it to be there", |ingester| ingester["state"] == "idle");
        let (mut controller, worker) = (Controller::new(&redis), host.worker("w1", &url));
        // Published only after the ingester reads updates: earlier ones are not read.
        controller.wait_state(NAME, "its state", |_| true);
        Self { folder, controller, detector, worker, host, _redis: redis }
    }

    /// Sets the capture's path.
    fn capture_to(&mut self, prefix: &str) {
        self.controller.set_parameter("dump_prefix", prefix.as_bytes());
        // A controller repeats itself until it is heard, because updates from before the ingester's start are not read.
        wait_for("the parameter", LIMIT, || {
            self.controller.repeat();
            let hash = self.controller.hash();
            self.controller.state(NAME).filter(|state| state["parameters_hash"] == hash.as_str())
        });
    }

    /// A scan of these images; the worker gets all of them, or every second message. Returns the scan and the worker's
    /// messages.
    fn scan(&mut self, images: impl IntoIterator<Item = Vec<u8>>, gets: Gets) -> (Uuid, Vec<Message>) {
        let images: Vec<_> = images.into_iter().collect();
        let scan = self.controller.scan(NAME, &["camera"]);
        let to_nobody = |event: usize| matches!(gets, Gets::EverySecond) && event % 2 == 1;
        let events: Vec<_> = (0..images.len() + 2).map(|event| if to_nobody(event) { NOBODY } else { W1 }).collect();
        self.controller.assign(&events);
        self.detector.run(images);
        let got = self.worker.until(is_end);
        self.controller.finish_and_wait(NAME);
        (scan, got)
    }

    /// The capture's status.
    fn capture(&self) -> Value {
        self.host.ingester().unwrap()["capture"].take()
    }
}

const W1: &[(&str, &[&str])] = &[("camera", &["w1"])];
const NOBODY: &[(&str, &[&str])] = &[("camera", &[])];

/// The messages that a worker gets.
#[derive(Clone, Copy)]
enum Gets {
    All,
    EverySecond,
}

#[test]
fn a_capture_holds_every_event_also_those_that_nobody_gets() {
    let mut beamline = Beamline::start("", |command| command);
    let folder = beamline.folder.path().to_owned();
    beamline.capture_to(&format!("{}/run-", folder.display()));
    let (scan, got) = beamline.scan([vec![1; 1000], vec![2; 100_000], vec![3; 10]], Gets::EverySecond);
    assert_eq!(got.len(), 3);

    // People read the file as soon as the notice has arrived.
    let file = folder.join(format!("run-{NAME}-{scan}.cbors"));
    let events = read(&fs::read(&file).unwrap());
    assert_eq!(events.iter().map(|event| event.0).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    let pixels: Vec<_> = events.iter().filter_map(|event| event.1[0].2.get(1).cloned()).collect();
    assert_eq!(pixels, [vec![1; 1000], vec![2; 100_000], vec![3; 10]]);
    assert!(events.iter().all(|event| event.1[0].0 == "camera" && event.1[0].1 == "STINS"));

    // `replay` can read it.
    let upstream = format!("tcp://127.0.0.1:{}", free_port());
    let mut replay = framegate::command();
    replay.arg("replay").arg(&file).args(["--bind", &upstream]);
    let mut replay = Process::start("replay", &mut replay, &folder);
    let pull = zmq::Context::new().socket(zmq::PULL).unwrap();
    pull.set_rcvtimeo(20_000).unwrap();
    pull.connect(&upstream).unwrap();
    for (_, streams) in &events {
        assert!(pull.recv_multipart(0).unwrap() == streams[0].2);
    }
    assert!(replay.wait(LIMIT).success());
}
