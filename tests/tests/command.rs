//! The command as a process: its help, its exit status, signals, ports in use, and its output.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    process::{Command, Output},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use ::framegate::settings::Settings;
use framegate_stins_detector::{Detector, Simulation, Step};
use framegate_tests::{
    framegate,
    host::{Host, LIMIT, write_configuration},
    process::{Process, free_port, text, wait_for},
    redis::RedisServer,
    worker::Worker,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A second more than the grace period, which is a second.
const STOPS_WITHIN: Duration = Duration::from_secs(2);

fn output(args: &[&str]) -> Output {
    framegate::command().args(args).output().unwrap()
}

/// `framegate ingester` on a port, with a Redis.
fn drop_in(redis: &str, port: u16) -> Command {
    let mut command = framegate::command();
    command.args(["ingester", "-n", "camera", "-u", "tcp://127.0.0.1:1", "-c"]).arg(framegate::plugin("stins"));
    command.env("Redis_Url", redis).env("ingester_url", format!("tcp://localhost:{port}"));
    command
}

/// The configuration of an ingester that waits for its detector for ever.
fn waiting(port: u16) -> String {
    format!(
        "[standalone]\n[[ingester]]\nurl = 'tcp://localhost:{port}'\n[[ingester.stream]]\nname = 'camera'\nsource = '{}'\n\
         settings.upstream_url = 'tcp://127.0.0.1:1'\n",
        framegate::plugin("stins").display()
    )
}

/// Starts a detector and returns its address.
fn detector(scans: u32, frames: u32, bytes: usize, goes_on: impl FnMut(Step) -> bool + Send + 'static) -> String {
    let bind = "tcp://127.0.0.1:*".to_owned();
    let images = Simulation { bind, scans, frames, bytes, rate: None, pause: Duration::ZERO };
    let detector = Detector::bind(images).unwrap();
    let upstream = detector.endpoint().unwrap();
    thread::spawn(move || detector.stream(goes_on).unwrap());
    upstream
}

fn signal(process: &Host, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(process.id()).unwrap()), signal).unwrap();
}

#[test]
fn help_tells_what_a_person_needs_to_begin() {
    for (args, parts) in [
        (
            &["--help"][..],
            &["run", "ingester", "http_ingester", "listen", "replay", "status", "Exit status", "NO_COLOR"][..],
        ),
        (&["run", "--help"], &["--config <FILE>", "--print-example", "shutdown_grace", "127.0.0.1:9180", "Example"]),
        (
            &["ingester", "--help"],
            &["ZmqPullSingleIngester", "INGESTER_STREAMS", "tcp://localhost:10000", "SERVICE_REDIS_DSN", "Example"],
        ),
        (
            &["http_ingester", "--help"],
            &["all of IPv4 and IPv6", "5000", "INGESTER_NAME", "http_sardana:app", "Example"],
        ),
        (&["status", "--help"], &["--watch", "--json", "http://127.0.0.1:9180", "Example"]),
        (&["listen", "--help"], &["tcp://localhost:10000"]),
        (&["replay", "--help"], &["--rate"]),
    ] {
        let output = output(args);
        let help = text(&output.stdout);
        assert!(output.status.success(), "{args:?}");
        for part in parts {
            assert!(help.contains(part), "{args:?}: {part} is not in\n{help}");
        }
        // Short enough for a terminal with 100 columns.
        let long = help.lines().find(|line| line.chars().count() > 100);
        assert_eq!(long, None, "{args:?}");
    }
}

