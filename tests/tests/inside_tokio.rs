//! A host inside an async program: it starts, swaps and stops there as elsewhere, and does not hide the program's
//! errors.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::process::{Command, Output};

use framegate_tests::{
    framegate,
    process::{free_port, text},
};

/// Checks the program's end and output with a host that stops in this way, in each kind of runtime.
fn ends(how: &str, check: impl Fn(Option<i32>, &str, &str)) {
    for runtime in ["multi", "current", "none"] {
        let mut command = Command::new(framegate::built().join("inside_tokio"));
        command.args([runtime, &free_port().to_string(), how]).env("RUST_BACKTRACE", "0");
        let output = command.output().unwrap();
        let Output { status, stdout, stderr } = output;
        let (out, err) = (text(&stdout), text(&stderr));
        println!("{runtime}, {how}: {status}\n{out}{err}");
        check(status.code(), &out, &err);
        assert!(!err.contains("runtime") && !err.contains("blocking"), "tokio complains:\n{err}");
    }
}

/// The host runs, swaps a source and stops, and the program continues.
fn goes(how: &str) {
    ends(how, |status, out, err| {
        assert_eq!(out, "started\nswap 1 is Pending\nstopped, and the port is free\n");
        assert_eq!((status, err), (Some(0), ""));
    });
}

#[test]
fn a_host_is_shut_down_on_a_thread_of_a_runtime_as_elsewhere() {
    goes("shutdown");
}

#[test]
fn a_host_is_dropped_on_a_thread_of_a_runtime_as_elsewhere() {
    goes("drop");
}

#[test]
fn a_host_is_stopped_by_a_future_in_every_runtime_and_without_one() {
    goes("stop");
}

#[test]
fn an_early_return_of_an_async_main_shows_its_own_error() {
    ends("early-return", |status, _, err| {
        assert_eq!((status, err.trim_end()), (Some(1), "Error: \"the real error\""));
    });
}

#[test]
fn a_panic_of_an_async_main_shows_itself_and_does_not_abort() {
    ends("unwind", |status, _, err| {
        assert!(err.contains("the real panic"), "{err}");
        assert_eq!(status, Some(101), "{err}");
    });
}

#[test]
fn a_host_that_does_not_start_in_an_async_program_says_why() {
    ends("wrong-source", |status, out, err| {
        assert!(err.contains("no-such-source"), "{err}");
        assert_eq!((status, out), (Some(1), ""));
    });
}

#[test]
fn settings_that_a_program_built_wrongly_are_told_and_nothing_panics() {
    ends("wrong-settings", |status, out, err| {
        assert!(err.contains("source_timeout") && err.contains("1ms to 1h"), "{err}");
        assert_eq!((status, out), (Some(1), ""));
        assert!(!err.contains("panicked"), "{err}");
    });
}

#[test]
fn values_of_the_wrong_type_for_parameters_are_refused_at_the_start_with_all_else_that_is_wrong() {
    ends("wrong-parameters", |status, out, err| {
        for part in [
            "parameter \"count\": \"abc\" is not allowed: expected a whole number",
            "parameter \"gain\": \"much\" is not allowed: expected a number",
            "parameter \"on\": \"yes\" is not allowed: expected true or false",
            "it has no parameter \"nosuch\"",
        ] {
            assert!(err.contains(part), "{part} is not in\n{err}");
        }
        assert!(!err.contains("text"), "that value is right:\n{err}");
        assert_eq!((status, out), (Some(1), ""));
    });
}
