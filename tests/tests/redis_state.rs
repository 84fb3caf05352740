//! What an ingester publishes in Redis: its state, and its values of parameters.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::time::{Duration, Instant};

use framegate_tests::{controller::LIMIT, played, process::wait_for, stage::Stage, worker::Worker};
use serde_json::{Value, json};

fn key(name: &str) -> String {
    format!("dranspose:ingester:{name}:config")
}

#[test]
fn the_state_has_the_fields_of_the_peers_model_in_its_order() {
    let mut stage = Stage::new(&["eiger", "played"], 1);
    let before = stage.wait_state("anything", |_| true);
    let fields = [
        "service_uuid",
        "mapping_uuid",
        "dranspose_version",
        "mapreduce_version",
        "parameters_hash",
        "processed_events",
        "event_rate",
        "name",
        "url",
        "connected_workers",
        "streams",
    ];
    assert_eq!(before.as_object().unwrap().keys().collect::<Vec<_>>(), fields);
    assert_eq!(before["name"], "eiger_played-ingester");
    assert_eq!(before["url"], format!("tcp://127.0.0.1:{}", stage.settings.ingesters[0].port));
    assert_eq!(before["streams"], json!(["eiger", "played"]));
    assert_eq!((&before["mapping_uuid"], &before["parameters_hash"]), (&Value::Null, &Value::Null));
    assert_eq!((&before["processed_events"], &before["event_rate"]), (&json!(0), &json!(0.0)));
    let version = before["dranspose_version"].as_str().unwrap();
    assert!(version.contains("framegate") && version.contains("0.2.0"), "{version}");

    let worker = stage.worker("w1");
    let uuid = worker.service_uuid().to_string();
    let published = stage.wait_state("the worker", |state| state["connected_workers"].get(&uuid).is_some());
    let entry = published["connected_workers"][&uuid].as_object().unwrap();
    assert_eq!(entry.keys().collect::<Vec<_>>(), ["name", "service_uuid", "last_seen"]);
    assert_eq!((&entry["name"], &entry["service_uuid"]), (&json!("w1"), &json!(uuid)));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - entry["last_seen"].as_f64().unwrap()).abs() < 30.0);
    stage.scan(&["eiger"]);
    assert_eq!(stage.report().ready.map(|scan| scan.0), Some(stage.controller.mapping));
}

#[test]
fn the_state_is_written_every_1_3_seconds_and_lives_for_ten() {
    let stage = Stage::new(&["played"], 1);
    let writes = stage.redis.writes_of(&key("played-ingester"));
    let times: Vec<Instant> = (0..5).map(|_| writes.recv_timeout(LIMIT).unwrap()).collect();
    // Not more often. A slow machine writes less often, which is acceptable as long as the key does not expire.
    let mean = times[4].duration_since(times[0]) / 4;
    assert!(mean > Duration::from_millis(1200), "{mean:?}");
    let left: i64 = stage.redis.ask(&["PTTL", &key("played-ingester")]);
    assert!((1..=10_000).contains(&left), "{left}");
    let statistics: String = stage.redis.ask(&["INFO", "stats"]);
    assert!(statistics.contains("expired_keys:0\r\n"), "{statistics}");
}

#[test]
fn workers_are_published_at_once() {
    let mut stage = Stage::new(&["played"], 1);
    stage.wait_state("anything", |_| true);
    let writes = stage.redis.writes_of(&key("played-ingester"));
    let workers: Vec<Worker> = (0..6).map(|number| stage.worker(&format!("w{number}"))).collect();
    // Without changes, a write follows the previous one after 1.3 s, on a slow machine later.
    let times: Vec<Instant> = writes.try_iter().collect();
    let mut pauses = times.windows(2).map(|pair| pair[1].duration_since(pair[0]));
    assert!(pauses.any(|pause| pause < Duration::from_millis(1000)), "{times:?}");
    drop(workers);
}

#[test]
fn a_worker_that_restarts_replaces_its_predecessor() {
    let mut stage = Stage::new(&["played"], 1);
    let first = stage.worker("w1").service_uuid().to_string();
    let second = stage.worker("w1");
    let state = stage.wait_state("the new one", |state| state["connected_workers"].get(&first).is_none());
    assert_eq!(state["connected_workers"].as_object().unwrap().len(), 1);
    assert!(state["connected_workers"].get(second.service_uuid().to_string()).is_some());
}

#[test]
fn pings_that_are_none_are_counted_and_never_published() {
    let mut stage = Stage::new(&["played"], 1);
    let worker = stage.worker("w1");
    let url = format!("tcp://127.0.0.1:{}", stage.settings.ingesters[0].port);
    let uuid = worker.service_uuid();
    let junk: [(&[u8], &[u8]); 5] =
        [(b"w2", b""), (b"w3", b"not 16"), (b"w4", &[7; 16]), (b"a:b", uuid.as_bytes()), (b"\xff\xfe", b"")];
    for (name, ping) in junk {
        let socket = zmq::Context::new().socket(zmq::DEALER).unwrap();
        socket.set_identity(name).unwrap();
        socket.connect(&url).unwrap();
        socket.send(ping, 0).unwrap();
        drop(socket); // lingers until it is sent
    }
    stage.wait_report("the junk", |report| report.counters["messages_invalid"] >= 5);
    let state = stage.wait_state("the worker", |state| !state["connected_workers"].as_object().unwrap().is_empty());
    assert_eq!(state["connected_workers"].as_object().unwrap().len(), 1);
}

