//! A wrong address gives the same message in every place, and framegate does not wait for an unknown host.

use std::{fs, process::Command};

use framegate_tests::{framegate, process::text};

/// The output of a command that is refused, and its exit status.
fn refused(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    (output.status.code(), text(&output.stderr))
}

/// The output of `run` for a configuration with these addresses.
fn configured(url: &str, upstream: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("framegate.toml");
    let text = format!(
        "[standalone]\n[[ingester]]\nurl = \"{url}\"\n[[ingester.stream]]\nname = \"s\"\nsource = \"{}\"\n\
         settings.upstream_url = \"{upstream}\"\n",
        framegate::plugin("stins").display()
    );
    fs::write(&path, text).unwrap();
    refused(framegate::command().args(["run", "--admin", "off", "--config"]).arg(path))
}

#[test]
fn a_wrong_address_is_told_in_the_same_words_everywhere() {
    let good = "tcp://127.0.0.1:1";
    for (address, says) in [
        ("tcp://h:99999", "\"tcp://h:99999\": the port must be 1 to 65535; expected tcp://HOST:PORT"),
        ("h:1", "\"h:1\": it has no scheme; write tcp://h:1; expected tcp://HOST:PORT"),
        ("tcp://::1:5", "\"tcp://::1:5\": an IPv6 address needs brackets: tcp://[::1]:5; expected tcp://HOST:PORT"),
        ("tcp://:5", "\"tcp://:5\": the host is missing; expected tcp://HOST:PORT"),
        ("http://h:5", "\"http://h:5\": the scheme is not tcp://, but http://; expected tcp://HOST:PORT"),
    ] {
        let told = [
            configured(address, good),
            configured("tcp://127.0.0.1:2", address),
            refused(framegate::command().args(["listen", address])),
            refused(framegate::command().args(["replay", "x.cbors", "--bind", address])),
            refused(framegate::command().args(["ingester", "-n", "s", "-c", "stins", "-u", address])),
        ];
        for (place, (status, told)) in told.iter().enumerate() {
            assert!(told.contains(says), "{address}, place {place}: {told}");
            assert_eq!(*status, Some(2), "{address}, place {place}: {told}");
        }
    }
}

#[test]
fn the_address_of_the_admin_endpoint_is_told_in_the_same_words() {
    for (address, says) in [
        ("h:99999", "the port must be 1 to 65535"),
        ("::1:5", "an IPv6 address needs brackets"),
        (":5", "the host is missing"),
        ("h", "the port is missing"),
    ] {
        for (status, told) in [
            refused(framegate::command().args(["status", "--url", address])),
            refused(framegate::command().args(["swap", "camera", "x", "--url", address])),
            refused(framegate::command().args(["run", "--config", "/dev/null", "--admin", address])),
        ] {
            assert!(status == Some(2) && told.contains(says), "{address}: {told}");
        }
    }
}

#[test]
fn a_host_that_nobody_knows_is_told_at_once() {
    // `.invalid` is never a host name (RFC 2606).
    let (status, told) = refused(framegate::command().args(["listen", "tcp://nowhere.invalid:31300"]));
    assert_eq!(status, Some(1), "{told}");
    assert!(
        told.contains("cannot connect to tcp://nowhere.invalid:31300") && told.contains("does not know the host"),
        "{told}"
    );
    // To bind, an address of this machine is needed.
    let (status, told) =
        refused(framegate::command().args(["replay", "x.cbors", "--bind", "tcp://nowhere.invalid:31300"]));
    assert_eq!(status, Some(2), "{told}");
    assert!(told.contains("cannot be bound") && told.contains("tcp://*:31300"), "{told}");
}

#[test]
fn a_capture_that_is_not_there_is_told_once() {
    let (status, told) = refused(framegate::command().args(["replay", "/nowhere/capture.cbors"]));
    assert_eq!((status, told.lines().count()), (Some(1), 1), "{told}");
    assert_eq!(told.matches("No such file").count(), 1, "{told}");
    assert!(told.contains("cannot read /nowhere/capture.cbors"), "{told}");
}
