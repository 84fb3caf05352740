//! Control by a dranspose controller through a real Redis: scans, assignments and notices, tested from outside.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::fs;

use framegate::{
    IngesterState,
    names::{IngesterName, StreamName},
    settings::{IngesterSettings, StreamSettings},
};
use framegate_tests::{
    controller::{Controller, LIMIT},
    process::free_port,
    redis::RedisServer,
    stage::{Stage, check},
    worker::Worker,
};
use serde_json::json;
use uuid::Uuid;

/// The streams of one event, each with its workers.
type Event<'a> = &'a [(&'a str, &'a [&'a str])];

const EIGER_TO_W1: Event<'static> = &[("eiger", &["w1"])];

/// Checks that the worker has read exactly the messages sent to it in the scan. Call it after all possible later
/// messages were counted.
#[track_caller]
fn assert_sent(stage: &Stage, worker: &Worker, messages: u64) {
    let report = stage.report();
    let sent = report.workers.iter().find(|one| one.name.as_str() == worker.name()).map(|one| (one.sent, one.waiting));
    assert_eq!(sent, Some((messages, 0)));
}

#[test]
fn two_scans_reach_the_worker_whole() {
    let mut stage = Stage::new(&["eiger"], 20);
    let worker = stage.worker("w1");
    stage.whole_scan("eiger", 0, 20, &worker);
    stage.whole_scan("eiger", 1, 20, &worker);
    let report = stage.report();
    assert_eq!((report.processed_events, report.faults.as_slice()), (22, [].as_slice()));
    assert_eq!(stage.host().control_report().counters, [].into());
}

#[test]
fn a_scan_opens_the_own_streams_among_the_active_ones() {
    let mut stage = Stage::new(&["eiger", "xspress"], 1);
    stage.scan(&["other", "xspress"]);
    let report = stage.report();
    let active: Vec<_> =
        report.streams.iter().filter(|(_, stream)| stream.active).map(|(name, _)| name.as_str()).collect();
    assert_eq!(active, ["xspress"]);
    stage.finish();
    stage.scan(&["other"]);
    assert!(stage.report().streams.values().all(|stream| !stream.active));
    // An ingester without streams in a scan also sends the finish notice.
    stage.finish();
}

#[test]
fn the_new_uuid_is_published_only_when_the_sources_are_open() {
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("gate");
    let mut stage = Stage::with(RedisServer::start(), &["played"], 1, |settings| {
        settings.ingesters[0].streams[0].settings = json!({ "open_when": gate });
    });
    let writes = stage.redis.writes_of("dranspose:ingester:played-ingester:config");
    stage.controller.start_scan(&["played"]);
    stage.wait_report("opening", |report| report.state == IngesterState::Opening);
    for _ in 0..3 {
        writes.recv_timeout(LIMIT).unwrap();
        let state = stage.controller.state("played-ingester").unwrap();
        assert_ne!(state["mapping_uuid"], json!(stage.controller.mapping));
    }
    fs::write(&gate, "").unwrap();
    stage.controller.wait_ready("played-ingester");
}

#[test]
fn an_update_of_the_same_uuid_is_none_of_the_scan() {
    let mut stage = Stage::new(&["eiger"], 4);
    let worker = stage.worker("w1");
    stage.scan(&["eiger"]);
    stage.controller.assign(&[EIGER_TO_W1; 3]);
    (0..3).for_each(|number| check(&worker.next(), "eiger", number, 0, 4));
    stage.controller.set_parameter("whatever", b"1");
    stage.controller.wait_hash("eiger-ingester");
    stage.controller.assign(&[EIGER_TO_W1; 3]);
    (3..6).for_each(|number| check(&worker.next(), "eiger", number, 0, 4));
    stage.finish();
}

#[test]
fn of_several_new_uuids_only_the_last_is_opened_and_its_streams_survive_a_parameter_update() {
    let mut stage = Stage::new(&["eiger"], 2);
    let worker = stage.worker("w1");
    stage.controller.new_mapping();
    let superseded = stage.controller.update(&["eiger"], false);
    let finish_of_it = stage.controller.update(&[], true);
    stage.controller.new_mapping();
    let start = stage.controller.update(&["eiger"], false);
    stage.controller.store_parameter("whatever", b"1");
    let parameters = stage.controller.update(&[], false);
    stage.controller.publish_together(&[superseded, finish_of_it.clone(), start, finish_of_it, parameters]);
    stage.controller.wait_ready("eiger-ingester");
    stage.controller.wait_hash("eiger-ingester");
    stage.wait_complaints("updates_superseded", 1);
    stage.controller.assign(&[EIGER_TO_W1; 4]);
    (0..4).for_each(|number| check(&worker.next(), "eiger", number, 0, 2));
    assert_eq!(stage.report().finished, None);
    stage.finish();
}

#[test]
fn a_finish_of_a_superseded_uuid_is_ignored() {
    let mut stage = Stage::new(&["eiger"], 2);
    stage.scan(&["eiger"]);
    let late = stage.controller.update(&[], true);
    stage.scan(&["eiger"]);
    stage.controller.publish(&late);
    stage.wait_complaints("updates_superseded", 1);
    let report = stage.report();
    assert_eq!((report.state, report.finished), (IngesterState::Running, None));
    stage.finish();
}

#[test]
fn a_finish_with_its_start_in_one_read_is_carried_out() {
    let mut stage = Stage::new(&["played"], 1);
    stage.controller.new_mapping();
    let both = [stage.controller.update(&["played"], false), stage.controller.update(&[], true)];
    stage.controller.publish_together(&both);
    stage.controller.wait_ready("played-ingester");
    stage.controller.wait_notice("played-ingester");
}

#[test]
fn the_dump_prefix_in_the_entry_that_starts_a_scan_counts_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(&["eiger"], 2);
    let worker = stage.worker("w1");
    let prefix = format!("{}/", folder.path().display());
    stage.controller.store_parameter("dump_prefix", prefix.as_bytes());
    stage.whole_scan("eiger", 0, 2, &worker);
    // The notice has arrived, so the capture is complete.
    let path = folder.path().join(format!("eiger-ingester-{}.cbors", stage.controller.mapping));
    let size = fs::metadata(&path).unwrap().len();
    assert!(size > 2 * framegate_tests::stage::IMAGE_BYTES as u64, "{size}");
    stage.controller.store_parameter("dump_prefix", b"");
    stage.whole_scan("eiger", 1, 2, &worker);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn the_mapping_of_a_controller_before_its_first_scan_is_joined_in_silence() {
    let mut stage = Stage::new(&["eiger"], 2);
    stage.controller.repeat();
    stage.controller.wait_ready("eiger-ingester");
    assert_eq!(stage.host().control_report().faults, [].into());
}

#[test]
fn assignments_that_come_twice_are_counted_and_ignored() {
    let mut stage = Stage::new(&["eiger"], 2);
    let worker = stage.worker("w1");
    stage.scan(&["eiger"]);
    let list = json!([{"event_number": 0, "assignments": {"eiger": ["w1"]}}, {"event_number": 1, "assignments": {"eiger": ["w1"]}}]);
    stage.controller.assign_raw(list.to_string());
    stage.controller.assign_raw(list.to_string());
    stage.wait_report("the duplicates", |report| report.counters.get("assignments_duplicate") == Some(&2));
    (0..2).for_each(|number| check(&worker.next(), "eiger", number, 0, 2));
    assert_sent(&stage, &worker, 2);
}

#[test]
fn a_gap_in_the_numbers_fails_the_scan_loudly_and_the_next_is_served() {
    let mut stage = Stage::new(&["eiger"], 2);
    let worker = stage.worker("w1");
    stage.scan(&["eiger"]);
    stage.controller.assign(&[EIGER_TO_W1]);
    check(&worker.next(), "eiger", 0, 0, 2);
    stage.controller.assign_raw(r#"[{"event_number": 7, "assignments": {"eiger": ["w1"]}}]"#);
    let report = stage.wait_report("the gap", |report| !report.faults.is_empty());
    assert!(report.faults[0].contains("from event 1 to 7"), "{:?}", report.faults);
    assert_sent(&stage, &worker, 1);
    stage.finish();
    stage.next_runs();
    stage.whole_scan("eiger", 1, 2, &worker);
    assert!(stage.report().faults.is_empty());
}

#[test]
fn a_number_beyond_all_numbers_is_a_gap_like_any_other() {
    let mut stage = Stage::new(&["eiger"], 2);
    let worker = stage.worker("w1");
    stage.scan(&["eiger"]);
    let huge = u64::MAX;
    stage.controller.assign_raw(format!(r#"[{{"event_number": {huge}, "assignments": {{"eiger": ["w1"]}}}}]"#));
    stage.wait_report("the gap", |report| !report.faults.is_empty());
    stage.finish();
    stage.next_runs();
    stage.whole_scan("eiger", 1, 2, &worker);
}

#[test]
fn each_event_reaches_whom_its_assignment_names() {
    let mut stage = Stage::new(&["eiger", "xspress"], 4);
    let (w1, w2) = (stage.worker("w1"), stage.worker("w2"));
    stage.scan(&["eiger", "xspress"]);
    let events: [Event; 7] = [
        &[("eiger", &["w1", "w2"]), ("xspress", &["w2", "w1"])], // headers to all
        &[("eiger", &["w1"]), ("xspress", &["w1"])],             // one worker for both: one message
        &[("other", &["w1"]), ("another", &[])],                 // nothing for this ingester
        &[("eiger", &[]), ("xspress", &["w2"])],                 // an image of the eiger is discarded
        &[("xspress", &["w1"])],                                 // the eiger is not used
        &[("eiger", &["w2"])],
        &[("eiger", &["w1", "w1"]), ("xspress", &["w2", "other"])], // named twice; a worker that never connects
    ];
    stage.controller.assign(&events);
    let both = w1.next();
    check(&both, "eiger", 0, 0, 4);
    check(&both, "xspress", 0, 0, 4);
    let both = w1.next();
    check(&both, "eiger", 1, 0, 4);
    check(&both, "xspress", 1, 0, 4);
    let fourth = w1.next();
    assert_eq!((fourth.number(), fourth.stream("eiger")), (4, None));
    assert_eq!(fourth.header()["streams"]["xspress"]["length"], 2);
    let last = w1.next();
    assert_eq!((last.number(), last.stream("xspress")), (6, None));

    assert_eq!(w2.next().number(), 0);
    let third = w2.next();
    assert_eq!((third.number(), third.stream("eiger")), (3, None));
    let fifth = w2.next();
    assert_eq!((fifth.number(), fifth.stream("xspress")), (5, None));
    // Image 0 was sent to w1 in event 1, image 1 was discarded in event 3: this is image 2.
    let header: serde_json::Value = serde_json::from_slice(&fifth.stream("eiger").unwrap()[0]).unwrap();
    assert_eq!(header["frame"], 2);
    assert_eq!(w2.next().number(), 6);
    let report = stage.wait_report("all", |report| report.processed_events == 6);
    assert_sent(&stage, &w1, 4);
    assert_eq!(report.streams["eiger"].discarded, 1);
}

#[test]
fn two_ingesters_of_one_process_are_two_to_the_controller() {
    let mut stage = Stage::with(RedisServer::start(), &["eiger"], 2, |settings| {
        let stream = StreamSettings::new(StreamName::new("played").unwrap(), "played", json!({ "events": 4 }));
        let name = IngesterName::new("second").unwrap();
        settings.ingesters.push(IngesterSettings::new(name, "127.0.0.1", free_port(), vec![stream]));
    });
    let (of_first, of_second) = (stage.worker("w1"), stage.worker_of(1, "w1"));
    stage.scan(&["eiger", "played"]);
    stage.controller.wait_ready("second");
    stage.controller.assign(&[&[("eiger", &["w1"]), ("played", &["w1"])], EIGER_TO_W1, &[("played", &["w1"])]]);
    check(&of_first.next(), "eiger", 0, 0, 2);
    check(&of_first.next(), "eiger", 1, 0, 2);
    let numbers = [of_second.next(), of_second.next()].map(|message| (message.number(), message.frames[0][0]));
    assert_eq!(numbers, [(0, 0), (2, 1)]);
    stage.finish();
    stage.controller.wait_notice("second");
}

#[test]
fn what_was_assigned_before_the_uuid_was_published_is_not_lost() {
    let mut stage = Stage::new(&["eiger"], 2);
    let worker = stage.worker("w1");
    stage.controller.start_scan(&["eiger"]);
    stage.controller.assign(&[EIGER_TO_W1; 4]);
    (0..4).for_each(|number| check(&worker.next(), "eiger", number, 0, 2));
}

#[test]
fn assignments_after_the_finish_are_counted_and_ignored() {
    let mut stage = Stage::new(&["eiger"], 2);
    let worker = stage.worker("w1");
    stage.scan(&["eiger"]);
    stage.controller.assign(&[EIGER_TO_W1]);
    check(&worker.next(), "eiger", 0, 0, 2);
    stage.finish();
    stage.controller.assign(&[EIGER_TO_W1; 2]);
    let counter = "assignments_after_finish";
    stage.wait_report("the late ones", |report| report.counters.get(counter) == Some(&2));
    assert_sent(&stage, &worker, 1);
}

#[test]
fn two_controllers_in_a_row_are_served() {
    let mut stage = Stage::new(&["eiger"], 2);
    let worker = stage.worker("w1");
    stage.whole_scan("eiger", 0, 2, &worker);
    // A controller deletes its streams when it ends.
    let mapping = stage.controller.mapping;
    for key in ["dranspose:controller:updates".to_owned(), format!("dranspose:assigned:{mapping}")] {
        let _: () = stage.redis.ask(&["DEL", &key]);
    }
    stage.controller = Controller::new(&stage.redis);
    stage.whole_scan("eiger", 1, 2, &worker);
}

#[test]
fn a_controller_that_was_killed_in_a_scan_is_followed_by_its_successor_and_nothing_restarts() {
    let mut stage = Stage::new(&["eiger"], 4);
    let worker = stage.worker("w1");
    let own = stage.report().service_uuid;
    stage.scan(&["eiger"]);
    stage.controller.assign(&[EIGER_TO_W1; 3]);
    (0..3).for_each(|number| check(&worker.next(), "eiger", number, 0, 4));
    // Its keys remain; the next controller starts with its own mapping, without streams.
    stage.controller = Controller::new(&stage.redis);
    stage.controller.repeat();
    stage.controller.wait_ready("eiger-ingester");
    assert!(stage.report().streams.values().all(|stream| !stream.active));
    stage.next_runs();
    stage.whole_scan("eiger", 1, 4, &worker);
    assert_eq!(stage.report().service_uuid, own);
    assert_eq!(stage.host().control_report().faults, [].into());
}

#[test]
fn old_updates_do_not_begin_a_scan() {
    let redis = RedisServer::start();
    let mut controller = Controller::new(&redis);
    let old: Uuid = controller.start_scan(&["eiger"]);
    let mut stage = Stage::with(redis, &["eiger"], 2, |_| {});
    stage.scan(&["eiger"]);
    assert_ne!(stage.controller.mapping, old);
    assert_eq!(stage.report().counters.get("messages_replaced"), None);
}
