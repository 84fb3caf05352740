//! The demonstration of the README (`tests/demonstration/`), with fewer images.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    fs,
    process::{Command, Output},
    time::Duration,
};

use framegate_tests::{
    framegate,
    process::{Process, wait_for},
    worker::LIMIT,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Runs the demonstration; returns its output.
fn demo(images: &str) -> Output {
    // The command and the plugin must be in the same folder.
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
    assert!(said.contains("framegate run --config") && said.contains("libframegate_stins.so"), "{said}");
    // A row for each scan: sent, received, lost.
    let rows = said.lines().filter(|line| line.contains("202 ┆      202 ┆    0"));
    assert_eq!(rows.count(), 2, "{said}");
    assert!(!said.contains('\u{1b}'), "no moving lines without a terminal: {said}");
}

#[test]
fn the_demonstration_fails_when_framegate_does() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(framegate::built().join("demo"));
    let mut demo = Process::start("demo", command.arg("20000"), folder.path());
    wait_for("the first images", LIMIT, || demo.output().contains("scan 1: ").then_some(()));
    // Its only child process.
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", demo.id())).unwrap();
    kill(Pid::from_raw(children.trim().parse().unwrap()), Signal::SIGKILL).unwrap();
    assert_eq!(demo.wait(LIMIT).code(), Some(1));
    let said = demo.output();
    assert!(said.contains("WRONG: framegate has ended with signal: 9"), "{said}");
    assert!(said.contains("images were lost"), "{said}");
}

#[test]
fn a_wrong_argument_is_told() {
    assert_eq!(demo("many").status.code(), Some(2));
}
