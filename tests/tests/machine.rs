//! The machine's limits for the process: descriptors and memory that run out and become free again; and a clock that is
//! set.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    fs,
    path::Path,
    process::{Command, ExitStatus},
    time::Duration,
};

use framegate_tests::{
    clock::Clock,
    controller::Controller,
    detector::Detector,
    framegate,
    host::{Host, LIMIT, write_configuration},
    process::{Process, free_port, limit, wait_for},
    redis::RedisServer,
    standalone::{images, is_end},
    worker::{Message, Worker},
};
use tempfile::TempDir;

const NAME: &str = "camera-ingester";

/// The program between a detector, workers and a simulated controller.
struct Beamline {
    folder: TempDir,
    redis: RedisServer,
    controller: Controller,
    detector: Detector,
    url: String,
    host: Host,
}

impl Beamline {
    fn start(start: impl FnOnce(Command) -> Command) -> Self {
        let (folder, redis, detector) = (tempfile::tempdir().unwrap(), RedisServer::start(), Detector::bind());
        let url = format!("tcp://127.0.0.1:{}", free_port());
        let (path, admin) = write_configuration(folder.path(), &configuration(&redis.url(), &url, &detector.url));
        let mut command = framegate::command();
        command.args(["run", "--config"]).arg(path);
        let mut host = Host::with(&mut start(command), folder.path(), admin);
        host.wait_for("it to be there", |ingester| ingester["state"] == "idle");
        // Published only after the ingester reads updates: earlier ones are not read.
        let mut controller = Controller::new(&redis);
        controller.wait_state(NAME, "its state", |_| true);
        Self { folder, redis, controller, detector, url, host }
    }

    fn worker(&mut self, name: &str) -> Worker {
        let worker = self.host.worker(name, &self.url);
        let uuid = worker.service_uuid().to_string();
        self.controller.wait_state(NAME, "the worker", |state| state["connected_workers"].get(&uuid).is_some());
        worker
    }

    fn begin(&mut self) {
        self.controller.scan(NAME, &["camera"]);
    }

    fn assign(&mut self, events: usize) {
        let to: &[(&str, &[&str])] = &[("camera", &["w1"])];
        self.controller.assign(&vec![to; events]);
    }

    /// A scan whose three images arrive.
    fn is_whole(&mut self, worker: &Worker) {
        self.begin();
        self.assign(5);
        self.detector.run((0..3).map(|image| vec![image; 1000]));
        let got = worker.until(is_end);
        assert_eq!(images(&got), (0..3).map(|image| vec![image; 1000]).collect::<Vec<_>>());
        self.controller.finish_and_wait(NAME);
    }

    fn wait_for_log(&self, what: &str) {
        wait_for(what, LIMIT, || self.host.log().contains(what).then_some(()));
    }

    fn log_has_once(&self, what: &str) {
        let log = self.host.log();
        assert_eq!(log.lines().filter(|line| line.contains(what)).count(), 1, "{what}, in\n{log}");
    }
}

fn configuration(redis: &str, url: &str, upstream: &str) -> String {
    format!(
        "redis = \"{redis}\"\n[[ingester]]\nurl = \"{url}\"\n[[ingester.stream]]\nname = \"camera\"\nsource = \"{}\"\n\
         settings.upstream_url = \"{upstream}\"\n",
        framegate::plugin("stins").display()
    )
}

