//! An ingester that is killed and restarted, and two instances with one name: the real command, a real Redis.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{net::SocketAddr, path::Path, time::Duration};

use framegate_tests::{
    controller::{Controller, LIMIT},
    detector::Detector,
    framegate,
    host::Host,
    process::{free_port, wait_for},
    redis::RedisServer,
    standalone::{images, numbers},
    worker::Worker,
};
use serde_json::{Value, json};

const NAME: &str = "eiger-ingester";

/// An instance of the ingester, in its own folder.
fn start(redis: &RedisServer, folder: &Path, name: &str, port: u16) -> Host {
    start_with(redis, folder, name, port, "tcp://127.0.0.1:9")
}

fn start_with(redis: &RedisServer, folder: &Path, name: &str, port: u16, detector: &str) -> Host {
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut command = framegate::command();
    command.args(["ingester", "-n", "eiger", "-c", "ZmqPullSingleIngester", "-u", detector]);
    command.env("INGESTER_URL", format!("tcp://127.0.0.1:{port}")).env("FRAMEGATE_ADMIN", admin.to_string());
    command.env("SERVICE_REDIS_DSN", redis.url());
    Host::with(&mut command, &folder, admin)
}

fn uuid(host: &mut Host) -> Value {
    host.wait_for("a status", |ingester| ingester["service_uuid"].is_string())["service_uuid"].clone()
}

/// The fault in control about `about`.
fn fault(host: &Host, about: &str) -> Option<String> {
    Some(host.status().ok()?["control"]["faults"][format!("{about} {NAME}")].as_str()?.to_owned())
}

fn wait_fault(host: &Host, says: &str) {
    wait_for(says, LIMIT, || fault(host, "instances of ingester").filter(|fault| fault.contains(says)));
}

#[test]
fn of_two_instances_of_one_name_the_younger_serves_and_the_older_steps_back_until_it_is_gone() {
    let (redis, folder) = (RedisServer::start(), tempfile::tempdir().unwrap());
    let mut controller = Controller::new(&redis);
    let mut old = start(&redis, folder.path(), "old", free_port());
    let olds = uuid(&mut old);
    controller.wait_state(NAME, "the old one", |state| state["service_uuid"] == olds);
    let mut young = start(&redis, folder.path(), "young", free_port());
    let youngs = uuid(&mut young);
    controller.wait_state(NAME, "the young one", |state| state["service_uuid"] == youngs);
    wait_fault(&old, "a younger instance of this name is running (service uuid ");
    wait_fault(&young, "is also running, and has stepped back");

    // Only the younger instance writes the key now.
    let writes = redis.writes_of(&format!("dranspose:ingester:{NAME}:config"));
    for _ in 0..3 {
        writes.recv_timeout(LIMIT).unwrap();
        assert_eq!(controller.state(NAME).unwrap()["service_uuid"], youngs);
    }
    // Only the young one takes part in a scan and sends its notice.
    controller.scan(NAME, &["eiger"]);
    let active = |host: &mut Host| host.ingester().unwrap()["streams"]["eiger"]["active"].clone();
    assert_eq!(active(&mut young), true);
    wait_for("the old one to leave it", LIMIT, || {
        fault(&old, "ingester").filter(|fault| fault.contains("has its streams (eiger)"))
    });
    assert_eq!(active(&mut old), false);
    controller.finish_and_wait(NAME);

    assert!(young.stop(LIMIT).success());
    controller.wait_state(NAME, "the old one again", |state| state["service_uuid"] == olds);
    assert_eq!(fault(&old, "instances of ingester"), None);
    controller.scan(NAME, &["eiger"]);
    assert_eq!((active(&mut old), fault(&old, "ingester")), (json!(true), None));
    let log = old.log();
    assert_eq!(log.matches("a younger instance of this name").count(), 2, "{log}"); // and for the scan that it left
    assert_eq!(log.matches("this one is active again").count(), 1, "{log}");
    assert_eq!(young.log().matches("has stepped back").count(), 1, "{}", young.log());
    assert!(old.stop(LIMIT).success());
    let left: Vec<String> = redis.ask(&["KEYS", "*ingester*"]);
    assert_eq!(left, [""; 0]);
}

