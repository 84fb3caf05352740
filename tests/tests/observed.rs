//! What people and programs see of a fault: status marks it, metrics count it, `/ready` depends on it, and `/health`
//! does not.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    net::TcpStream,
    process::Output,
    time::{Duration, Instant},
};

use framegate_tests::{
    controller::Controller,
    framegate,
    host::{Host, LIMIT},
    process::{free_port, text, wait_for},
    redis::RedisServer,
    standalone::{House, Wish},
    worker::Worker,
};
use serde_json::Value;

/// The faults, once status (as JSON and as tables) and metrics have `count` of them.
fn faults(host: &Host, count: usize) -> Vec<String> {
    wait_for(&format!("{count} faults everywhere"), LIMIT, || {
        let status = host.status().ok()?;
        let faults: Vec<String> =
            status["faults"].as_array().unwrap().iter().map(|fault| word(&fault["what"])).collect();
        let shown = framegate(&["status", "--url", &host.admin().to_string()]);
        let marks: Vec<_> = shown.lines().filter_map(|line| line.strip_prefix("  ! ")).map(str::to_owned).collect();
        let metrics = host.get("/metrics").ok()?;
        let counts = metrics.lines().filter(|line| line.starts_with("framegate_faults{"));
        let counted: f64 = counts.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum();
        (marks == faults && faults.len() == count && counted == count as f64).then_some(faults)
    })
}

/// The answer of `/ready`: its reasons if it is not ready.
fn reasons(host: &Host) -> Vec<String> {
    let (code, body) = host.answer("/ready").unwrap();
    let ready: Value = serde_json::from_str(&body).unwrap();
    let reasons: Vec<_> = ready["reasons"].as_array().unwrap().iter().map(word).collect();
    let expected = if reasons.is_empty() { (200, Some(true)) } else { (503, Some(false)) };
    assert_eq!((code, ready["ready"].as_bool()), expected, "{body}");
    assert_eq!(host.get("/health").unwrap(), "ok\n", "no reason to start it again");
    reasons
}

