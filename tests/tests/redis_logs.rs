//! The command's log lines: on standard error, and on the log page of a dranspose controller.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{collections::HashMap, path::Path, process::Command, time::Duration};

use framegate_tests::{
    controller::{Controller, LIMIT},
    framegate,
    process::{Process, free_port, wait_for},
    redis::RedisServer,
};
use redis::streams::StreamRangeReply;

const LOGS: &str = "dranspose_logs";

fn start(folder: &Path, url: &str, level: &str) -> Process {
    let mut command = framegate::command();
    command.args(["ingester", "-n", "eiger", "-c", "ZmqPullSingleIngester", "-u", "tcp://127.0.0.1:9"]);
    command.env("INGESTER_URL", format!("tcp://127.0.0.1:{}", free_port()));
    command.env("SERVICE_REDIS_DSN", url).env("LOG_LEVEL", level);
    Process::start("framegate", &mut command, folder)
}

/// The log entries, each with its fields.
fn entries(redis: &RedisServer) -> Vec<HashMap<String, String>> {
    let reply: StreamRangeReply = redis.ask(&["XRANGE", LOGS, "-", "+"]);
    let text = |value: redis::Value| redis::from_redis_value(value).unwrap();
    let fields =
        |entry: redis::streams::StreamId| entry.map.into_iter().map(|(name, value)| (name, text(value))).collect();
    reply.ids.into_iter().map(fields).collect()
}

fn stop(mut process: Process) -> String {
    assert!(process.stop(Duration::from_secs(10)).success());
    process.output()
}

#[test]
fn lines_have_the_fields_and_names_that_the_controllers_page_knows() {
    let (redis, folder) = (RedisServer::start(), tempfile::tempdir().unwrap());
    let mut controller = Controller::new(&redis);
    let process = start(folder.path(), &redis.url(), "DEBUG");
    controller.wait_state("eiger-ingester", "anything", |_| true);
    controller.scan("eiger-ingester", &["eiger"]);
    // An invalid update causes a warning.
    controller.publish(&serde_json::json!([]));
    controller.finish_and_wait("eiger-ingester");
    let lines = wait_for("a warning and the finish", LIMIT, || {
        let lines = entries(&redis);
        let has =
            |level: &str, word: &str| lines.iter().any(|line| line["levelname"] == level && line["msg"].contains(word));
        (has("WARNING", "that are not updates") && has("INFO", " finished: ")).then_some(lines)
    });
    for line in &lines {
        let mut names: Vec<_> = line.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["created", "levelname", "lineno", "msg", "name"]);
        assert!(["DEBUG", "INFO", "WARNING", "ERROR"].contains(&line["levelname"].as_str()), "{line:?}");
        assert!(line["name"].starts_with("framegate") && line["lineno"].parse::<u32>().is_ok(), "{line:?}");
        assert!((line["created"].parse::<f64>().unwrap() - now()).abs() < 60.0);
    }
    if let Some(python) = std::env::var_os("FRAMEGATE_PEER_PYTHON") {
        let shown = Command::new(python).args(["-c", PAGE, &redis.url()]).output().unwrap();
        assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
        let shown: Vec<HashMap<String, String>> = serde_json::from_slice(&shown.stdout).unwrap();
        assert!(shown.iter().any(|line| line["msg"].contains("that are not updates")), "{shown:?}");
        assert!(shown.iter().all(|line| line["levelname"] != "INFO"));
    } else {
        framegate_skip::skip("FRAMEGATE_PEER_PYTHON names no Python with dranspose");
    }
    // The last lines are there too.
    let before = entries(&redis).len();
    let output = stop(process);
    assert!(entries(&redis).len() >= before && !output.contains('\u{1b}'), "colours only on a terminal");
    assert_eq!(controller.state("eiger-ingester"), None);
}

#[test]
fn an_outage_is_said_once_and_its_lines_come_later() {
    let (mut redis, folder) = (RedisServer::absent(), tempfile::tempdir().unwrap());
    let process = start(folder.path(), &redis.url(), "INFO");
    wait_for("the outage", LIMIT, || process.output().contains("no connection to Redis").then_some(()));
    redis.launch();
    let mut controller = Controller::new(&redis);
    controller.wait_state("eiger-ingester", "anything", |_| true);
    let said = |line: &HashMap<String, String>| line["msg"].contains("no connection to Redis");
    wait_for("the line", LIMIT, || entries(&redis).iter().any(said).then_some(()));
    redis.kill();
    wait_for("the second outage", LIMIT, || {
        (process.output().matches("no connection to Redis").count() == 2).then_some(())
    });
    redis.launch();
    controller.reconnect(&redis);
    controller.wait_state("eiger-ingester", "anything", |_| true);
    wait_for("the second line", LIMIT, || entries(&redis).iter().any(said).then_some(()));
    // Logged when the last of its connections is back.
    wait_for("the second end", LIMIT, || (process.output().matches("connected to Redis").count() == 2).then_some(()));
    let output = stop(process);
    assert_eq!(output.matches("no connection to Redis").count(), 2, "{output}");
    assert_eq!(output.matches("connected to Redis").count(), 2, "{output}");
}