#[test]
fn an_older_instance_that_does_not_step_back_is_said_once() {
    // Builds what is missing before the key's expiry starts.
    framegate::built();
    let (redis, folder) = (RedisServer::start(), tempfile::tempdir().unwrap());
    let mut controller = Controller::new(&redis);
    // As a Python ingester with this name would write it.
    let other = json!({"service_uuid": uuid::Uuid::new_v4(), "url": "tcp://elsewhere:10000"}).to_string();
    let key = format!("dranspose:ingester:{NAME}:config");
    let write = || redis.ask::<()>(&["SETEX", &key, "10", &other]);
    write();
    let mut host = start(&redis, folder.path(), "one", free_port());
    let own = uuid(&mut host);
    let says = |host: &Host| fault(host, "instances of ingester").filter(|fault| fault.contains("does not step back"));
    let mut turns = 0;
    wait_for("it to be said", LIMIT, || {
        controller.wait_state(NAME, "ours", |state| state["service_uuid"] == own);
        write();
        turns += 1;
        says(&host)
    });
    for _ in 0..3 {
        controller.wait_state(NAME, "ours", |state| state["service_uuid"] == own);
        write();
    }
    assert!(says(&host).unwrap().contains("tcp://elsewhere:10000"));
    assert!(turns > 1 && host.log().matches("does not step back").count() == 1, "{}", host.log());
}

#[test]
fn an_ingester_that_is_killed_in_a_scan_is_back_soon_ends_it_without_a_wrong_pair_and_the_next_is_whole() {
    let (redis, folder) = (RedisServer::start(), tempfile::tempdir().unwrap());
    let (mut controller, mut detector) = (Controller::new(&redis), Detector::bind());
    let port = free_port();
    let mut first = start_with(&redis, folder.path(), "first", port, &detector.url);
    let firsts = uuid(&mut first);
    controller.wait_state(NAME, "the first", |state| state["service_uuid"] == firsts);
    let worker = Worker::connect("w1", &format!("tcp://127.0.0.1:{port}"));
    let connected = |state: &Value| state["connected_workers"].get(worker.service_uuid().to_string()).is_some();
    controller.wait_state(NAME, "the worker", connected);
    controller.set_parameter("whatever", b"1");
    controller.scan(NAME, &["eiger"]);
    let to_w1: &[(&str, &[&str])] = &[("eiger", &["w1"])];
    controller.assign(&[to_w1; 3]);
    detector.header();
    detector.image(b"of the first scan");
    assert_eq!([worker.next(), worker.next()].map(|message| message.number()), [0, 1]);

    drop(first); // SIGKILL
    let mut second = start_with(&redis, folder.path(), "second", port, &detector.url);
    controller.wait_state(NAME, "the second", |state| state["service_uuid"] != firsts);
    // It did not wait until the first one's key expired.
    let statistics: String = redis.ask(&["INFO", "stats"]);
    assert!(statistics.contains("expired_keys:0\r\n"), "{statistics}");
    assert_eq!(fault(&second, "instances of ingester"), None, "the key was taken over from one that is gone");

    // As the controller does every two seconds while the hashes differ.
    controller.repeat();
    controller.wait_ready(NAME);
    controller.wait_hash(NAME);
    controller.repeat();
    controller.wait_state(NAME, "the worker again", connected);
    assert!(fault(&second, "ingester").is_some_and(|fault| fault.contains("in the middle of scan")));
    // The detector continues, and so does the controller.
    if !detector.is_held_back_for(Duration::ZERO) {
        detector.image(b"of the first scan");
    }
    controller.assign(&[to_w1; 2]);
    // An event from this would arrive before the next scan's events.
    controller.finish_and_wait(NAME);

    controller.scan(NAME, &["eiger"]);
    controller.assign(&[to_w1; 4]);
    detector.run([b"one".to_vec(), b"two".to_vec()]);
    let messages: Vec<_> = (0..4).map(|_| worker.next()).collect();
    assert_eq!(numbers(&messages), [0, 1, 2, 3]);
    assert_eq!(images(&messages), [b"one", b"two"]);
    controller.finish_and_wait(NAME);
    assert_eq!(fault(&second, "ingester"), None);
    assert!(second.stop(LIMIT).success());
}
