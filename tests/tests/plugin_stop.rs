//! "Stop" only tells a source that its current work is no longer needed; work that is no longer needed is not started.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{fs, path::PathBuf};

use framegate::SourceState;
use framegate_tests::{
    alone::bad_plugin, controller::LIMIT, process::wait_for, redis::RedisServer, stage::Stage, worker::Worker,
};
use serde_json::json;

/// A stage whose first stream is fed by the plugin with these faults, and the folder with its notes.
fn stage(streams: &[&str], faults: &[&str]) -> (Stage, tempfile::TempDir) {
    let (folder, plugin) = (tempfile::tempdir().unwrap(), bad_plugin("fails_as_told"));
    let stage = Stage::with(RedisServer::start(), streams, 1, |settings| {
        let stream = &mut settings.ingesters[0].streams[0];
        stream.source = plugin.to_str().unwrap().to_owned();
        stream.settings = json!({ "faults": faults, "folder": folder.path() });
    });
    (stage, folder)
}

/// How often the plugin's `open` was called.
fn opened(folder: &tempfile::TempDir) -> usize {
    fs::read_to_string(folder.path().join("open")).unwrap_or_default().len()
}

fn go(folder: &tempfile::TempDir) {
    let file: PathBuf = folder.path().join("go");
    fs::write(file, "").unwrap();
}

#[test]
fn a_parameter_that_arrives_while_a_source_opens_does_not_stop_it() {
    let (mut stage, folder) = stage(&["played-bad"], &["open waits"]);
    let name = stage.name.clone();
    stage.controller.start_scan(&["played-bad"]);
    wait_for("open to be called", LIMIT, || (opened(&folder) == 1).then_some(()));
    stage.controller.set_parameter("played-bad_gain", b"7");
    stage.controller.wait_hash(&name);
    // The ingester handles its orders before it sees a worker.
    let _worker: Worker = stage.worker("w1");
    go(&folder);
    stage.controller.wait_ready(&name);
    let report = stage
        .wait_report("the run", |report| report.streams.values().all(|stream| stream.source != SourceState::Opening));
    let bad = report.streams.values().next().unwrap();
    assert!(bad.source != SourceState::Failed, "{report:#?}");
}

#[test]
fn a_scan_that_is_replaced_before_its_source_could_open_costs_the_source_nothing() {
    let (mut stage, folder) = stage(&["played-bad", "played-2", "played-3"], &["open hangs"]);
    let name = stage.name.clone();
    stage.controller.start_scan(&["played-bad"]);
    wait_for("open to be called", LIMIT, || (opened(&folder) == 1).then_some(()));
    for other in ["played-2", "played-3"] {
        stage.controller.start_scan(&["played-bad", other]);
        // Its orders have been given.
        stage.wait_report(other, |report| {
            report.streams.iter().any(|(stream, report)| stream.as_str() == other && report.active)
        });
    }
    go(&folder);
    stage.controller.wait_ready(&name);
    assert_eq!(opened(&folder), 2, "for the first scan and the last");
}
