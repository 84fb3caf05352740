//! The report about a Redis that refuses service: its own text, and only matching advice.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    io::Write,
    net::{Ipv4Addr, TcpListener},
    thread,
};

use framegate::{ControlState, settings::Control};
use framegate_tests::{controller::LIMIT, process::wait_for, redis::RedisServer, stage::Stage};

/// The problem in status when control is down with this text.
fn wait_problem(stage: &Stage, says: &str) -> String {
    wait_for(says, LIMIT, || {
        let report = stage.host().control_report();
        report
            .last_problem
            .map(|problem| problem.what)
            .filter(|what| report.state == ControlState::Down && what.contains(says))
    })
}

#[test]
fn a_redis_that_has_too_many_clients_is_quoted() {
    let mut stage = Stage::new(&["eiger"], 2);
    let worker = stage.worker("w1");
    let mut way_in = stage.redis.connect();
    let mut ask = |words: &[&str]| redis::cmd(words[0]).arg(&words[1..]).query::<redis::Value>(&mut way_in).unwrap();
    ask(&["CONFIG", "SET", "maxclients", "1"]);
    ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    let what = wait_problem(&stage, "max number of clients reached");
    assert!(!what.contains("TLS") && !what.contains("password"), "{what}");
    ask(&["CONFIG", "SET", "maxclients", "1000"]);
    stage.controller.reconnect(&stage.redis);
    stage.whole_scan("eiger", 0, 2, &worker);
}

#[test]
fn a_redis_that_has_too_many_clients_is_quoted_also_where_it_asks_for_a_password() {
    let redis = RedisServer::with_password("secret");
    let mut way_in = redis.connect();
    let mut ask = |words: &[&str]| redis::cmd(words[0]).arg(&words[1..]).query::<redis::Value>(&mut way_in).unwrap();
    ask(&["CONFIG", "SET", "maxclients", "1"]);
    let url = redis.url();
    let stage = Stage::with(RedisServer::absent(), &["eiger"], 2, |settings| {
        let Control::Redis(to_redis) = &mut settings.control else { panic!("it is Redis") };
        to_redis.url.clone_from(&url);
    });
    let what = wait_problem(&stage, "max number of clients reached");
    assert!(!what.contains("is wrong") && !what.contains("TLS"), "{what}");
}

#[test]
fn a_redis_in_protected_mode_is_quoted() {
    // Simulated: a real server sends this to other machines only.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming() {
            let _ = client.unwrap().write_all(DENIED.as_bytes());
        }
    });
    let stage = Stage::with(RedisServer::absent(), &["eiger"], 2, |settings| {
        let Control::Redis(to_redis) = &mut settings.control else { panic!("it is Redis") };
        to_redis.url = format!("redis://127.0.0.1:{port}/0");
    });
    let what = wait_problem(&stage, "DENIED Redis is running in protected mode");
    assert!(!what.contains("TLS"), "{what}");
}

/// Redis 7.0, `networking.c`, shortened.
const DENIED: &str = "-DENIED Redis is running in protected mode because protected mode is enabled and no password is set \
                      for the default user. In this mode connections are only accepted from the loopback interface.\r\n";

#[test]
fn a_port_at_which_nobody_listens_is_not_taken_for_one_with_tls() {
    let mut stage = Stage::with(RedisServer::absent(), &["eiger"], 2, |_| {});
    let what = wait_problem(&stage, "refused");
    assert!(!what.contains("TLS"), "{what}");
    stage.redis.launch();
    stage.controller.reconnect(&stage.redis);
    stage.wait_state("to be served", |_| true);
    // A Redis that has worked and then closes the connections is not reported as a TLS port.
    stage.redis.kill();
    let what = wait_problem(&stage, "");
    assert!(!what.contains("TLS"), "{what}");
}
