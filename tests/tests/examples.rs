//! The examples of the library end by themselves and print what they promise; a crate outside of the workspace builds
//! against the library.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{fs, path::Path, process::Command, time::Duration};

use framegate_tests::{
    alone, framegate,
    process::{Process, text, wait_for},
};
use nix::sys::signal::Signal;

/// Only what fails needs so long.
const LIMIT: Duration = Duration::from_secs(60);

/// What an example prints on standard output.
fn output(name: &str) -> String {
    let output = Command::new(framegate::example(name)).output().unwrap();
    assert!(output.status.success(), "{name}: {}\n{}", output.status, text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn the_least_program_gives_every_event_to_its_worker_and_prints_the_counts() {
    let printed = output("least");
    for number in 0..5 {
        assert!(printed.contains(&format!("event {number}: {number}\n")), "{printed}");
    }
    assert!(printed.contains("camera: 5 read, 5 forwarded\n"), "{printed}");
}

#[test]
fn scans_of_a_program_are_dealt_in_turn_to_all_and_as_it_assigns() {
    let printed = output("scans");
    let lines = [
        "in turn: camera: 6 read, 6 forwarded",
        "in turn: motor: 6 read, 6 forwarded",
        "in turn: w1: 3 messages",
        "in turn: w2: 3 messages",
        "to all: camera: 6 read, 6 forwarded",
        "to all: w1: 6 messages",
        "to all: w2: 6 messages",
        "assigned: camera: 6 read, 6 forwarded",
        "assigned: motor: 6 read, 5 forwarded",
        "assigned: w1: 2 messages",
        "assigned: w2: 4 messages",
    ];
    assert_eq!(printed.lines().collect::<Vec<_>>(), lines);
}

#[test]
fn workers_inside_a_program_get_frames_without_copies_by_function_and_by_queue() {
    let printed = output("workers_inside");
    for worker in ["function", "queue"] {
        for number in 0..3 {
            let line = format!("{worker}: event {number}, 1048576 bytes, not copied\n");
            assert!(printed.contains(&line), "{line} is not in\n{printed}");
        }
    }
    assert!(printed.ends_with("the function has ended\n"), "{printed}");
}

#[test]
fn a_source_on_demand_in_a_program_gives_one_event_for_each_of_the_camera() {
    assert_eq!(output("on_demand"), "4096 bytes at 300 K\n4096 bytes at 301 K\n4096 bytes at 302 K\n");
}

#[test]
fn an_async_program_swaps_a_source_and_logs_through_its_own_subscriber() {
    let output = Command::new(framegate::example("tokio_app")).output().unwrap();
    let (printed, log) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{log}");
    let scans: Vec<_> = printed.lines().filter(|line| line.starts_with("scan ")).collect();
    assert_eq!(scans, ["scan 0: 5 events", "scan 1: 7 events", "scan 2: 7 events"]);
    assert_eq!(printed.lines().filter(|line| line.starts_with("event ")).count(), 19, "{printed}");
    assert!(log.contains("new source from this scan on"), "{log}");
}

#[test]
fn an_async_program_stops_its_host_at_ctrl_c() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(framegate::example("tokio_app"));
    let mut process = Process::start("tokio_app", command.arg("4000000000"), folder.path());
    wait_for("a scan", LIMIT, || process.output().contains("scan 1: ").then_some(()));
    process.signal(Signal::SIGINT);
    assert!(process.wait(LIMIT).success(), "{}", process.output());
    assert!(process.output().contains("Ctrl-C\n"), "{}", process.output());
}

#[test]
fn every_example_ends_below_eighty_lines() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/examples");
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines < 80, "{}: {lines} lines", path.display());
        names.push(path.file_stem().unwrap().to_str().unwrap().to_owned());
    }
    names.sort();
    // `embed` is run by `embedding.rs`, the others here.
    assert_eq!(names, ["embed", "least", "on_demand", "scans", "tokio_app", "workers_inside"]);
}

#[test]
fn a_crate_outside_of_the_workspace_builds_against_the_library_and_streams() {
    let output = Command::new(alone::outside()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "3 events\n");
}
