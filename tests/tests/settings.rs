//! Wrong settings, as users see them: all problems at once, each with its location, and exit status 2.
//!
//! The messages are tested beside the code, in `host/src/settings`; this file tests the process.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{fs, process::Output};

use framegate_tests::framegate;

/// A command that must end by itself, at once.
fn framegate(args: &[&str], variables: &[(&str, &str)]) -> Output {
    framegate::command().args(args).envs(variables.iter().copied()).output().unwrap()
}

/// Returns standard error; standard output is empty, and the exit status is the one for wrong settings.
fn refused(output: &Output) -> String {
    let told = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(output.stdout.is_empty());
    for noise in ["panicked", "Error", "backtrace", "\u{1b}"] {
        assert!(!told.contains(noise), "{told}");
    }
    told
}

fn with_file(text: &[u8]) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("framegate.toml");
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap();
    (refused(&framegate(&["run", "--config", path], &[])), path.to_owned())
}

#[test]
fn every_problem_of_a_file_is_told_at_once_in_its_order_with_its_line() {
    let text = "\
redis = \"redis://user:geheim@localhost\"
log_level = \"LOUD\"
grace = 3
[standalone]
scans = 0
[[ingester]]
name = \"a:b\"
memory_limit = \"much\"
[[ingester.stream]]
name = \"x\"
source = \"ZmqPullSingelIngester\"
when_full = \"blok\"
[[ingester]]
[[ingester.stream]]
name = \"x\"
source = \"y\"
";
    let (told, path) = with_file(text.as_bytes());
    let expected = [
        (1, "redis: contradicts [standalone]"),
        (2, "log_level: \"LOUD\" is not allowed: one of \"DEBUG\", \"INFO\", \"WARNING\", \"ERROR\""),
        (3, "at the top: unknown key `grace`"),
        (5, "scans: 0 is not allowed: at least 1"),
        (7, "name: ingester name \"a:b\" is not allowed: `:` separates the parts of a Redis key"),
        (8, "memory_limit: \"much\" is not a size; expected a size such as \"1 GiB\""),
        (11, "source: \"ZmqPullSingelIngester\": no such class; did you mean ZmqPullSingleIngester?"),
        (12, "when_full: \"blok\" is not allowed: one of \"block\", \"drop\"; did you mean \"block\"?"),
        (13, "in [ingester]: a second ingester has port 10000"),
        (15, "in [ingester.stream]: a second stream is named \"x\"; the first: "),
    ];
    let problems: Vec<_> = told.lines().filter(|line| line.starts_with("framegate: ")).collect();
    for ((line, says), problem) in expected.iter().zip(&problems) {
        assert!(problem.starts_with(&format!("framegate: {path}:{line}: {says}")), "{says} is not in\n{problem}");
    }
    // The source of a correct stream is checked, too.
    assert!(problems[expected.len()].starts_with("framegate: stream x: no plugin \"y\": there is no"), "{told}");
    assert_eq!(problems.last(), Some(&"framegate: 11 problems"), "{told}");
    assert!(!told.contains("geheim"), "{told}");
    assert!(told.lines().count() <= 3 * problems.len(), "{told}");
}

#[test]
fn a_file_that_cannot_be_read_is_told_with_what_was_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent.toml");
    let mut command = framegate::command();
    command.current_dir(folder.path()).args(["run", "--config", "absent.toml"]);
    let told = refused(&command.output().unwrap());
    assert!(told.contains(absent.to_str().unwrap()) && told.contains("No such file"), "{told}");
    let told = refused(&framegate(&["run", "--config", folder.path().to_str().unwrap()], &[]));
    assert!(told.contains("Is a directory"), "{told}");
}

#[test]
fn text_that_is_no_toml_or_no_utf_8_is_told_with_its_place() {
    let (told, path) = with_file(b"redis = \"redis://h\"\nadmin = [1\n[[ingester]]\n");
    assert!(told.contains(&format!("{path}:3, column 1: ")) && told.contains("not TOML"), "{told}");
    // Consequences of a mistake are not reported.
    assert_eq!(told.lines().count(), 1, "{told}");
    let (told, path) = with_file(b"# fine\nredis = \"\xff\"\n");
    assert!(told.contains(&format!("{path}:2: not UTF-8")), "{told}");
    let (told, _) = with_file(b"");
    assert!(told.contains("there is no ingester"), "{told}");
}

#[test]
fn every_problem_of_a_drop_in_is_told_with_its_variable_or_option() {
    let variables = [
        ("ingester_streams", "camera"),
        ("Ingester_Url", "tcp://*:10000"),
        ("service_redis_dsn", "redis://user:geheim@:1"),
        ("LOG_LEVEL", "verbose"),
    ];
    let told = refused(&framegate(&["ingester", "-c", "ZmqSubPcapIngester"], &variables));
    for says in [
        "variable INGESTER_STREAMS: \"camera\": expected a JSON list of stream names",
        "variable INGESTER_URL: tcp://*:10000: `*` is not a machine to connect to",
        "variable SERVICE_REDIS_DSN: not a Redis address",
        "variable LOG_LEVEL: \"verbose\" is not allowed",
        "option --ingesterclass: \"ZmqSubPcapIngester\": no such class; did you mean ZmqSubPCAPIngester?",
        "5 problems",
    ] {
        assert!(told.contains(&format!("framegate: {says}")), "{says} is not in\n{told}");
    }
    assert!(!told.contains("geheim"), "{told}");
    let told = refused(&framegate(&["ingester", "-n", "a", "-c", "mine.module:Ingester", "-u", "tcp://h:1"], &[]));
    assert!(told.contains("a Python class of your own cannot run here"), "{told}");
    let told = refused(&framegate(&["http_ingester", "-n", "a", "-c", "ZmqSubLecroyIngester"], &[]));
    assert!(told.contains("framegate ingester"), "{told}");
}

#[test]
fn a_wrong_command_line_is_told_with_what_is_meant() {
    for (args, says) in [
        (&["run"][..], "--config <FILE>"),
        (&["ingester", "-n", "a"], "--ingesterclass <CLASS>"),
        (&["ingester", "-c", "x", "--nam", "a", "--upsteam_url", "b"], "--upstream_url"),
        (&["rum"], "run"),
        (&["http_ingester", "-c", "x", "-p", "70000"], "70000"),
    ] {
        let output = framegate(args, &[]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {told}");
        assert!(told.contains(says), "{args:?}: {told}");
    }
}
