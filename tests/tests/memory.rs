//! A complete scan of the real command under valgrind: frames of a loaded plugin are sent to several workers at once,
//! and are released on another thread than the one that created them; at the end everything is freed.
//!
//! `tests/run memory` runs a longer one, with `FRAMEGATE_MEMORY_EVENTS` events.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{env, process::Command, time::Duration};

use serde_json::Value;

use framegate_tests::{
    detector::Detector,
    framegate,
    host::{Host, write_configuration},
    process::{free_port, wait_for},
    standalone::{Wish, configuration, images, is_end},
    worker::Worker,
};

/// Valgrind reads all debug information before it starts, and is twenty times slower.
const PATIENCE: Duration = Duration::from_secs(120);
/// Valgrind's exit status for a finding.
const FOUND: &str = "--error-exitcode=99";

#[test]
fn a_scan_that_several_workers_share_touches_only_memory_that_is_there() {
    let events: u32 = env::var("FRAMEGATE_MEMORY_EVENTS").map_or(30, |events| events.parse().unwrap());
    let (folder, mut detector) = (tempfile::tempdir().unwrap(), Detector::bind());
    let url = format!("tcp://127.0.0.1:{}", free_port());
    let standalone = "min_workers = 3\nbroadcast = true\nscans = 2";
    let capture = format!("dump_path = \"{}\"", folder.path().join("capture.cbors").display());
    let wish = Wish { standalone, ingester: &capture, ..Wish::default() };
    let (file, admin) = write_configuration(folder.path(), &configuration(&url, &detector.url, &wish));
    let mut command = under_valgrind(framegate::command().args(["run", "--config"]).arg(file));
    let mut host = Host::with(&mut command, folder.path(), admin);
    let began = |ingester: &Value| ingester["state"] == "running" && ingester["streams"]["camera"]["read"] == 0;
    wait_for("the first scan", PATIENCE, || host.ingester().ok().filter(began));
    let workers = ["w1", "w2", "w3"].map(|name| Worker::connect(name, &url));
    // From sizes that are copied to sizes that span many pages.
    let image = |number: u32| vec![number as u8; [100, 3000, 70_000, 300_000][number as usize % 4]];
    for scan in 0..2 {
        wait_for("the workers and the scan", PATIENCE, || {
            let is_connected = |worker: &&Value| worker["connected"] == true;
            let connected =
                |ingester: &Value| Some(ingester["workers"].as_array()?.iter().filter(is_connected).count());
            host.ingester().ok().filter(|ingester| began(ingester) && connected(ingester) == Some(3))
        });
        detector.run((0..events).map(image));
        for worker in &workers {
            let got = worker.until(is_end);
            assert!(images(&got).into_iter().eq((0..events).map(image)), "scan {scan}, {}", worker.name());
        }
    }
    let status = host.wait(PATIENCE);
    assert!(status.success(), "valgrind has found something, see below: {status}");
}

/// The same command under valgrind, which checks every access to memory.
fn under_valgrind(command: &Command) -> Command {
    // Threads take turns by time, or a busy-waiting thread would block the others.
    let arguments = ["--quiet", "--fair-sched=yes", "--read-inline-info=no", "--vgdb=no", FOUND];
    framegate::wrapped("valgrind", &arguments, command)
}