#[test]
fn a_clean_stop_removes_the_state_at_once() {
    let mut stage = Stage::new(&["played"], 1);
    stage.wait_state("anything", |_| true);
    stage.stop_host();
    assert_eq!(stage.controller.state("played-ingester"), None);
}

#[test]
fn a_clean_stop_leaves_the_state_of_a_second_instance() {
    let mut stage = Stage::new(&["played"], 1);
    let mine = stage.wait_state("anything", |_| true);
    // The state of another instance, written repeatedly as that instance would: the last writer wins.
    let other = mine.to_string().replace(mine["service_uuid"].as_str().unwrap(), &uuid::Uuid::new_v4().to_string());
    let writes = stage.redis.writes_of(&key("played-ingester"));
    writes.recv_timeout(LIMIT).unwrap();
    let _: () = stage.redis.ask(&["SETEX", &key("played-ingester"), "10", &other]);
    stage.stop_host();
    assert_eq!(stage.controller.state("played-ingester").unwrap().to_string(), other);
}

#[test]
fn the_hash_is_null_until_an_update_was_processed_and_then_the_references() {
    let mut stage = Stage::new(&["played"], 1);
    stage.wait_state("no hash", |state| state["parameters_hash"].is_null());
    stage.controller.repeat();
    let empty = stage.controller.wait_hash("played-ingester");
    assert_eq!(empty["parameters_hash"], "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    for (name, value) in [("b", "1"), ("a", "2"), ("Z", "3"), ("ü", "4"), ("b", "5")] {
        stage.controller.set_parameter(name, value.as_bytes());
        stage.controller.wait_hash("played-ingester");
    }
    // A new controller knows other parameters: parameters that it does not know are ignored.
    stage.controller.parameters.remove("Z");
    stage.controller.repeat();
    stage.controller.wait_hash("played-ingester");
}

#[test]
fn a_parameter_counts_only_when_its_value_was_fetched() {
    let mut stage = Stage::new(&["played-missing"], 1);
    let ingester = "played-missing-ingester";
    stage.controller.set_parameter("known", b"1");
    let known = stage.controller.wait_hash(ingester);
    let version = uuid::Uuid::new_v4();
    stage.controller.parameters.insert("played-missing_gain".to_owned(), version);
    stage.controller.repeat();
    stage.wait_complaints("parameter_values_missing", 1);
    let still = stage.controller.state(ingester).unwrap();
    assert_eq!(still["parameters_hash"], known["parameters_hash"]);
    // The controller writes it again, and repeats its update.
    let key = format!("dranspose:parameters:played-missing_gain:{version}");
    let _: () = stage.redis.ask(&["SET", &key, "0.25"]);
    stage.controller.repeat();
    stage.controller.wait_hash(ingester);
    wait_for("the value", LIMIT, || {
        (played::values("played-missing") == [("gain".to_owned(), b"0.25".to_vec())]).then_some(())
    });
}

#[test]
fn values_of_all_types_reach_the_source_once_and_in_order() {
    let mut stage = Stage::new(&["played-values"], 1);
    let given: [(&str, &[u8]); 6] = [
        ("text", "grün".as_bytes()),
        ("mask", &[0, 255, 1]),
        ("count", b"-7"),
        ("gain", b"0.1"),
        ("on", b"False"),
        ("on", b"True"),
    ];
    for (name, value) in given {
        stage.controller.store_parameter(&format!("played-values_{name}"), value);
        let update = stage.controller.update(&[], false);
        stage.controller.publish_together(&[update.clone(), update]);
    }
    stage.controller.wait_hash("played-values-ingester");
    let expected: Vec<_> = given.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
    wait_for("the values", LIMIT, || (played::values("played-values") == expected).then_some(()));
}

#[test]
fn a_refused_value_is_a_fault_in_the_report_until_a_good_one_comes_and_the_hash_is_published() {
    let mut stage = Stage::new(&["played-refused"], 1);
    stage.controller.set_parameter("played-refused_count", b"many");
    stage.controller.wait_hash("played-refused-ingester");
    let says = |report: &framegate::Report| {
        report
            .faults
            .iter()
            .any(|fault| fault.contains("played-refused") && fault.contains("count") && fault.contains("many"))
    };
    stage.wait_report("the refusal", says);
    stage.controller.set_parameter("played-refused_count", b"3");
    stage.wait_report("no refusal", |report| report.faults.is_empty());
}

#[test]
fn descriptions_are_published_with_the_state_and_expire_with_it() {
    let mut stage = Stage::new(&["played"], 1);
    stage.wait_state("anything", |_| true);
    let described = |name: &str| -> Option<String> {
        stage.redis.ask(&["GET", &format!("dranspose:parameter_description:played_{name}")])
    };
    for (name, rest) in [
        ("text", r#""dtype":"str","default":"grün \"x\""}"#),
        ("mask", r#""dtype":"binary","default":"AB"}"#),
        ("count", r#""dtype":"int","default":-5}"#),
        ("gain", r#""dtype":"float","default":2.0}"#),
        ("on", r#""dtype":"bool","default":true}"#),
    ] {
        let expected = format!(r#"{{"name":"played_{name}","description":"The {name} of it",{rest}"#);
        assert_eq!(described(name), Some(expected));
        let left: i64 = stage.redis.ask(&["PTTL", &format!("dranspose:parameter_description:played_{name}")]);
        assert!((1..=10_000).contains(&left), "{left}");
    }
}