#[test]
fn descriptors_that_run_out_while_it_runs_are_told_cost_new_connections_only_and_are_used_when_they_are_back() {
    let mut beamline = Beamline::start(|command| command);
    let w1 = beamline.worker("w1");
    let captures = beamline.folder.path().join("run-");
    beamline.controller.set_parameter("dump_prefix", captures.display().to_string().as_bytes());
    beamline.controller.wait_hash(NAME);
    beamline.is_whole(&w1);
    beamline.begin();
    beamline.assign(5);
    beamline.detector.header();

    // Nothing more can be opened: every lower descriptor is in use.
    limit(beamline.host.id(), "nofile", Some(4));
    beamline.wait_for_log("descriptors are left of the 4 that this process may open");
    (0..3).for_each(|image| beamline.detector.image(&[image; 1000]));
    beamline.detector.end();
    assert_eq!(images(&w1.until(is_end)).len(), 3, "what is connected goes on");
    beamline.controller.finish_and_wait(NAME);
    // The detector cannot be connected, and the capture cannot be opened.
    beamline.begin();
    beamline.wait_for_log(&format!("{}: cannot connect: Too many open files", beamline.detector.url));
    beamline.wait_for_log("forwarding continues: it cannot be opened: Too many open files");
    // The configuration was changed and cannot be read.
    let configuration = beamline.folder.path().join("framegate.toml");
    let text = fs::read_to_string(&configuration).unwrap();
    fs::write(&configuration, format!("shutdown_grace = \"2 s\"\n{text}")).unwrap();
    // Redis cannot be reconnected, a worker cannot connect, and status cannot be requested.
    beamline.redis.kill();
    beamline.wait_for_log("WARN");
    beamline.redis.launch();
    let w2 = Worker::connect("w2", &beamline.url);
    assert!(beamline.host.get("/health").is_err());
    beamline.wait_for_log("Too many open files");

    limit(beamline.host.id(), "nofile", None);
    beamline.wait_for_log("enough descriptors are free again");
    beamline.wait_for_log("needs a restart to take effect: shutdown_grace");
    beamline.controller.reconnect(&beamline.redis);
    let uuid = w2.service_uuid().to_string();
    beamline.controller.wait_state(NAME, "the second worker", |state| state["connected_workers"].get(&uuid).is_some());
    beamline.is_whole(&w1);
    assert_eq!(beamline.host.get("/health").unwrap(), "ok\n");
    beamline.log_has_once("descriptors are left of the");
    beamline.log_has_once("enough descriptors are free again");
    assert!(beamline.host.log().lines().count() < 60, "{}", beamline.host.log());
    assert!(beamline.host.stop(LIMIT).success());
}