#[test]
fn the_example_configuration_is_printed() {
    let example = output(&["run", "--print-example"]);
    assert!(example.status.success());
    let shown = text(&example.stdout);
    Settings::from_toml(&shown).unwrap();
    assert!(["redis = ", "#memory_limit = ", "#admin = "].iter().all(|key| shown.contains(key)), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
}

#[test]
fn a_redis_that_is_not_there_is_waited_for_and_told_once() {
    let mut redis = RedisServer::absent();
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start("ingester", &mut drop_in(&redis.url(), free_port()), folder.path());
    wait_for("a word about Redis", LIMIT, || process.output().contains("Redis").then_some(()));
    // Long enough for several attempts.
    let several = Instant::now() + Duration::from_secs(2);
    wait_for("some attempts", LIMIT, || (Instant::now() > several).then_some(()));
    assert!(process.ended().is_none());
    let complaints = |output: &str| output.lines().filter(|line| line.contains("WARN")).count();
    assert_eq!(complaints(&process.output()), 1, "{}", process.output());
    redis.launch();
    let key = "dranspose:ingester:camera-ingester:config";
    wait_for("the ingester's state", LIMIT, || (redis.ask::<i64>(&["EXISTS", key]) == 1).then_some(()));
    assert!(process.stop(STOPS_WITHIN).success(), "{}", process.output());
    assert_eq!(redis.ask::<i64>(&["EXISTS", key]), 0);
}

#[test]
fn a_signal_ends_it_in_time_with_status_0() {
    for name in [Signal::SIGTERM, Signal::SIGINT] {
        let folder = tempfile::tempdir().unwrap();
        let mut host = Host::start(folder.path(), &waiting(free_port()));
        host.wait_for("the ingester", |ingester| ingester["name"] == "camera-ingester");
        signal(&host, name);
        assert_eq!(host.wait(STOPS_WITHIN).code(), Some(0), "{name}");
    }
}

#[test]
fn a_hangup_never_ends_an_ingester() {
    let redis = RedisServer::start();
    let http = |port: u16| {
        let mut command = framegate::command();
        command.args(["http_ingester", "-n", "camera", "-p", &free_port().to_string(), "-c"]);
        command.arg(framegate::plugin("sardana")).env("redis_url", redis.url());
        command.env("ingester_url", format!("tcp://localhost:{port}"));
        command
    };
    // A configuration that can be read only once.
    let folder = tempfile::tempdir().unwrap();
    let (file, _) = write_configuration(folder.path(), &waiting(free_port()));
    let fifo = folder.path().join("fifo");
    let mut run = framegate::command();
    run.args(["run", "--config"]).arg(&fifo);
    let script = format!("mkfifo '{0}'; cat '{1}' > '{0}' &", fifo.display(), file.display());
    let run = framegate::after(&script, &run);
    for (name, mut command) in
        [("ingester", drop_in(&redis.url(), free_port())), ("http", http(free_port())), ("run", run)]
    {
        let mut process = Process::start(name, &mut command, folder.path());
        wait_for("the ingester", LIMIT, || process.output().contains("serves workers at").then_some(()));
        process.signal(Signal::SIGHUP);
        wait_for("a line in the log", LIMIT, || process.output().contains("SIGHUP").then_some(()));
        assert!(process.ended().is_none(), "{name}: {}", process.output());
        assert!(process.stop(STOPS_WITHIN).success(), "{name}: {}", process.output());
    }
}

#[test]
fn it_tells_what_it_serves_in_one_line_for_each_ingester() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut host = Host::start(folder.path(), &waiting(port));
    host.wait_for("the ingester", |ingester| ingester["name"] == "camera-ingester");
    host.stop(STOPS_WITHIN);
    let log = host.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("serves workers at")).collect();
    let [line] = lines[..] else { panic!("there is one:\n{log}") };
    assert!(line.contains("INFO") && line.contains("camera-ingester"), "{line}");
    assert!(line.contains(&format!("tcp://localhost:{port}")) && line.contains("camera from stins"), "{line}");
    assert!(!log.contains('\u{1b}'), "colours are for terminals:\n{log}");
}

#[test]
fn an_admin_endpoint_that_other_machines_reach_is_warned_of() {
    for (host, warns) in [("127.0.0.1", false), ("0.0.0.0", true)] {
        let folder = tempfile::tempdir().unwrap();
        let (path, admin) = write_configuration(folder.path(), &waiting(free_port()));
        let mut command = framegate::command();
        command.args(["run", "--config"]).arg(&path).args(["--admin", &format!("{host}:{}", admin.port())]);
        let mut host = Host::with(&mut command, folder.path(), admin);
        host.wait_for("the ingester", |ingester| ingester["name"] == "camera-ingester");
        host.stop(STOPS_WITHIN);
        let log = host.log();
        let warned = log.lines().any(|line| line.contains("WARN") && line.contains("other machines can reach"));
        assert_eq!(warned, warns, "{log}");
    }
}

