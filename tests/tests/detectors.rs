//! Faulty detectors, each with its real plugin in the real program: they die or fall silent in the middle of a message,
//! start twice, or never end. The next scan is complete for every one of them.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{fmt::Write as _, fs, process::Command};

use framegate_tests::{
    controller::Controller,
    detectors::{BrokenOff, Detector, Say},
    framegate,
    host::{Host, LIMIT},
    process::{Process, free_port},
    protocols::Parts,
    redis::RedisServer,
    worker::Worker,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;
use tempfile::TempDir;

const NAME: &str = "all-ingester";

/// A detector of each kind, none present yet; the program with a stream for each; a controller and a worker.
struct Beamline {
    detectors: Vec<Detector>,
    controller: Controller,
    worker: Worker,
    host: Host,
    folder: TempDir,
    _redis: RedisServer,
    scans: u32,
}

impl Beamline {
    fn start() -> Self {
        let (folder, redis, detectors) = (tempfile::tempdir().unwrap(), RedisServer::start(), Detector::all());
        let url = format!("tcp://127.0.0.1:{}", free_port());
        let mut configuration =
            format!("redis = \"{}\"\n[[ingester]]\nname = \"{NAME}\"\nurl = \"{url}\"\n", redis.url());
        for detector in &detectors {
            let (plugin, settings) = (framegate::plugin(detector.name), detector.settings());
            let settings = toml::Value::try_from(settings).unwrap();
            let table = "[[ingester.stream]]\nname";
            writeln!(configuration, "{table} = \"{}\"\nsource = {plugin:?}\nsettings = {settings}", detector.name)
                .unwrap();
        }
        let mut host = Host::start(folder.path(), &configuration);
        host.wait_for("it to be there", |ingester| ingester["state"] == "idle");
        let worker = host.worker("w1", &url);
        let uuid = worker.service_uuid().to_string();
        // Published only after the ingester reads updates: earlier ones are not read.
        let mut controller = Controller::new(&redis);
        controller.wait_state(NAME, "the worker", |state| state["connected_workers"].get(&uuid).is_some());
        Self { detectors, controller, worker, host, folder, _redis: redis, scans: 0 }
    }

    fn each(&mut self, what: impl FnMut(&mut Detector)) {
        self.detectors.iter_mut().for_each(what);
    }

    /// Starts a scan, regardless of the previous one; returns its number.
    fn begin(&mut self) -> u32 {
        self.scans += 1;
        let names: Vec<_> = self.detectors.iter().map(|detector| detector.name).collect();
        self.controller.scan(NAME, &names);
        self.scans
    }

    /// Assigns the next event of all streams to the worker, and checks it against `event`.
    fn gets(&mut self, number: u64, event: impl Fn(usize) -> Parts) {
        let to: Vec<_> = self.detectors.iter().map(|detector| (detector.name, &["w1"][..])).collect();
        self.controller.assign(&[&to]);
        let message = self.worker.within(LIMIT).unwrap_or_else(|| {
            let streams = self.host.ingester().map(|mut ingester| ingester["streams"].take());
            panic!("event {number} of scan {} does not come: {streams:#?}", self.scans);
        });
        assert_eq!(message.number(), number);
        for (index, detector) in self.detectors.iter().enumerate() {
            let got = message.stream(detector.name).unwrap();
            let shown =
                |parts: &[Vec<u8>]| parts.iter().map(|part| part.escape_ascii().to_string()).collect::<Vec<_>>();
            let expected = event(index);
            assert!(
                *got == *expected,
                "event {number} of scan {} of {}: {:?} instead of {:?}",
                self.scans,
                detector.name,
                shown(got),
                shown(&expected)
            );
        }
    }

    /// All detectors send `what`, at the same time.
    fn all_say(&self, what: Say) -> Vec<Parts> {
        self.detectors.iter().map(|detector| detector.say(what)).collect()
    }

    /// Runs every detector in a scan that has started: nothing is missing, and there is nothing else.
    fn is_whole(&mut self, scan: u32) {
        let all: Vec<_> =
            [Say::Start(scan), Say::Data(0), Say::Data(1), Say::End(scan)].map(|what| self.all_say(what)).into();
        for (number, events) in (0..).zip(all) {
            self.gets(number, |index| events[index].clone());
        }
        self.controller.finish_and_wait(NAME);
        self.host.wait_for("the counts of a whole scan", |ingester| {
            let streams = ingester["streams"].as_object().unwrap();
            streams.values().all(|stream| (&stream["read"], &stream["forwarded"]) == (&json!(4), &json!(4)))
        });
    }

    /// A scan in which every detector is a process that dies in the middle of the second image, by this signal.
    fn dies(&mut self, signal: Signal) -> Vec<Process> {
        let scan = self.scans + 1;
        let folder = self.folder.path().to_owned();
        let start = |detector: &Detector| {
            let file = |name: &str, content: &[u8]| {
                let file = folder.join(format!("{}-{name}", detector.name));
                fs::write(&file, content).unwrap();
                file
            };
            let BrokenOff { first, hears, second } = detector.broken_off(scan);
            let mut command = Command::new(env!("CARGO_BIN_EXE_break_off"));
            command.arg(if detector.comes() { "connect" } else { "listen" }).arg(detector.address());
            command.arg(file("first", &first)).arg(hears.to_string()).arg(file("second", &second));
            Process::start(detector.name, &mut command, &folder)
        };
        let mut processes: Vec<_> = self.detectors.iter().filter(|detector| !detector.comes()).map(start).collect();
        self.begin();
        processes.extend(self.detectors.iter().filter(|detector| detector.comes()).map(start));
        for (number, what) in [(0, Say::Start(scan)), (1, Say::Data(0))] {
            let events: Vec<_> = self.detectors.iter().map(|detector| detector.event(what)).collect();
            self.gets(number, |index| events[index].clone());
        }
        for process in &processes {
            kill(Pid::from_raw(i32::try_from(process.id()).unwrap()), signal).unwrap();
        }
        processes
    }
}

#[test]
fn after_a_detector_that_was_killed_in_mid_message_the_next_scan_is_whole() {
    let mut beamline = Beamline::start();
    drop(beamline.dies(Signal::SIGKILL));
    beamline.each(Detector::appear);
    let scan = beamline.begin();
    beamline.each(|detector| detector.wait_for_source());
    beamline.is_whole(scan);
}

#[test]
fn after_a_detector_that_fell_silent_in_mid_message_and_is_started_again_the_next_scan_is_whole() {
    let mut beamline = Beamline::start();
    let silent = beamline.dies(Signal::SIGSTOP);
    // The scan starts while they are silent.
    let scan = beamline.begin();
    drop(silent);
    beamline.each(Detector::appear);
    beamline.each(|detector| detector.wait_for_source());
    beamline.is_whole(scan);
}

#[test]
fn after_a_detector_that_was_started_again_within_a_scan_the_next_scan_is_whole() {
    let mut beamline = Beamline::start();
    drop(beamline.dies(Signal::SIGKILL));
    beamline.each(Detector::appear);
    beamline.each(|detector| detector.wait_for_source());
    // The new run is not part of this scan, which has already started; its usable messages are.
    for what in [Say::Start(1), Say::Data(0), Say::End(1)] {
        beamline.all_say(what);
    }
    let scan = beamline.begin();
    beamline.each(|detector| detector.wait_for_source());
    beamline.is_whole(scan);
}

#[test]
fn after_a_detector_that_began_twice_or_never_ended_the_next_scan_is_whole() {
    let mut beamline = Beamline::start();
    beamline.each(Detector::appear);
    let scan = beamline.begin();
    beamline.each(|detector| detector.wait_for_source());
    let first = beamline.all_say(Say::Start(scan));
    beamline.all_say(Say::Start(scan));
    beamline.all_say(Say::Data(0));
    beamline.gets(0, |index| first[index].clone());

    let scan = beamline.begin();
    beamline.each(|detector| detector.wait_for_source());
    let start = beamline.all_say(Say::Start(scan));
    let data = beamline.all_say(Say::Data(0));
    beamline.gets(0, |index| start[index].clone());
    beamline.gets(1, |index| data[index].clone());
    // Continues without an end into the next scan.
    for number in 1..50 {
        beamline.all_say(Say::Data(number));
    }
    let scan = beamline.begin();
    beamline.each(|detector| detector.wait_for_source());
    for number in 50..60 {
        beamline.all_say(Say::Data(number));
    }
    beamline.is_whole(scan);
    // Its messages from the previous run have been counted.
    beamline.host.wait_for("the count", |ingester| {
        let streams = ingester["streams"].as_object().unwrap();
        streams.values().all(|stream| stream["skipped"]["before the start of a run"].as_u64() >= Some(10))
    });
}
