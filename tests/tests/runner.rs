//! `tests/runner.py`, which runs these tests: failures, hangs and skips are reported.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use framegate_tests::process::text;
use serde_json::json;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A script in place of a test binary, and cargo's line about it.
fn binary(folder: &Path, name: &str, script: &str) -> String {
    let file = folder.join(name);
    fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    let root = fs::canonicalize(ROOT).unwrap();
    let message = json!({
        "reason": "compiler-artifact", "executable": file, "profile": { "test": true },
        "manifest_path": root.join("tests/Cargo.toml"),
        "target": { "name": name, "kind": ["test"], "src_path": root.join(format!("tests/tests/{name}.rs")) },
    });
    format!("{message}\n")
}

/// Runs binaries with these names and scripts; returns the report.
fn run(ci: &str, scripts: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let messages: String = scripts.iter().map(|(name, script)| binary(folder.path(), name, script)).collect();
    fs::write(folder.path().join("binaries.json"), messages).unwrap();
    let names: Vec<&str> = scripts.iter().map(|(name, _)| *name).collect();
    let runner = |what: &str| {
        let mut runner = Command::new("python3");
        runner.arg(format!("{ROOT}/tests/runner.py")).arg(folder.path().join("binaries.json"));
        runner.arg(folder.path().join("out")).arg(what);
        runner.env("FRAMEGATE_TEST_ONLY", names.join(" ")).env("FRAMEGATE_TEST_LIMIT", "5").env("CI", ci);
        runner.output().unwrap()
    };
    runner("side-by-side");
    runner("alone");
    runner("report")
}

const PASSES: &str = "echo 'test result: ok. 3 passed; 0 failed; 0 ignored'";

#[test]
fn a_failure_is_shown_in_full_and_a_binary_that_hangs_is_ended_with_what_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let child = folder.path().join("child");
    let hangs = format!("echo 'test endless has been running'; sleep 1000 & echo $! > {}; wait", child.display());
    let fails = "echo 'running 1 test'; echo; echo 'failures:'; echo '    broken, because of 7'; exit 101";
    // `soak` is one of the binaries that run alone.
    let report = run("", &[("good", PASSES), ("wrong", fails), ("hangs", &hangs), ("soak", PASSES)]);
    let said = text(&report.stdout);
    assert_eq!(report.status.code(), Some(1), "{said}");
    for part in [
        "Running tests/tests/good.rs (",
        "test result: ok. 3 passed",
        "broken, because of 7",
        "error: it ended with 101",
        "error: it still ran after 5 s",
        "test endless has been running",
        "FAILED: 2 binaries failed: ",
        "2 of 4 binaries passed, 0 skips",
    ] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    let child: i32 = fs::read_to_string(child).unwrap().trim().parse().unwrap();
    // Its parent is gone, and the process that inherited it may not have reaped it yet.
    let state = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "{state}");
}

#[test]
fn a_skip_is_counted_and_fails_in_ci_unless_it_is_allowed() {
    let allowed = fs::read_to_string(format!("{ROOT}/tests/allowed-skips")).unwrap();
    let allowed = allowed.lines().find(|line| !line.is_empty() && !line.starts_with('#')).unwrap();
    let skips = |line: &str| format!("echo '{line}' >> \"$FRAMEGATE_SKIPS\"; {PASSES}");
    let (known, unknown) = (skips(allowed), skips("a_test: no reason"));
    let ignored = format!("echo 'test slow ... ignored, takes long'; {PASSES}");
    for (ci, script, status, says) in [
        ("", &known, 0, "1 skips, 1 of them allowed"),
        ("1", &known, 0, "1 skips, 1 of them allowed"),
        ("", &unknown, 0, "skipped (not in tests/allowed-skips): a_test: no reason"),
        ("true", &unknown, 1, "FAILED: 1 skips that tests/allowed-skips does not name"),
        ("", &ignored, 0, "slow: takes long"),
        ("1", &ignored, 1, "FAILED: 1 skips"),
    ] {
        let report = run(ci, &[("one", script)]);
        let said = text(&report.stdout);
        assert!(report.status.code() == Some(status) && said.contains(says), "CI={ci}: {said}");
    }
}
