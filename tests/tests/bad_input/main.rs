//! Bad input over real sockets: from a detector into the real program, with the plugin loaded from its file.
//!
//! Each source gets the same cases: `zmq.rs` has the ones for all sources on ZeroMQ, `tcp.rs` the ones for position
//! capture over TCP. Bad input is counted and logged once with its reason, the next valid message is served, memory
//! stays flat, and the rest of the program is not affected.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod cases;
mod tcp;
mod zmq;

use std::{collections::BTreeMap, time::Duration};

use framegate_tests::{
    framegate::{self, plugin},
    host::Host,
    process::free_port,
    protocols::Parts,
    worker::Worker,
};
use serde_json::Value;
use tempfile::TempDir;

/// The program with one stream, `camera`, and a worker.
struct Room {
    /// The plugin.
    source: String,
    host: Host,
    worker: Worker,
    /// Number of events that the worker has received.
    events: u64,
    /// The expected count for each reason, given completely or in part.
    expected: BTreeMap<&'static str, u64>,
    _folder: TempDir,
}

impl Room {
    fn new(source: &str, upstream: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("tcp://127.0.0.1:{}", free_port());
        let configuration = format!(
            "[standalone]\n[[ingester]]\nurl = \"{url}\"\n[[ingester.stream]]\nname = \"camera\"\nsource = \"{}\"\n\
             [ingester.stream.settings]\nupstream_url = \"{upstream}\"\nconnect_wait = \"5 s\"\n",
            plugin(source).display()
        );
        let mut host = Host::start(folder.path(), &configuration);
        host.wait_for("the first scan", |ingester| ingester["state"] == "running");
        let worker = host.worker("w1", &url);
        let uuid = worker.service_uuid().to_string();
        host.wait_for("the worker", |ingester| ingester["workers"][0]["service_uuid"] == uuid.as_str());
        Self { source: source.to_owned(), host, worker, events: 0, expected: BTreeMap::new(), _folder: folder }
    }

    /// Checks that the next event is this one.
    fn gets(&mut self, event: &Parts, when: &str) {
        let got = self.worker.next();
        assert!(got.frames == *event, "{when}: {:?} instead of {:?}", shown(&got.frames), shown(event));
        assert_eq!(got.number(), self.events, "{when}");
        self.events += 1;
    }

    /// Expects `count` further messages under this reason.
    fn expects(&mut self, reason: &'static str, count: u64) {
        *self.expected.entry(reason).or_default() += count;
    }

    /// Waits until the counts are as expected; returns the stream's status.
    fn counted(&mut self, what: &str) -> Value {
        let expected = self.expected.clone();
        let is_as_expected = |ingester: &Value| {
            let skipped = ingester["streams"]["camera"]["skipped"].as_object();
            let count = |reason: &str| {
                let found = skipped.into_iter().flatten().filter(|(known, _)| known.contains(reason));
                found.filter_map(|(_, count)| count.as_u64()).sum::<u64>()
            };
            count("") == expected.values().sum::<u64>() && expected.iter().all(|(reason, n)| count(reason) == *n)
        };
        self.host.wait_for(&format!("{what}: {expected:?}"), is_as_expected)["streams"]["camera"].take()
    }

    /// Runs `send`, and checks how much the peak memory grew until everything is counted.
    fn memory_stays_flat(&mut self, what: &str, limit: u64, send: impl FnOnce(&mut Self)) {
        self.host.forget_peak();
        let before = self.host.peak_memory();
        send(self);
        self.counted(what);
        let more = self.host.peak_memory().saturating_sub(before);
        println!("{what}: {:.1} MiB more than before", more as f64 / f64::from(1 << 20));
        assert!(more <= limit, "{what}: {more} bytes more than before");
    }

    /// Checks the counters after all messages were sent and before the run ends.
    fn account(&mut self, last_invalid: &str, runs: u64) {
        let stream = self.counted("the whole account");
        let junk = stream["skipped"]["before the start of a run"].as_u64().unwrap();
        let invalid: u64 = self.expected.values().sum::<u64>() - junk;
        assert_eq!(stream["received"]["invalid"], invalid, "{stream:#}");
        assert_eq!(stream["received"]["runs_so_far"], runs, "{stream:#}");
        // All protocols number their data, except one.
        let numbered = !stream["received"]["lost_on_the_way"].is_null();
        assert_eq!(numbered, self.source != "contrast", "{stream:#}");
        let last = stream["last_invalid"].as_str().unwrap();
        assert!(last.contains(last_invalid), "{last}");

        let log = self.host.log();
        for reason in stream["skipped"].as_object().unwrap().keys().filter(|reason| !reason.starts_with("before")) {
            let lines = log.lines().filter(|line| line.contains("WARN") && line.contains(&**reason));
            assert_eq!(lines.count(), 1, "{reason}, in\n{log}");
        }
        assert!(!log.contains("panicked") && log.lines().count() < 60, "{log}");

        let mut status = framegate::command();
        let told = status.args(["status", "--url", &self.host.admin().to_string()]).output().unwrap();
        let told = String::from_utf8(told.stdout).unwrap();
        let line =
            told.lines().find(|line| line.contains("last invalid message: ")).unwrap_or_else(|| panic!("{told}"));
        assert!(line.contains(last_invalid), "{told}");

        let ingester = self.host.ingester().unwrap();
        assert!(ingester["counters"]["source_failures"].as_u64().unwrap_or(0) == 0, "{ingester:#}");
        assert_eq!((&ingester["faults"], &ingester["state"]), (&Value::Array(vec![]), &"running".into()));
        assert!(self.host.ended().is_none());
    }

    /// The program ends on request.
    fn ends(mut self) {
        assert!(self.host.stop(Duration::from_secs(10)).success());
    }
}

fn shown(parts: &[Vec<u8>]) -> Vec<String> {
    parts.iter().map(|part| part[..part.len().min(200)].escape_ascii().to_string()).collect()
}

/// Allowance in memory limits besides the message itself: threads, network buffers, memory kept by the allocator.
const LITTLE: u64 = 64 << 20;
