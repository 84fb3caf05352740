//! Large numbers of assignments: they wait in Redis, not in memory, and all are processed.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{fmt::Write as _, time::Instant};

use framegate_tests::{controller::LIMIT, redis::RedisServer, stage::Stage};
use serde_json::json;

/// Minimum number of assignments that the ingester reads before the rest must wait, and the maximum.
const HELD: (u64, u64) = (200_000, 250_000);

/// Assigns `events` events in lists of `list`, every `share`-th to w1 and the rest to no worker.
fn assign(stage: &mut Stage, events: u64, list: u64, share: u64) {
    let key = format!("dranspose:assigned:{}", stage.controller.mapping);
    let mut pipe = redis::pipe();
    for first in (0..events).step_by(list as usize) {
        let mut text = String::from("[");
        for number in first..(first + list).min(events) {
            let comma = if number > first { "," } else { "" };
            let worker = if number.is_multiple_of(share) { r#""w1""# } else { "" };
            write!(text, r#"{comma}{{"event_number":{number},"assignments":{{"played":[{worker}]}}}}"#).unwrap();
        }
        text.push(']');
        pipe.xadd(&key, "*", &[("data", text)]).ignore();
        if pipe.len() >= 1000 {
            pipe.query::<()>(stage.controller.redis()).unwrap();
            pipe.clear();
        }
    }
    if !pipe.is_empty() {
        pipe.query::<()>(stage.controller.redis()).unwrap();
    }
}

/// A scan in which everything is assigned before the first event arrives; more assignments than the ingester holds.
fn masses(events: u64, list: u64, share: u64) {
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("gate");
    let mut stage = Stage::with(RedisServer::start(), &["played"], 0, |settings| {
        settings.ingesters[0].streams[0].settings = json!({ "events": events, "flow_when": gate });
    });
    let worker = stage.worker("w1");
    stage.scan(&["played"]);
    assign(&mut stage, events, list, share);
    stage.wait_report("assignments", |report| report.assignments_waiting >= events.min(HELD.0));
    // Enough time to read more, if it did.
    let writes = stage.redis.writes_of("dranspose:ingester:played-ingester:config");
    (0..2).for_each(|_| _ = writes.recv_timeout(LIMIT).unwrap());
    assert!(stage.report().assignments_waiting <= HELD.1, "{}", stage.report().assignments_waiting);
    let began = Instant::now();
    std::fs::write(&gate, "").unwrap();
    for number in (0..events).step_by(share as usize) {
        let message = worker.next();
        assert_eq!(message.frames[0][..8], number.to_le_bytes());
        if number.is_multiple_of(1024) {
            assert_eq!(message.number(), number);
        }
    }
    let report = stage.wait_report("all", |report| report.processed_events == events);
    eprintln!("{events} events in lists of {list}: {:.0} events/s", events as f64 / began.elapsed().as_secs_f64());
    assert!(report.faults.is_empty() && !report.counters.contains_key("assignments_duplicate"));
    stage.finish();
}

#[test]
fn a_million_assignments_at_once_wait_in_redis() {
    masses(1_000_000, 10_000, 1000);
}

#[test]
fn an_entry_for_each_event_comes_through() {
    masses(20_000, 1, 10);
}

#[test]
fn of_assignments_that_name_many_workers_fewer_are_held() {
    let mut stage = Stage::with(RedisServer::start(), &["played"], 0, |settings| {
        settings.ingesters[0].streams[0].settings = json!({ "events": 0, "flow_when": "/nonexistent/gate" });
    });
    stage.scan(&["played"]);
    let workers: Vec<String> = (0..500).map(|number| format!("w{number}")).collect();
    // 20,000 events, each 4 KB in memory: eight times the limit.
    for first in (0..20_000).step_by(1000) {
        let event = |number| json!({"event_number": number, "assignments": {"played": workers}});
        stage.controller.assign_raw(json!((first..first + 1000).map(event).collect::<Vec<_>>()).to_string());
    }
    stage.wait_report("assignments", |report| report.assignments_waiting >= 2000);
    let writes = stage.redis.writes_of("dranspose:ingester:played-ingester:config");
    (0..2).for_each(|_| _ = writes.recv_timeout(LIMIT).unwrap());
    assert!(stage.report().assignments_waiting <= 4000, "{}", stage.report().assignments_waiting);
    stage.scan(&["played"]);
    assert_eq!(stage.report().assignments_waiting, 0);
}

#[test]
fn a_new_scan_is_not_held_back_by_the_masses_of_the_last() {
    let mut stage = Stage::with(RedisServer::start(), &["played"], 0, |_| {});
    stage.scan(&["played"]);
    assign(&mut stage, 400_000, 10_000, 1);
    stage.wait_report("assignments", |report| report.assignments_waiting >= HELD.0);
    stage.scan(&["played"]);
    assert_eq!(stage.report().assignments_waiting, 0);
    stage.finish();
}