#[test]
fn a_password_is_never_said() {
    let (redis, folder) = (RedisServer::with_password("right-secret"), tempfile::tempdir().unwrap());
    let process = start(folder.path(), &redis.url_with("me:wrong-secret"), "DEBUG");
    wait_for("the refusal", LIMIT, || process.output().contains("no connection to Redis").then_some(()));
    assert!(!stop(process).contains("secret"));
    let process = start(folder.path(), &redis.url(), "DEBUG");
    wait_for("success", LIMIT, || process.output().contains("connected to Redis").then_some(()));
    assert!(!stop(process).contains("secret"));
}

#[test]
fn text_from_redis_forges_no_line_in_the_log_and_none_on_the_controllers_page() {
    let (redis, folder) = (RedisServer::start(), tempfile::tempdir().unwrap());
    let process = start(folder.path(), &redis.url(), "INFO");
    let mut controller = Controller::new(&redis);
    controller.wait_state("eiger-ingester", "anything", |_| true);
    let name = "eiger_a\n2026-01-01T00:00:00.000000Z ERROR framegate: forged\u{1b}[2J";
    controller.set_parameter(name, b"1");
    controller.wait_hash("eiger-ingester");
    controller.parameters.insert(name.replace("_a", "_b"), uuid::Uuid::new_v4());
    controller.repeat();
    let shown = wait_for("both names on the page", LIMIT, || {
        let lines: Vec<String> = entries(&redis).into_iter().map(|mut line| line.remove("msg").unwrap()).collect();
        let says = |name: &str| lines.iter().any(|line| line.contains(name) && line.contains("forged"));
        (says("eiger_a") && says("eiger_b")).then_some(lines)
    });
    assert!(shown.iter().all(|line| !line.contains(['\n', '\u{1b}'])), "{shown:?}");
    let log = stop(process);
    assert!(log.matches("forged").count() >= 2 && !log.contains('\u{1b}'), "{log}");
    assert!(log.lines().all(|line| !line.contains("forged") || line.contains("eiger_")), "{log}");
}

#[test]
fn the_stream_of_lines_stays_short() {
    let (redis, folder) = (RedisServer::start(), tempfile::tempdir().unwrap());
    let mut pipe = redis::pipe();
    for number in 0..5000 {
        pipe.xadd(LOGS, "*", &[("msg", number)]).ignore();
    }
    pipe.query::<()>(&mut redis.connect()).unwrap();
    let process = start(folder.path(), &redis.url(), "INFO");
    wait_for("it to be cut", LIMIT, || (redis.ask::<u64>(&["XLEN", LOGS]) < 1500).then_some(()));
    stop(process);
}

#[test]
fn a_key_that_is_no_stream_of_lines_harms_nobody() {
    let (redis, folder) = (RedisServer::start(), tempfile::tempdir().unwrap());
    let _: () = redis.ask(&["SET", LOGS, "no stream"]);
    let process = start(folder.path(), &redis.url(), "INFO");
    let mut controller = Controller::new(&redis);
    controller.wait_state("eiger-ingester", "anything", |_| true);
    controller.scan("eiger-ingester", &["eiger"]);
    controller.finish_and_wait("eiger-ingester");
    wait_for("the complaint", LIMIT, || process.output().contains("dranspose_logs: ").then_some(()));
    stop(process);
}

fn now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64()
}

/// The log lines that the controller's own log page shows at WARNING and above.
const PAGE: &str = "
import asyncio, json, sys, types
import redis.asyncio as redis
from dranspose.controller import app
page = next(route.endpoint for route in app.routes if route.path == '/api/v1/logs')
async def show():
    connection = redis.from_url(sys.argv[1] + '?decode_responses=True&protocol=3')
    state = types.SimpleNamespace(ctrl=types.SimpleNamespace(redis=connection))
    print(json.dumps(await page(types.SimpleNamespace(app=types.SimpleNamespace(state=state)), 'WARNING')))
asyncio.run(show())
";
