//! A Redis that refuses commands or is slow: the data path is not affected, and one log line reports it.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{cell::RefCell, time::Duration};

use ::framegate::{ControlState, settings::Control};
use framegate_tests::{
    controller::{Controller, LIMIT},
    framegate,
    process::{Process, free_port, wait_for},
    proxy::Proxy,
    redis::RedisServer,
    stage::{Stage, check},
};

/// The streams of one event, each with its workers.
type Event<'a> = &'a [(&'a str, &'a [&'a str])];

const EIGER_TO_W1: Event<'static> = &[("eiger", &["w1"])];

/// How to make Redis refuse, the text of its refusal, and how to end it.
struct Refusal {
    name: &'static str,
    begin: &'static [&'static [&'static str]],
    says: &'static str,
    end: &'static [&'static [&'static str]],
}

const THROW_ALL_OUT: &[&str] = &["CLIENT", "KILL", "TYPE", "normal"];

const REFUSALS: [Refusal; 4] = [
    Refusal {
        name: "out of memory",
        begin: &[&["CONFIG", "SET", "maxmemory", "1"]],
        says: "OOM",
        end: &[&["CONFIG", "SET", "maxmemory", "0"]],
    },
    Refusal {
        name: "read-only",
        begin: &[&["REPLICAOF", "127.0.0.1", "1"]],
        says: "READONLY",
        end: &[&["REPLICAOF", "NO", "ONE"]],
    },
    Refusal {
        name: "another password",
        begin: &[&["CONFIG", "SET", "requirepass", "unknown"], THROW_ALL_OUT],
        says: "NOAUTH",
        end: &[&["CONFIG", "SET", "requirepass", ""]],
    },
    Refusal {
        name: "too many clients",
        begin: &[&["CONFIG", "SET", "maxclients", "1"], &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]],
        says: "max number of clients reached",
        end: &[&["CONFIG", "SET", "maxclients", "1000"]],
    },
];

fn carry_out(way_in: &mut redis::Connection, commands: &[&[&str]]) {
    for words in commands {
        redis::cmd(words[0]).arg(&words[1..]).query::<redis::Value>(way_in).unwrap();
    }
}

/// A scan that starts normally; its second half arrives while `fault` lasts; and a complete scan after it.
fn scan_through(stage: &mut Stage, run: u32, begin: impl FnOnce(&mut Stage), end: impl FnOnce(&mut Stage)) {
    stage.hold_after(1);
    let worker = stage.worker("w1");
    stage.scan(&["eiger"]);
    stage.controller.assign(&[EIGER_TO_W1; 6]);
    (0..3).for_each(|number| check(&worker.next(), "eiger", number, run, 4));
    stage.wait_report("all assignments", |report| report.assignments_waiting == 3);
    begin(stage);
    stage.hold_after(u32::MAX);
    stage.next_runs();
    (3..6).for_each(|number| check(&worker.next(), "eiger", number, run, 4));
    end(stage);
    stage.controller.reconnect(&stage.redis);
    stage.finish();
    stage.next_runs();
    stage.whole_scan("eiger", run + 1, 4, &worker);
}

#[test]
fn a_scan_goes_on_while_redis_refuses_and_status_says_why() {
    let mut stage = Stage::new(&["eiger"], 4);
    // Connected before, because some faults let no new client in; the fault that disconnects all others keeps this one.
    let way_in = RefCell::new(stage.redis.connect());
    for (number, Refusal { name, begin, says, end }) in (0..).zip(REFUSALS) {
        let begins = |stage: &mut Stage| {
            carry_out(&mut way_in.borrow_mut(), begin);
            stage.wait_control(ControlState::Down);
            let problem = stage.host().control_report().last_problem.unwrap().what;
            assert!(problem.contains(says), "{name}: {problem}");
        };
        let ends = |stage: &mut Stage| {
            carry_out(&mut way_in.borrow_mut(), end);
            stage.wait_control(ControlState::Up);
        };
        scan_through(&mut stage, 2 * number, begins, ends);
    }
}

#[test]
fn a_scan_goes_on_while_redis_refuses_writes_because_it_cannot_save() {
    let mut stage = Stage::new(&["eiger"], 4);
    scan_through(
        &mut stage,
        0,
        |stage| {
            stage.redis.make_saving_fail();
            stage.wait_control(ControlState::Down);
            let problem = stage.host().control_report().last_problem.unwrap().what;
            assert!(problem.contains("MISCONF"), "{problem}");
        },
        |stage| {
            let _: () = stage.redis.ask(&["CONFIG", "SET", "save", ""]);
            stage.wait_control(ControlState::Up);
        },
    );
}

#[test]
fn a_scan_goes_on_while_redis_is_paused() {
    let mut stage = Stage::new(&["eiger"], 4);
    scan_through(
        &mut stage,
        0,
        |stage| {
            let _: () = stage.redis.ask(&["CLIENT", "PAUSE", "8000", "ALL"]);
            stage.wait_control(ControlState::Down);
        },
        |stage| stage.wait_control(ControlState::Up),
    );
}

#[test]
fn a_redis_that_is_far_away_is_served_like_a_near_one() {
    let redis = RedisServer::start();
    let proxy = Proxy::to(redis.port());
    let url = format!("redis://127.0.0.1:{}/0", proxy.port());
    proxy.delay(Duration::from_millis(200));
    let mut stage = Stage::with(redis, &["eiger"], 4, |settings| {
        let Control::Redis(redis) = &mut settings.control else { panic!("it is Redis") };
        redis.url = url;
    });
    scan_through(&mut stage, 0, |_| {}, |_| {});
    let report = stage.host().control_report();
    assert_eq!((report.state, report.last_problem), (ControlState::Up, None));
}

/// Number of error replies of Redis, and of connections that it refused.
fn refusals(way_in: &mut redis::Connection) -> u64 {
    let stats: String = redis::cmd("INFO").arg("stats").query(way_in).unwrap();
    let count = |name: &str| -> u64 {
        let line = stats.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("Redis counts no {name}")).parse().unwrap()
    };
    count("total_error_replies") + count("rejected_connections")
}

#[test]
fn each_refusal_is_one_line_in_the_log_and_its_end_another() {
    let (redis, folder) = (RedisServer::start(), tempfile::tempdir().unwrap());
    let mut command = framegate::command();
    command.args(["ingester", "-n", "eiger", "-c", "ZmqPullSingleIngester", "-u", "tcp://127.0.0.1:9"]);
    command.env("INGESTER_URL", format!("tcp://127.0.0.1:{}", free_port())).env("SERVICE_REDIS_DSN", redis.url());
    let mut process = Process::start("framegate", &mut command, folder.path());
    Controller::new(&redis).wait_state("eiger-ingester", "anything", |_| true);
    let mut way_in = redis.connect();
    let said = |process: &Process, words: &str, times: usize| {
        wait_for(words, LIMIT, || (process.output().matches(words).count() >= times).then_some(()));
    };
    for (number, Refusal { begin, says, end, .. }) in (1..).zip(REFUSALS) {
        carry_out(&mut way_in, begin);
        said(&process, "no connection to Redis", number);
        said(&process, says, 1);
        // Wait for more refusals. None of them may add a log line.
        let so_far = refusals(&mut way_in);
        wait_for("five more refusals", LIMIT, || (refusals(&mut way_in) >= so_far + 5).then_some(()));
        carry_out(&mut way_in, end);
        said(&process, "connected to Redis", number + 1);
    }
    assert!(process.stop(LIMIT).success());
    let log = process.output();
    assert_eq!(log.matches("no connection to Redis").count(), REFUSALS.len(), "{log}");
    assert_eq!(log.matches("connected to Redis").count(), REFUSALS.len() + 1, "{log}");
    assert_eq!(log.matches("ERROR").count(), 0, "{log}");
}
