//! A slow network, and large answers: framegate waits for an answer as long as bytes arrive without a pause, and does
//! not fetch data that it does not use.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use framegate::{ControlState, FaultSubject, settings::Control};
use framegate_tests::{
    controller::{LIMIT, UPDATES},
    played,
    process::wait_for,
    proxy::Proxy,
    redis::RedisServer,
    stage::{Stage, check},
};
use serde_json::{Value, json};

const MIB: usize = 1 << 20;

/// A host whose connections to Redis are limited to this many bytes per second.
fn slow(stream: &str, rate: u64) -> (Stage, Proxy) {
    let redis = RedisServer::start();
    let proxy = Proxy::to(redis.port());
    proxy.rate(Some(rate));
    let url = format!("redis://127.0.0.1:{}/0", proxy.port());
    let stage = Stage::with(redis, &[stream], 2, |settings| {
        let Control::Redis(redis) = &mut settings.control else { panic!("it is Redis") };
        redis.url = url;
    });
    (stage, proxy)
}

fn assert_was_never_down(stage: &Stage) {
    let report = stage.host().control_report();
    assert_eq!((report.state, report.last_problem), (ControlState::Up, None));
}

#[test]
fn a_large_parameter_of_others_behind_a_slow_network_holds_no_scan_back() {
    let (mut stage, _proxy) = slow("eiger", 12_000_000);
    let worker = stage.worker("w1");
    stage.controller.store_parameter("mask", &vec![7; 69 * MIB]);
    stage.whole_scan("eiger", 0, 2, &worker);
    stage.controller.wait_hash("eiger-ingester");
    assert_was_never_down(&stage);
}

#[test]
fn a_large_parameter_of_ours_arrives_however_long_it_takes() {
    // It takes 6 s; after 3 s without a byte Redis would be considered dead.
    let (mut stage, _proxy) = slow("played-slow", 2_000_000);
    let value: Vec<u8> = (0..12 * MIB).map(|byte| byte as u8).collect();
    stage.controller.set_parameter("played-slow_mask", &value);
    stage.controller.wait_hash("played-slow-ingester");
    wait_for("the value", LIMIT, || {
        (played::values("played-slow") == [("mask".to_owned(), value.clone())]).then_some(())
    });
    assert_was_never_down(&stage);
}

#[test]
fn large_updates_and_assignments_arrive_however_long_they_take() {
    let (mut stage, _proxy) = slow("eiger", 2_000_000);
    let worker = stage.worker("w1");
    let padding = Value::from("x".repeat(9 * MIB));
    stage.controller.new_mapping();
    let mut update = stage.controller.update(&["eiger"], false);
    update["of another version"] = padding.clone();
    stage.controller.publish(&update);
    stage.controller.wait_ready("eiger-ingester");
    let event = |number| json!({"event_number": number, "assignments": {"eiger": ["w1"]}, "more": null});
    let mut list: Vec<Value> = (0..4).map(event).collect();
    list[3]["more"] = padding;
    stage.controller.assign_raw(json!(list).to_string());
    (0..4).for_each(|number| check(&worker.next(), "eiger", number, 0, 2));
    assert_was_never_down(&stage);
}

#[test]
fn a_value_that_is_larger_than_what_is_taken_is_named_and_costs_only_itself() {
    let mut stage = Stage::new(&["played-huge"], 1);
    let version = uuid::Uuid::new_v4();
    let end = (260 * MIB).to_string();
    let _: i64 = stage.redis.ask(&["SETRANGE", &format!("dranspose:parameters:played-huge_mask:{version}"), &end, "x"]);
    stage.controller.parameters.insert("played-huge_mask".to_owned(), version);
    stage.controller.store_parameter("played-huge_gain", b"0.5");
    stage.controller.start_scan(&["played-huge"]);
    let mask = FaultSubject::Parameter("played-huge_mask".to_owned());
    // Transferring 256 MiB in a debug build.
    let fault = wait_for("the fault", 6 * LIMIT, || stage.host().control_report().faults.get(&mask).cloned());
    stage.controller.wait_ready("played-huge-ingester");
    assert!(fault.contains("larger than 256 MiB"), "{fault}");
    stage.controller.wait_hash("played-huge-ingester");
    wait_for("the other value", LIMIT, || {
        (played::values("played-huge") == [("gain".to_owned(), b"0.5".to_vec())]).then_some(())
    });
    stage.controller.set_parameter("played-huge_mask", b"small");
    wait_for("no fault", LIMIT, || (!stage.host().control_report().faults.contains_key(&mask)).then_some(()));
}

#[test]
fn an_update_that_is_larger_than_what_is_taken_is_passed_over_and_the_next_scan_is_whole() {
    let mut stage = Stage::new(&["eiger"], 2);
    let worker = stage.worker("w1");
    // Redis generates the data itself.
    let script = "return redis.call('XADD', KEYS[1], '*', 'data', string.rep('x', ARGV[1]))";
    let bytes = (260 * MIB).to_string();
    let add = |stage: &Stage| {
        let _: String = stage.redis.ask(&["EVAL", script, "1", UPDATES, &bytes]);
    };
    add(&stage);
    // Transferring 256 MiB in a debug build.
    wait_for("the complaints", 6 * LIMIT, || {
        let counters = stage.host().control_report().counters;
        let kinds = ["redis_keys_of_another_type", "updates_invalid"];
        kinds.iter().all(|kind| counters.get(*kind) == Some(&1)).then_some(())
    });
    stage.whole_scan("eiger", 0, 2, &worker);
    // Now it is the newest entry, after which a host begins.
    add(&stage);
    stage.stop_host();
    stage.start_host_within(6 * LIMIT);
    let worker = stage.worker("w2");
    stage.whole_scan("eiger", 1, 2, &worker);
    // Each host has fetched it, and did not repeat that.
    let stats: String = stage.redis.ask(&["INFO", "stats"]);
    let sent = stats.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:")).unwrap();
    assert!(sent.parse::<usize>().unwrap() < 3 * 260 * MIB, "Redis has sent {sent} bytes");
}
