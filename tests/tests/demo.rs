//! The demonstration of the README (`tests/demonstration/`), with fewer images.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    fs,
    process::{Command, Output},
    time::Duration,
};

use framegate_tests::{
    alone, framegate,
    process::{Process, wait_for},
    worker::LIMIT,
};

/// Runs the demonstration; returns its output.
fn demo(images: &str) -> Output {
    let program = framegate::built().join("demo");
    let mut child = Command::new(program).arg(images).stdout(std::process::Stdio::piped()).spawn().unwrap();
    wait_for("the end", Duration::from_secs(60), || child.try_wait().unwrap());
    child.wait_with_output().unwrap()
}

#[test]
fn the_demonstration_shows_two_scans_of_which_nothing_is_lost() {
    let output = demo("200");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("libframegate_stins.so"), "{said}");
    // A row for each scan: sent, received, lost.
    let rows = said.lines().filter(|line| line.contains("202 ┆      202 ┆    0"));
    assert_eq!(rows.count(), 2, "{said}");
    assert!(!said.contains('\u{1b}'), "no moving lines without a terminal: {said}");
}

#[test]
fn the_demonstration_fails_when_what_arrives_is_not_what_was_sent() {
    // Its plugin is the file beside it. This one gives ten events of its own, whatever the detector sends.
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("demo");
    fs::copy(framegate::built().join("demo"), &program).unwrap();
    let wrong = alone::bad_plugin_in_c("accepts_any_settings", folder.path());
    fs::rename(wrong, folder.path().join("libframegate_stins.so")).unwrap();
    let mut demo = Process::start("demo", Command::new(program).arg("20"), folder.path());
    assert_eq!(demo.wait(LIMIT).code(), Some(1));
    let said = demo.output();
    assert!(said.contains("WRONG: framegate has ended its scans, and the detector has not"), "{said}");
    assert!(said.contains("WRONG: worker1: not what a detector sends"), "{said}");
}

#[test]
fn a_wrong_argument_is_told() {
    assert_eq!(demo("many").status.code(), Some(2));
}