#[test]
fn the_log_level_is_heard_and_an_error_is_told_at_every_level() {
    let folder = tempfile::tempdir().unwrap();
    let (path, admin) = write_configuration(folder.path(), &waiting(free_port()));
    let mut command = framegate::command();
    command.args(["run", "--config"]).arg(&path).env("log_level", "error");
    let mut host = Host::with(&mut command, folder.path(), admin);
    host.wait_for("the ingester", |ingester| ingester["name"] == "camera-ingester");
    assert!(host.stop(STOPS_WITHIN).success());
    assert_eq!(host.log(), "");
}

#[test]
fn status_shows_streams_and_workers_and_what_feeds_them() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut host = Host::start(folder.path(), &waiting(port));
    let worker = Worker::connect("reader", &format!("tcp://127.0.0.1:{port}"));
    host.wait_for("the worker", |ingester| ingester["workers"][0]["connected"] == true);
    let url = host.admin().to_string();
    let shown = text(&output(&["status", "--url", &url]).stdout);
    let version = format!("framegate {}", env!("CARGO_PKG_VERSION"));
    for part in [&version, "standalone", "camera-ingester", "memory", "camera", "stins", worker.name(), "forwarded"] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    let json: serde_json::Value = serde_json::from_slice(&output(&["status", "--json", "--url", &url]).stdout).unwrap();
    assert_eq!(json["ingesters"][0]["workers"][0]["name"], worker.name());
    assert_eq!(json["pid"], host.id());
    host.stop(STOPS_WITHIN);
    let gone = output(&["status", "--url", &url]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(text(&gone.stderr).contains(&format!("no answer from http://{url}/status")), "{}", text(&gone.stderr));
}

#[test]
fn metrics_and_health_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = Host::start(folder.path(), &waiting(free_port()));
    host.wait_for("the stream", |ingester| !ingester["streams"]["camera"].is_null());
    let metrics = host.get("/metrics").unwrap();
    for line in [
        "framegate_stream_events_total{ingester=\"camera-ingester\",stream=\"camera\",outcome=\"forwarded\"} 0",
        "framegate_memory_limit_bytes{ingester=\"camera-ingester\"} 1073741824",
        "framegate_control_up{} 1",
        "# EOF",
    ] {
        assert!(metrics.lines().any(|one| one.starts_with(line)), "{line} is not in\n{metrics}");
    }
    assert_eq!(host.get("/health").unwrap(), "ok\n");
    assert!(host.get("/nothing").is_err());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let upstream = detector(1, 20, 4 << 20, |_| true);
    let configuration = waiting(port).replace("tcp://127.0.0.1:1", &upstream);
    let (path, admin) = write_configuration(folder.path(), &format!("shutdown_grace = '1 h'\n{configuration}"));
    let mut host = Host::with(framegate::command().args(["run", "--config"]).arg(path), folder.path(), admin);
    // No message for this worker can be delivered.
    let _worker = Worker::stalled("stalled", &format!("tcp://127.0.0.1:{port}"));
    host.wait_for("messages that wait", |ingester| ingester["workers"][0]["waiting"].as_u64() > Some(0));
    signal(&host, Signal::SIGTERM);
    wait_for("the word that it stops", LIMIT, || host.log().contains("stopping").then_some(()));
    assert!(host.ended().is_none());
    signal(&host, Signal::SIGTERM);
    assert_eq!(host.wait(STOPS_WITHIN).code(), Some(143));
}

#[test]
fn standalone_with_a_number_of_scans_ends_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let (go, second_scan) = mpsc::channel();
    let upstream = detector(2, 10, 100, move |step| step != Step::Ended { scan: 0 } || second_scan.recv().is_ok());
    let configuration =
        waiting(port).replace("tcp://127.0.0.1:1", &upstream).replace("[standalone]", "[standalone]\nscans = 2");
    let worker = Worker::connect("reader", &format!("tcp://127.0.0.1:{port}"));
    let mut host = Host::start(folder.path(), &configuration);
    for scan in 0..2 {
        let events = worker.until(|message| message.number() == 11);
        assert_eq!(events.len(), 12, "scan {scan}");
        if scan == 0 {
            host.wait_for("the second scan", |ingester| {
                !ingester["finished"].is_null()
                    && ingester["ready"] != ingester["finished"]
                    && ingester["state"] == "running"
            });
            go.send(()).unwrap();
        }
    }
    assert!(host.wait(LIMIT).success(), "{}", host.log());
}
