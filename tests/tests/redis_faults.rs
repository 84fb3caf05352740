//! A Redis that is missing, ends, hangs, loses its data or has garbage: this is reported and counted, and the next
//! valid entry is used.
//!
//! ```text
//!     FRAMEGATE_OUTAGE=60 cargo test -p framegate-tests --test redis_faults -- a_scan_goes_on
//! ```
//!
//! makes the outage a minute instead of 3 s.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::time::{Duration, Instant};

use framegate::{ControlState, settings::Control};
use framegate_tests::{
    controller::{LIMIT, UPDATES},
    redis::RedisServer,
    stage::{Stage, check},
    worker::Worker,
};
use redis::Commands;
use serde_json::json;

/// The streams of one event, each with its workers.
type Event<'a> = &'a [(&'a str, &'a [&'a str])];

const EIGER_TO_W1: Event<'static> = &[("eiger", &["w1"])];

/// Restarts Redis, and waits until the ingester is connected again. `control/redis/link.rs` tests how soon it retries:
/// a clock here would measure the machine.
fn back(stage: &mut Stage) {
    stage.redis.launch();
    stage.controller.reconnect(&stage.redis);
    stage.wait_state("to be back", |_| true);
    stage.wait_control(ControlState::Up);
}

/// A scan with six events: three arrive before Redis is killed, three after it.
fn killed_in_a_scan(stage: &mut Stage, saved: bool) -> Worker {
    stage.hold_after(1);
    let worker = stage.worker("w1");
    stage.scan(&["eiger"]);
    stage.controller.assign(&[EIGER_TO_W1; 6]);
    (0..3).for_each(|number| check(&worker.next(), "eiger", number, 0, 6));
    stage.wait_report("all assignments", |report| report.assignments_waiting == 3);
    if saved {
        stage.redis.save();
    }
    stage.redis.kill();
    let killed = Instant::now();
    stage.wait_control(ControlState::Down);
    stage.next_runs();
    (3..6).for_each(|number| check(&worker.next(), "eiger", number, 0, 6));
    // Long enough for the longest retry pause. After a minute, only more keys have expired.
    std::thread::sleep(outage().saturating_sub(killed.elapsed()));
    worker
}

/// Minimum length of the outage.
fn outage() -> Duration {
    Duration::from_secs(std::env::var("FRAMEGATE_OUTAGE").map_or(3, |text| text.parse().expect("a number of seconds")))
}

#[test]
fn a_redis_that_comes_late_is_served() {
    let mut stage = Stage::with(RedisServer::absent(), &["eiger"], 2, |_| {});
    stage.wait_control(ControlState::Down);
    let report = stage.host().control_report();
    let what = report.last_problem.unwrap().what;
    assert!(what.contains("refused") && !what.contains("TLS"), "{what}");
    back(&mut stage);
    let worker = stage.worker("w1");
    stage.whole_scan("eiger", 0, 2, &worker);
}

#[test]
fn a_scan_goes_on_without_redis_and_the_next_starts_with_an_empty_one() {
    let mut stage = Stage::new(&["eiger"], 6);
    let worker = killed_in_a_scan(&mut stage, false);
    back(&mut stage);
    let state = stage.wait_state("the current mapping", |_| true);
    assert_eq!(state["mapping_uuid"], json!(stage.controller.mapping));
    assert!(!state["connected_workers"].as_object().unwrap().is_empty());
    stage.hold_after(u32::MAX);
    stage.next_runs();
    // The first run has more events; they do not belong to the next scan.
    stage.scan(&["eiger"]);
    stage.controller.assign(&[EIGER_TO_W1]);
    assert_eq!(worker.next().number(), 0);
    stage.finish();
}

#[test]
fn a_scan_goes_on_with_a_redis_that_kept_its_data() {
    let mut stage = Stage::new(&["eiger"], 6);
    let worker = killed_in_a_scan(&mut stage, true);
    back(&mut stage);
    stage.controller.assign(&[EIGER_TO_W1; 2]);
    (6..8).for_each(|number| check(&worker.next(), "eiger", number, 0, 6));
    stage.finish();
    stage.next_runs();
    stage.hold_after(u32::MAX);
    stage.whole_scan("eiger", 1, 6, &worker);
    assert_eq!(stage.report().counters.get("assignments_duplicate"), None);
}

#[test]
fn a_stream_that_counts_from_the_beginning_again_is_followed() {
    let mut stage = Stage::new(&["eiger"], 2);
    let worker = stage.worker("w1");
    stage.whole_scan("eiger", 0, 2, &worker);
    stage.redis.kill();
    back(&mut stage);
    stage.controller.new_mapping();
    let update = stage.controller.update(&["eiger"], false).to_string();
    let _: String = stage.controller.redis().xadd(UPDATES, "5-1", &[("data", update)]).unwrap();
    stage.controller.wait_ready("eiger-ingester");
}

#[test]
fn old_data_does_not_bring_an_old_scan_back() {
    let mut stage = Stage::new(&["eiger"], 2);
    stage.scan(&["eiger"]);
    stage.redis.save();
    stage.scan(&["eiger"]);
    stage.redis.kill();
    stage.wait_control(ControlState::Down);
    back(&mut stage);
    // The stream ends before the last entry that the ingester has read, so it is read from its first entry on.
    stage.wait_complaints("updates_superseded", 1);
    assert_eq!(stage.report().ready.map(|scan| scan.0), Some(stage.controller.mapping));
    // The ingester's old state in Redis is corrected.
    stage.controller.wait_ready("eiger-ingester");
    stage.scan(&["eiger"]);
}

#[test]
fn a_redis_that_hangs_is_noticed_and_served_when_it_wakes() {
    let mut stage = Stage::new(&["eiger"], 2);
    let worker = stage.worker("w1");
    stage.redis.pause();
    let began = Instant::now();
    stage.wait_control(ControlState::Down);
    // The documented time; a second silence on another connection would double it.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    stage.redis.resume();
    stage.wait_control(ControlState::Up);
    stage.whole_scan("eiger", 0, 2, &worker);
}

#[test]
fn a_redis_that_does_not_answer_delays_no_stop() {
    for kill in [false, true] {
        let mut stage = Stage::new(&["eiger"], 2);
        stage.scan(&["eiger"]);
        match kill {
            true => stage.redis.kill(),
            false => stage.redis.pause(),
        }
        let began = Instant::now();
        stage.stop_host();
        // Checks the time, because waiting for this Redis would never end.
        assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
    }
}

#[test]
fn a_finish_notice_that_redis_did_not_take_is_sent_again() {
    let mut stage = Stage::new(&["eiger"], 6);
    stage.scan(&["eiger"]);
    // The finish can be read, but nothing can be written afterwards, until Redis is considered dead.
    let finish = stage.controller.update(&[], true).to_string();
    let mut pipe = redis::pipe();
    pipe.atomic().xadd(UPDATES, "*", &[("data", finish)]).ignore();
    pipe.cmd("CLIENT").arg("PAUSE").arg(60_000).arg("WRITE").ignore();
    pipe.query::<()>(stage.controller.redis()).unwrap();
    stage.wait_control(ControlState::Down);
    let _: () = stage.redis.ask(&["CLIENT", "UNPAUSE"]);
    stage.controller.wait_notice("eiger-ingester");
}

/// Invalid entries that every reader must survive.
fn nonsense() -> Vec<Vec<u8>> {
    let uuid = uuid::Uuid::new_v4();
    let text = [
        String::new(),
        "null".into(),
        "[]".into(),
        "{}".into(),
        "{".into(),
        "\"text\"".into(),
        "1e999".into(),
        r#"{"mapping_uuid":"none","parameters_version":{}}"#.into(),
        r#"{"mapping_uuid":"6f9619ff-8b86-d011-b42d-00c04fc964ff","parameters_version":{}}"#.into(),
        format!(r#"{{"mapping_uuid":"{uuid}","parameters_version":[]}}"#),
        format!(r#"{{"mapping_uuid":"{uuid}","parameters_version":{{"a":"b"}}}}"#),
        format!(r#"{{"mapping_uuid":"{uuid}","parameters_version":{{}},"active_streams":"eiger"}}"#),
        format!(r#"{{"mapping_uuid":"{uuid}","parameters_version":{{}},"active_streams":[1]}}"#),
        format!(r#"{{"mapping_uuid":"{uuid}","parameters_version":{{}},"finished":"perhaps"}}"#),
        r#"[{"event_number":-1,"assignments":{"eiger":["w1"]}}]"#.into(),
        r#"[{"event_number":0.5,"assignments":{"eiger":["w1"]}}]"#.into(),
        r#"[{"event_number":123456789012345678901234567890,"assignments":{"eiger":["w1"]}}]"#.into(),
        r#"[{"event_number":0,"assignments":{"eiger":"w1"}}]"#.into(),
        r#"[{"event_number":0,"assignments":null}]"#.into(),
        r#"[{"event_number":0}]"#.into(),
        "[".repeat(3_000_000),
        format!(r#"{{"mapping_uuid":"{uuid}","parameters_version":{}"#, r#"{"a":"#.repeat(1_000_000)),
        format!(r#"{{"more":"{}"}}"#, "x".repeat(20_000_000)),
    ];
    let mut all: Vec<Vec<u8>> = text.into_iter().map(String::into_bytes).collect();
    all.push(b"\xff\xfe\x00".to_vec());
    all.push(b"{\"mapping_uuid\":\"\xff\"}".to_vec());
    all
}

#[test]
fn nonsense_among_updates_is_counted_and_the_next_update_is_served() {
    let mut stage = Stage::new(&["eiger"], 2);
    let worker = stage.worker("w1");
    let nonsense = nonsense();
    for data in &nonsense {
        let _: String = stage.controller.redis().xadd(UPDATES, "*", &[("data", data)]).unwrap();
    }
    for fields in [[("other", "x")], [("", "")]] {
        let _: String = stage.controller.redis().xadd(UPDATES, "*", &fields).unwrap();
    }
    let bytes: &[u8] = b"\xff\x00";
    let _: String = stage.controller.redis().xadd(UPDATES, "*", &[(bytes, bytes)]).unwrap();
    stage.whole_scan("eiger", 0, 2, &worker);
    stage.wait_complaints("updates_invalid", nonsense.len() as u64 + 3);
}

#[test]
fn nonsense_among_assignments_is_counted_and_the_next_ones_are_served() {
    let mut stage = Stage::new(&["eiger"], 4);
    let worker = stage.worker("w1");
    stage.scan(&["eiger"]);
    stage.controller.assign(&[EIGER_TO_W1; 3]);
    // `[]` is a valid, empty list.
    let nonsense: Vec<_> = nonsense().into_iter().filter(|data| data != b"[]").collect();
    for data in &nonsense {
        stage.controller.assign_raw(data);
    }
    let key = format!("dranspose:assigned:{}", stage.controller.mapping);
    let _: String = stage.controller.redis().xadd(key, "*", &[("other", "x")]).unwrap();
    stage.controller.assign(&[EIGER_TO_W1; 3]);
    (0..6).for_each(|number| check(&worker.next(), "eiger", number, 0, 4));
    stage.wait_complaints("assignments_invalid", nonsense.len() as u64 + 1);
    stage.finish();
}

#[test]
fn names_that_cannot_be_cost_only_themselves() {
    let mut stage = Stage::new(&["eiger"], 1);
    let worker = stage.worker("w1");
    stage.scan(&["eiger", "a:b", "", "\u{0}", "grün"]);
    stage.controller.assign(&[&[("eiger", &["w:1", "", "w1", "\n"]), ("a:b", &["w1"])], EIGER_TO_W1]);
    (0..2).for_each(|number| check(&worker.next(), "eiger", number, 0, 1));
    stage.wait_complaints("assignments_to_impossible_workers", 3);
    stage.controller.set_parameter("a:b:c", b"1");
    stage.controller.set_parameter("", b"1");
    stage.controller.wait_hash("eiger-ingester");
}

#[test]
fn keys_that_hold_something_else_are_named_and_served_when_they_are_right() {
    let redis = RedisServer::start();
    let _: () = redis.ask(&["SET", UPDATES, "no stream"]);
    let _: i64 = redis.ask(&["HSET", "dranspose:ingester:eiger-ingester:config", "a", "b"]);
    let mut stage = Stage::with(redis, &["eiger"], 2, |_| {});
    let worker = stage.worker("w1");
    stage.wait_complaints("redis_keys_of_another_type", 1);
    let problem = stage.host().control_report().last_problem.unwrap().what;
    assert!(problem.contains(UPDATES) && problem.contains("WRONGTYPE"), "{problem}");
    let _: () = stage.redis.ask(&["DEL", UPDATES]);

    // A parameter's value, the assignments and the notices.
    let version = uuid::Uuid::new_v4();
    stage.controller.parameters.insert("eiger_gain".to_owned(), version);
    let _: i64 = stage.redis.ask(&["LPUSH", &format!("dranspose:parameters:eiger_gain:{version}"), "1"]);
    let mapping = stage.controller.new_mapping();
    for key in [format!("dranspose:assigned:{mapping}"), format!("dranspose:ready:{mapping}")] {
        let _: () = stage.redis.ask(&["SET", &key, "no stream"]);
    }
    let start = stage.controller.update(&["eiger"], false);
    stage.controller.publish(&start);
    stage.controller.wait_ready("eiger-ingester");
    stage.wait_complaints("redis_keys_of_another_type", 4);
    let _: () = stage.redis.ask(&["DEL", &format!("dranspose:assigned:{mapping}")]);
    stage.controller.assign(&[EIGER_TO_W1; 4]);
    (0..4).for_each(|number| check(&worker.next(), "eiger", number, 0, 2));
    stage.controller.finish();
    stage.wait_report("the finish", |report| report.finished.is_some_and(|scan| scan.0 == mapping));
    stage.next_runs();
    stage.controller.set_parameter("eiger_gain", b"1");
    stage.whole_scan("eiger", 1, 2, &worker);
    stage.controller.wait_hash("eiger-ingester");
}

#[test]
fn a_wrong_password_is_said_without_it_and_the_right_one_is_served() {
    let redis = RedisServer::with_password("right-secret");
    let url = redis.url_with(":wrong-secret");
    let mut stage = Stage::with(RedisServer::absent(), &["eiger"], 2, |settings| {
        if let Control::Redis(to_redis) = &mut settings.control {
            to_redis.url.clone_from(&url);
        }
    });
    stage.wait_control(ControlState::Down);
    let report = stage.host().control_report();
    let problem = report.last_problem.clone().unwrap().what;
    assert!(problem.contains("WRONGPASS") || problem.to_lowercase().contains("auth"), "{problem}");
    assert!(!format!("{report:?} {:?}", stage.settings).contains("secret"));
    let _: () = redis.ask(&["CONFIG", "SET", "requirepass", "wrong-secret"]);
    stage.wait_control(ControlState::Up);
    stage.stop_host();
}