#[test]
fn it_takes_all_descriptors_that_it_is_allowed() {
    let mut beamline = Beamline::start(|command| framegate::after("ulimit -Sn 64", &command));
    let limits = fs::read_to_string(format!("/proc/{}/limits", beamline.host.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert!(numbers[0] > 64 && numbers[0] == numbers[1], "{line}");
    assert!(!beamline.host.log().contains("descriptors"), "{}", beamline.host.log());
    assert!(beamline.host.stop(LIMIT).success());
}

/// Result of a start with too few resources.
#[derive(Debug)]
enum Started {
    Serves,
    Ended(ExitStatus),
    /// It runs, cannot reach Redis because it has no descriptors, and reports this.
    Waits,
}

/// Starts it with a limit; returns the result and the log.
fn started(folder: &Path, script: &str) -> (Started, String) {
    let redis = RedisServer::start();
    let url = format!("tcp://127.0.0.1:{}", free_port());
    let (path, _) = write_configuration(folder, &configuration(&redis.url(), &url, "tcp://127.0.0.1:1"));
    let mut command = framegate::command();
    command.args(["run", "--config"]).arg(path);
    fs::remove_file(folder.join("limited.log")).ok();
    let mut process = Process::start("limited", framegate::after(script, &command).env("TMPDIR", folder), folder);
    let key = format!("dranspose:ingester:{NAME}:config");
    let started = wait_for("it to serve, to end or to say what it waits for", LIMIT, || match process.ended() {
        Some(status) => Some(Started::Ended(status)),
        None if redis.ask::<i64>(&["EXISTS", &key]) == 1 => Some(Started::Serves),
        None => {
            let waits = |line: &str| line.contains("no connection to Redis") && line.contains("Too many open files");
            process.output().lines().any(waits).then_some(Started::Waits)
        }
    });
    if let Started::Ended(_) = started {
        assert_eq!(redis.ask::<Vec<String>>(&["KEYS", "dranspose:*"]), Vec::<String>::new(), "{script}");
    } else {
        process.stop(Duration::from_secs(5));
    }
    (started, process.output())
}

#[test]
fn too_few_descriptors_at_the_start_are_told_and_never_end_it_without_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let mut served = 0;
    for most in [6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 100, 191] {
        let (started, log) = started(folder.path(), &format!("ulimit -n {most}"));
        println!("{most}: {started:?}\n{log}");
        let told = format!("may open {most} descriptors (files and sockets), and this configuration may need 200");
        match started {
            Started::Ended(status) => {
                // Not by a signal.
                assert!(status.code().is_some_and(|code| code != 0), "{most}: {status:?}, {log}");
                assert!(log.contains("Too many open files"), "{most}: {log}");
            }
            Started::Waits => assert!(log.contains(&told), "{most}: {log}"),
            Started::Serves => {
                served += 1;
                assert!(log.contains(&told), "{most}: {log}");
            }
        }
    }
    assert!(served >= 3);
}

#[test]
fn too_little_memory_at_the_start_is_told_and_never_ends_it_without_a_word_or_makes_it_hang() {
    let folder = tempfile::tempdir().unwrap();
    let mut served = 0;
    for mebibytes in [30, 60, 120, 200, 300, 450, 600, 900] {
        let (started, log) = started(folder.path(), &format!("ulimit -v {}", mebibytes << 10));
        println!("{mebibytes} MiB: {started:?}\n{log}");
        match started {
            Started::Ended(status) => {
                assert!(!status.success() && !log.is_empty(), "{mebibytes} MiB: {status:?}, {log}")
            }
            Started::Waits => panic!("{mebibytes} MiB: it has descriptors: {log}"),
            Started::Serves => {
                served += 1;
                assert!(log.contains("(RLIMIT_AS; LimitAS= of a service, ulimit -v of a shell)"), "{log}");
            }
        }
    }
    assert!(served >= 1);
}

fn memory_of(process: u32, what: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn memory_that_runs_out_for_a_large_message_costs_that_message_and_is_used_when_it_is_back() {
    let mut beamline = Beamline::start(|command| command);
    let w1 = beamline.worker("w1");
    beamline.is_whole(&w1);
    beamline.begin();
    beamline.assign(3);
    beamline.detector.header();
    assert_eq!(w1.next().number(), 0);
    let all = memory_of(beamline.host.id(), "VmSize:");
    limit(beamline.host.id(), "as", Some(all + (32 << 20)));
    // Larger than the free memory; the detector's pages are never touched.
    beamline.detector.image(&vec![0; 500 << 20]);
    let reason = "no memory for a part";
    beamline.host.wait_for("the message to be counted", |ingester| {
        ingester["streams"]["camera"]["last_invalid"].as_str().is_some_and(|last| last.contains(reason))
    });
    beamline.log_has_once(reason);
    limit(beamline.host.id(), "as", None);
    // The connection stays, and so does the scan.
    beamline.detector.image(&[7; 1000]);
    let message = w1.next();
    assert_eq!((message.number(), &message.frames[1][..]), (1, &[7; 1000][..]));
    beamline.is_whole(&w1);
    assert!(beamline.host.stop(LIMIT).success());
}

#[test]
fn a_clock_that_is_set_changes_what_is_shown_and_nothing_else() {
    let files = tempfile::tempdir().unwrap();
    let clock = Clock::new(files.path());
    let mut beamline = Beamline::start(|mut command| {
        clock.give(&mut command);
        command
    });
    let w1 = beamline.worker("w1");
    beamline.is_whole(&w1);
    beamline.begin();
    beamline.assign(12);
    beamline.detector.header();
    let year = |message: &Message| message.header()["created_at"].as_str().unwrap()[..4].parse::<i64>().unwrap();
    let now = year(&w1.next());
    let pings = |beamline: &mut Beamline| {
        // Its pings are still received, so it stays published.
        let uuid = w1.service_uuid().to_string();
        beamline.controller.wait_state(NAME, "the worker", |state| state["connected_workers"].get(&uuid).is_some());
    };
    for (number, years) in [10, 0, -10, 30, -20, 10, -30, 0, -40, 20].into_iter().enumerate() {
        clock.set(years * 31_557_600);
        beamline.detector.image(&[number as u8; 1000]);
        let message = w1.next();
        assert_eq!((message.number(), &message.frames[1][..]), (number as u64 + 1, &[number as u8; 1000][..]));
        let off = (year(&message) - now - years).abs();
        assert!(off <= 1, "{}", message.header());
        pings(&mut beamline);
    }
    beamline.detector.end();
    assert!(is_end(&w1.next()));
    beamline.controller.finish_and_wait(NAME);
    // To the far past, and back during a scan: the process's own times are not affected.
    clock.set(-50 * 31_557_600);
    beamline.is_whole(&w1);
    clock.set(0);
    beamline.is_whole(&w1);
    let status = beamline.host.ingester().unwrap();
    assert_eq!(status["counters"]["workers_evicted"], 0, "{status:#}");
    let log = beamline.host.log();
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    // Redis alone decides how long the key lives.
    let key = format!("dranspose:ingester:{NAME}:config");
    assert!((1..=10).contains(&beamline.redis.ask::<i64>(&["TTL", &key])));
    assert!(beamline.host.stop(LIMIT).success());
}
