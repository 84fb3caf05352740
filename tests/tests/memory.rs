//! A whole scan of the real command under valgrind: frames of a loaded plugin go to several workers at once, so the last of libzmq's
//! threads that is done with one releases it; and everything is given up in the end.
//!
//! `tests/run memory` runs more of it, with `FRAMEGATE_MEMORY_EVENTS` events.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{env, fs, path::Path, process::Command, time::Duration};

use framegate_tests::{
    detector::Detector,
    framegate,
    host::{Host, write_configuration},
    process::free_port,
    standalone::{Wish, configuration, images, is_end},
    worker::Worker,
};

/// What valgrind's status is when it has found something.
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
    let log = folder.path().join("valgrind.log");
    let mut command = under_valgrind(framegate::command().args(["run", "--config"]).arg(file), &log);
    let mut host = Host::with(&mut command, folder.path(), admin);
    host.wait_for("the first scan", |ingester| ingester["state"] == "running");

    let workers = ["w1", "w2", "w3"].map(|name| Worker::connect(name, &url));
    // From what is copied to what spans many pages.
    let image = |number: u32| vec![number as u8; [100, 3000, 70_000, 300_000][number as usize % 4]];
    for scan in 0..2 {
        host.wait_for("the workers and the scan", |ingester| {
            let is_connected = |worker: &&serde_json::Value| worker["connected"] == true;
            ingester["workers"].as_array().is_some_and(|all| all.iter().filter(is_connected).count() == 3)
                && ingester["state"] == "running"
                && ingester["streams"]["camera"]["read"] == 0
        });
        detector.run((0..events).map(image));
        for worker in &workers {
            let got = worker.until(is_end);
            assert!(images(&got).into_iter().eq((0..events).map(image)), "scan {scan}, {}", worker.name());
        }
    }
    let status = host.wait(Duration::from_secs(60));
    let found = fs::read_to_string(log).unwrap();
    assert!(status.success() && found.is_empty(), "{status}\n{found}");
}

/// The same command, whose every access to memory is looked at.
fn under_valgrind(command: &Command, log: &Path) -> Command {
    let mut valgrind = Command::new("valgrind");
    // Threads take turns by the clock, else one that waits busily would keep the others waiting.
    valgrind.args(["--quiet", "--fair-sched=yes", FOUND]);
    valgrind.arg(format!("--log-file={}", log.display()));
    valgrind.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => valgrind.env(name, value),
            None => valgrind.env_remove(name),
        };
    }
    valgrind
}
