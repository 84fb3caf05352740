//! Checks that dranspose accepts what an ingester publishes in Redis, and that an ingester works with a real
//! controller.
//!
//! Needs a Python with dranspose, in the variable FRAMEGATE_PEER_PYTHON (`tests/run` sets it). Without it, these tests
//! report a skip.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    ffi::OsString,
    io::Write,
    process::{Command, Stdio},
};

use framegate::settings::Control;
use framegate_tests::{
    controller::LIMIT,
    played,
    process::{Process, free_port, wait_for},
    redis::RedisServer,
    stage::Stage,
};
use serde_json::{Value, json};

fn peer() -> Option<OsString> {
    let python = std::env::var_os("FRAMEGATE_PEER_PYTHON");
    if python.is_none() {
        framegate_skip::skip("FRAMEGATE_PEER_PYTHON names no Python with dranspose");
    }
    python
}

#[test]
fn what_is_published_passes_the_peers_models() {
    let Some(python) = peer() else { return };
    let folder = tempfile::tempdir().unwrap();
    let meta = folder.path().join("meta.json");
    let written = json!({"commit_hash": "0a1b", "branch_name": "main", "timestamp": "2024-05-02T14:22:45+02:00",
                         "repository_url": "https://example.org/repository.git"});
    std::fs::write(&meta, written.to_string()).unwrap();
    let mut stage = Stage::with(RedisServer::start(), &["eiger", "played-peer"], 3, |settings| {
        if let Control::Redis(to_redis) = &mut settings.control {
            to_redis.build_meta.clone_from(&meta);
        }
    });
    let worker = stage.worker("w1");
    let first = stage.wait_state("anything", |_| true);
    stage.scan(&["eiger"]);
    let to_one: &[(&str, &[&str])] = &[("eiger", &["w1"])];
    stage.controller.assign(&[to_one; 5]);
    (0..5).for_each(|_| drop(worker.next()));
    let last = stage.wait_state("the rate", |state| state["event_rate"].as_f64().is_some_and(|rate| rate > 0.0));
    assert_eq!(last["mapreduce_version"]["timestamp"], "2024-05-02T12:22:45Z");
    stage.finish();
    let mut lines = vec![format!("IngesterState {first}"), format!("IngesterState {last}")];
    lines.extend(stage.controller.notices().iter().map(|notice| format!("DistributedUpdate {notice}")));
    let keys: Vec<String> = stage.redis.ask(&["KEYS", "dranspose:parameter_description:*"]);
    assert_eq!(keys.len(), 5);
    for key in keys {
        lines.push(format!("Parameter {}", stage.redis.ask::<String>(&["GET", &key])));
    }
    let mut judge = Command::new(python)
        .args(["-c", JUDGE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("FRAMEGATE_PEER_PYTHON is a program");
    judge.stdin.take().unwrap().write_all(lines.join("\n").as_bytes()).unwrap();
    let output = judge.wait_with_output().unwrap();
    assert!(output.status.success(), "the peer refuses what was published");
    let back: Vec<&str> = std::str::from_utf8(&output.stdout).unwrap().lines().collect();
    assert_eq!(back.len(), lines.len());
    for (line, back) in lines.iter().zip(back) {
        let json = |line: &str| serde_json::from_str::<Value>(line.split_once(' ').unwrap().1).unwrap();
        assert_eq!(json(line), json(back), "the peer reads something else");
    }
}

#[test]
fn a_real_controller_sets_the_defaults_of_a_sources_parameters_and_finds_the_hash_right() {
    let Some(python) = peer() else { return };
    let (redis, folder) = (RedisServer::start(), tempfile::tempdir().unwrap());
    let mut command = Command::new(python);
    command.args(["-m", "uvicorn", "dranspose.controller:app", "--port", &free_port().to_string()]);
    command.env("SERVICE_REDIS_DSN", redis.url());
    let mut stage = Stage::with(redis, &["played-real"], 1, |_| {});
    let mut process = Process::start("controller", &mut command, folder.path());
    let defaults = [("count", "-5"), ("gain", "2.0"), ("mask", "AB"), ("on", "True"), ("text", "grün \"x\"")];
    let expected: Vec<_> =
        defaults.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    wait_for("the defaults", LIMIT, || {
        assert!(process.ended().is_none(), "the controller has ended");
        let mut values = played::values("played-real");
        values.sort();
        (values == expected).then_some(())
    });
    // While the hashes differ, it repeats its update every two seconds; when they match, it stops.
    let length = |stage: &Stage| stage.redis.ask::<u64>(&["XLEN", "dranspose:controller:updates"]);
    let writes = stage.redis.writes_of("dranspose:ingester:played-real-ingester:config");
    let mut before = 0;
    wait_for("silence", LIMIT, || {
        (0..4).for_each(|_| _ = writes.recv_timeout(LIMIT).unwrap());
        let now = length(&stage);
        (std::mem::replace(&mut before, now) == now).then_some(())
    });
    let state = stage.wait_state("the mapping of the controller", |state| state["mapping_uuid"].is_string());
    assert_eq!(state["parameters_hash"].as_str().unwrap().len(), 64);
    process.stop(LIMIT);
    // It deleted its streams when it ended; a second controller is served like the first.
    let process = Process::start("controller", &mut command, folder.path());
    stage.wait_state("the mapping of the second", |now| {
        now["mapping_uuid"].is_string() && now["mapping_uuid"] != state["mapping_uuid"]
    });
    // A killed controller leaves its streams, and their old entries must not have any effect.
    let (second, own) = (stage.wait_state("its mapping", |_| true), stage.report().service_uuid);
    drop(process);
    let mut process = Process::start("controller", &mut command, folder.path());
    let third = stage.wait_state("the mapping of the third", |now| {
        now["mapping_uuid"].is_string() && now["mapping_uuid"] != second["mapping_uuid"]
    });
    assert_eq!((&third["service_uuid"], stage.report().service_uuid), (&second["service_uuid"], own));
    process.stop(LIMIT);
}

/// Reads with the peer's models, and writes the result.
const JUDGE: &str = "
import sys
from dranspose.protocol import IngesterState, DistributedUpdate
from dranspose.parameters import Parameter
for line in sys.stdin:
    kind, text = line.rstrip('\\n').split(' ', 1)
    if kind == 'IngesterState':
        print(kind, IngesterState.model_validate_json(text).model_dump_json())
    else:
        adapter = {'DistributedUpdate': DistributedUpdate, 'Parameter': Parameter}[kind]
        print(kind, adapter.validate_json(text).model_dump_json())
";
