//! Hot swap of sources, with the real program and without a controller: what takes over when, and what a refusal leaves.
//!
//! The swaps under a real controller are in `swap_peer.rs`.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{fs, path::Path, process::Output};

use framegate_tests::{
    alone::marked,
    host::{Host, LIMIT},
    process::{free_port, wait_for},
    worker::{Message, Worker},
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Events of a run of the plugin `marked`.
const EVENTS: u64 = 10;

/// A host whose stream `camera` is fed by version 1.0.0 of `marked`, and a worker. Scans wait in their middle for a word.
struct House {
    folder: TempDir,
    host: Host,
    worker: Worker,
}

impl House {
    fn start() -> Self {
        Self::with("")
    }

    fn with(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("tcp://127.0.0.1:{}", free_port());
        let go = folder.path().join("go");
        let host = Host::start(
            folder.path(),
            &format!(
                "source_timeout = \"2 s\"\n{more}\n[standalone]\n[[ingester]]\nurl = \"{url}\"\n\
                 [[ingester.stream]]\nname = \"camera\"\nsource = \"{}\"\n\
                 [ingester.stream.settings]\nevents = {EVENTS}\nbytes = 5000\nhalf_when = \"{}\"\n",
                marked("1.0.0").display(),
                go.display()
            ),
        );
        let worker = Worker::connect("w1", &url);
        Self { folder, host, worker }
    }

    /// The rest of the events of a scan whose first half was read, and the first half of the next one.
    fn rest_and_next_half(&self) -> (Vec<Value>, Vec<Value>) {
        fs::write(self.folder.path().join("go"), "").unwrap();
        (self.half(), self.half())
    }

    /// What the next half of a scan's events say of themselves.
    fn half(&self) -> Vec<Value> {
        (0..EVENTS / 2).map(|_| about(&self.worker.next())).collect()
    }

    fn receipt(&self, number: u64) -> Value {
        serde_json::from_str(&self.host.get(&format!("/swaps/{number}")).unwrap()).unwrap()
    }

    fn wait_receipt(&self, number: u64, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        wait_for(what, LIMIT, || Some(self.receipt(number)).filter(&wanted))
    }

    fn swap(&self, plugin: &Path) -> Output {
        self.host.swap(&["camera", plugin.to_str().unwrap()])
    }
}

fn about(message: &Message) -> Value {
    let frames = message.stream("camera").unwrap();
    let about: Value = serde_json::from_slice(&frames[0]).unwrap();
    let version = about["version"].as_str().unwrap().as_bytes()[0];
    assert!(frames[1].iter().all(|byte| *byte == version), "the payload is another version's than {about}");
    about
}

fn all_of(version: &str, events: &[Value]) -> bool {
    events.iter().all(|event| event["version"] == version)
}

fn numbers(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["event"].as_u64().unwrap()).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_swap_during_a_scan_waits_for_its_end_and_takes_over_in_the_next() {
    let house = House::start();
    let first = house.half();
    let output = house.swap(&marked("2.0.0"));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(said.contains("takes over at the next scan start") && said.contains("2.0.0"), "{said}");

    let status = house.host.status().unwrap();
    assert_eq!(
        (&status["sources"][0]["pending"], &status["sources"][0]["identity"]["version"]),
        (&json!(1), &json!("1.0.0"))
    );
    let receipt = house.receipt(1);
    assert_eq!((&receipt["state"], &receipt["asked_by"]), (&json!("pending"), &json!("command")));

    let (rest, next) = house.rest_and_next_half();
    assert!(all_of("1.0.0", &first) && all_of("1.0.0", &rest), "{first:?} {rest:?}");
    assert_eq!(numbers(&[first, rest].concat()), (0..EVENTS).collect::<Vec<_>>());
    assert!(all_of("2.0.0", &next), "{next:?}");

    let receipt = house.wait_receipt(1, "the frames", |receipt| receipt["old"]["settled_at"].is_string());
    let old = &receipt["old"];
    assert_eq!((&old["events"], &old["frames"], &old["frames_returned"]), (&json!(10), &json!(20), &json!(20)));
    assert_eq!(receipt["from"]["version"], "1.0.0");
    for key in ["file", "sha256", "name", "version", "abi", "compiler"] {
        assert!(receipt["from"][key].is_string() && receipt["to"][key].is_string(), "{key}: {receipt:#}");
    }
    let status = house.host.status().unwrap();
    assert_eq!(status["sources"][0]["identity"]["version"], "2.0.0");
    assert!(status["sources"][0]["pending"].is_null());
    let log = house.host.log();
    assert!(log.contains("all of its 20 frames are back"), "{log}");
}