fn word(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn framegate(arguments: &[&str]) -> String {
    let Output { stdout, .. } = framegate::command().args(arguments).output().unwrap();
    text(&stdout)
}

fn configuration(control: &str, upstream: &str) -> String {
    format!(
        "{control}\n[[ingester]]\nurl = \"tcp://127.0.0.1:{}\"\n[[ingester.stream]]\nname = \"camera\"\nsource = \"{}\"\n\
         settings.upstream_url = \"{upstream}\"\n",
        free_port(),
        framegate::plugin("stins").display()
    )
}

#[test]
fn a_capture_that_failed_is_marked_and_counted_and_framegate_is_ready() {
    let mut house = House::new(&Wish { ingester: "dump_path = \"/dev/full\"", ..Wish::default() });
    assert!(faults(&house.host, 0).is_empty() && reasons(&house.host).is_empty());
    let _worker = house.worker("w1");
    house.detector.header();
    (0..20).for_each(|image| house.detector.image(&[image; 100_000]));
    let told = faults(&house.host, 1);
    assert!(told[0].starts_with("capture: ") && told[0].contains("No space left on device"), "{told:?}");
    assert!(reasons(&house.host).is_empty());
}

#[test]
fn a_redis_that_is_down_is_marked_and_counted_and_framegate_is_not_ready_until_it_is_back() {
    let (mut redis, folder) = (RedisServer::absent(), tempfile::tempdir().unwrap());
    let control = format!("redis = \"{}\"", redis.url());
    let mut host = Host::start(folder.path(), &configuration(&control, "tcp://127.0.0.1:1"));
    host.wait_for("the ingester", |ingester| ingester["state"] == "idle");
    let told = faults(&host, 1);
    assert!(told[0].starts_with("Redis at 127.0.0.1") && told[0].contains("refused"), "{told:?}");
    assert_eq!(reasons(&host), told);
    redis.launch();
    assert!(faults(&host, 0).is_empty() && reasons(&host).is_empty());
    // An invalid parameter does not stop the ingester.
    let mut controller = Controller::new(&redis);
    controller.set_parameter("dump_prefix", b"\xff");
    let told = faults(&host, 1);
    assert!(told[0].starts_with("parameter dump_prefix: "), "{told:?}");
    assert!(reasons(&host).is_empty());
}

#[test]
fn a_scan_that_an_ingester_cannot_join_and_a_gap_are_marked_and_counted_and_it_is_not_ready() {
    let (redis, folder) = (RedisServer::start(), tempfile::tempdir().unwrap());
    let mut controller = Controller::new(&redis);
    let to_w1: &[(&str, &[&str])] = &[("camera", &["w1"])];
    controller.start_scan(&["camera"]);
    controller.assign(&[to_w1; 3]);
    let control = format!("redis = \"{}\"", redis.url());
    let host = Host::start(folder.path(), &configuration(&control, "tcp://127.0.0.1:1"));
    controller.wait_state("camera-ingester", "it to be there", |_| true);
    // As a controller does until the hashes match.
    controller.repeat();
    let told = faults(&host, 1);
    assert!(told[0].contains("in the middle of scan"), "{told:?}");
    assert_eq!(reasons(&host), told);
    // An assignment is lost in the next scan.
    controller.scan("camera-ingester", &["camera"]);
    assert!(faults(&host, 0).is_empty() && reasons(&host).is_empty());
    controller.assign(&[to_w1; 2]);
    controller.assign_raw(r#"[{"event_number": 7, "assignments": {"camera": ["w1"]}}]"#);
    let told = faults(&host, 1);
    assert!(told[0].contains("from event 2 to 7"), "{told:?}");
    assert_eq!(reasons(&host), [format!("ingester camera-ingester: {}", told[0])]);
}

#[test]
fn connections_of_strangers_keep_nobody_from_health() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = Host::start(folder.path(), &configuration("[standalone]", "tcp://127.0.0.1:1"));
    host.wait_for("the ingester", |ingester| ingester["state"] == "running");
    let began = Instant::now();
    let mut strangers = Vec::new();
    for _ in 0..10 {
        strangers.extend((0..30).map(|_| TcpStream::connect(host.admin()).unwrap()));
        assert_eq!(host.get("/health").unwrap(), "ok\n");
    }
    // If health waited until the other connections time out, each request would take five seconds.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn status_and_swap_ask_where_the_variable_says() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = Host::start(folder.path(), &configuration("[standalone]", "tcp://127.0.0.1:1"));
    host.wait_for("the ingester", |ingester| ingester["state"] == "running");
    let everywhere = format!("0.0.0.0:{}", host.admin().port());
    let source = framegate::plugin("stins").display().to_string();
    let ask = |arguments: &[&str], admin: &str| {
        framegate::command().args(arguments).env("framegate_admin", admin).output().unwrap()
    };
    for admin in [&host.admin().to_string(), &everywhere] {
        let output = ask(&["status"], admin);
        assert!(text(&output.stdout).contains(&format!("process {} at", host.id())), "{output:?}");
        let output = ask(&["swap", "camera", &source], admin);
        assert!(output.status.success(), "{output:?}");
    }
    // The option overrides the variable.
    let output = ask(&["status", "--url", &host.admin().to_string()], "127.0.0.1:1");
    assert!(output.status.success(), "{output:?}");
    for arguments in [&["status"][..], &["swap", "camera", &source]] {
        let output = ask(arguments, "somewhere");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(text(&output.stderr).contains("FRAMEGATE_ADMIN: \"somewhere\": the port is missing"), "{output:?}");
    }
}

#[test]
fn a_long_name_is_shortened_in_the_table_and_whole_in_json() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let configuration = configuration("[standalone]", "tcp://127.0.0.1:1");
    let line = configuration.lines().find(|line| line.starts_with("url")).unwrap();
    let configuration = configuration.replace(line, &format!("url = \"tcp://127.0.0.1:{port}\""));
    let mut host = Host::start(folder.path(), &configuration);
    let name = format!("begin{}end", "x".repeat(200));
    let _worker = Worker::connect(&name, &format!("tcp://127.0.0.1:{port}"));
    host.wait_for("the worker", |ingester| ingester["workers"][0]["name"] == name.as_str());
    let shown = framegate(&["status", "--url", &host.admin().to_string()]);
    let row = shown.lines().find(|line| line.contains("beginx")).unwrap();
    assert!(row.contains("x…x") && row.contains("xend") && row.chars().count() < 140, "{row}");
}
