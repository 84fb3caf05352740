//! A Redis that returns with older data, as after a crash or a failover: entries older than the running scan stay
//! ignored.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use framegate::IngesterState;
use framegate_tests::{
    controller::UPDATES,
    stage::{Stage, check},
};
use redis::{Commands, streams::StreamRangeReply};
use serde_json::json;

const EIGER_TO_W1: &[(&str, &[&str])] = &[("eiger", &["w1"])];

/// Kills Redis and restarts it with its saved data; returns when the ingester has noticed that the data is old.
fn back_with_old_data(stage: &mut Stage) {
    stage.redis.kill();
    stage.redis.launch();
    stage.controller.reconnect(&stage.redis);
    stage.wait_complaints("updates_superseded", 1);
}

#[test]
fn a_scan_goes_on_when_redis_comes_back_with_the_one_before_it_only() {
    let mut stage = Stage::new(&["eiger"], 6);
    let worker = stage.worker("w1");
    stage.whole_scan("eiger", 0, 6, &worker);
    stage.redis.save();
    drop(worker);
    // The restarted host knows nothing of the first scan.
    stage.crash_host();
    stage.start_host();
    let worker = stage.worker("w1");
    stage.scan(&["eiger"]);
    let running = stage.controller.mapping;
    stage.controller.assign(&[EIGER_TO_W1; 3]);
    (0..3).for_each(|number| check(&worker.next(), "eiger", number, 1, 6));

    back_with_old_data(&mut stage);
    let report = stage.report();
    assert_eq!((report.ready.map(|scan| scan.0), report.state), (Some(running), IngesterState::Running));
    stage.controller.wait_ready("eiger-ingester");
    stage.controller.assign(&[EIGER_TO_W1; 5]);
    (3..8).for_each(|number| check(&worker.next(), "eiger", number, 1, 6));
    stage.finish();
    stage.next_runs();
    stage.whole_scan("eiger", 2, 6, &worker);
    assert_eq!(stage.report().counters.get("messages_replaced"), None);
}

#[test]
fn an_ingester_that_waits_for_its_first_scan_does_not_take_an_older_one_for_it() {
    let mut stage = Stage::new(&["eiger"], 2);
    stage.scan(&["eiger"]);
    stage.redis.save();
    stage.scan(&["eiger"]);
    stage.crash_host();
    stage.start_host();
    back_with_old_data(&mut stage);
    assert_eq!(stage.report().ready, None);
    stage.scan(&["eiger"]);
    assert!(stage.report().streams["eiger"].active);
}

#[test]
fn a_scan_that_begins_after_old_data_came_back_is_opened_also_by_a_clock_that_is_behind() {
    let mut stage = Stage::new(&["eiger"], 2);
    stage.scan(&["eiger"]);
    stage.redis.save();
    stage.scan(&["eiger"]);
    back_with_old_data(&mut stage);
    let all: StreamRangeReply = stage.controller.redis().xrange_all(UPDATES).unwrap();
    let (time, _) = all.ids.last().unwrap().id.split_once('-').unwrap();
    let id = format!("{}-0", time.parse::<u64>().unwrap() + 1);
    stage.controller.new_mapping();
    let update = stage.controller.update(&["eiger"], false).to_string();
    let _: String = stage.controller.redis().xadd(UPDATES, id, &[("data", update)]).unwrap();
    stage.controller.wait_ready("eiger-ingester");
    let state = stage.wait_state("the new scan", |_| true);
    assert_eq!(state["mapping_uuid"], json!(stage.controller.mapping));
}
