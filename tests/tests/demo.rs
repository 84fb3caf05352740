//! The demonstration of the README, with fewer images.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    process::{Command, Output},
    time::Duration,
};

use framegate_tests::{framegate, process::wait_for};

/// Runs the demonstration; what it says.
fn demo(images: &str) -> Output {
    // Beside it must be the command and the plugin.
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
fn a_wrong_argument_is_told() {
    assert_eq!(demo("many").status.code(), Some(2));
}
