//! If a reader such as `head` stops, every printing command ends as git does: silently, without a panic and without an
//! error.

use std::{
    fs::File,
    io::{Read as _, pipe},
    process::{Command, Stdio},
};

use framegate_tests::{
    framegate,
    process::comes_within,
    standalone::{House, Wish},
    worker::LIMIT,
};

/// Runs the command with its standard output closed by the reader; returns its exit status and standard error.
fn unread(command: &mut Command) -> (Option<i32>, String) {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let mut child = command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let ended = comes_within(LIMIT, || child.try_wait().unwrap());
    // Its output explains more than a time-out.
    let _ = child.kill();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let _ = child.wait();
    (ended.and_then(|status| status.code()), said)
}

fn command(arguments: &[&str]) -> Command {
    let mut command = framegate::command();
    command.args(arguments);
    command
}

#[test]
fn what_prints_once_ends_silently_when_nobody_reads() {
    let plugin = framegate::plugin("on-demand-example");
    let plugin = plugin.to_str().unwrap();
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["run", "--help"],
        &["plugin", "check", "--help"],
        &["run", "--print-example"],
        &["plugin", "list"],
        &["plugin", "list", "--json"],
        &["plugin", "info", plugin],
        &["plugin", "info", "--json", plugin],
        &["plugin", "check", "--quick", plugin],
        &["plugin", "check", "--quick", "--json", plugin],
    ] {
        assert_eq!(unread(&mut command(arguments)), (Some(0), String::new()), "{arguments:?}");
    }
    // The exit status still shows what it found.
    let (status, _) = unread(&mut command(&["plugin", "check", "/dev/null"]));
    assert_eq!(status, Some(3));
}

#[test]
fn what_asks_a_running_framegate_ends_silently_when_nobody_reads() {
    let mut house = House::new(&Wish::default());
    let admin = house.host.admin().to_string();
    let plugin = framegate::plugin("stins");
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["status", "--watch"],
        &["status", "--watch", "--json"],
        &["swap", "camera", plugin.to_str().unwrap()],
        &["swap", "camera", plugin.to_str().unwrap(), "--json"],
    ] {
        let mut command = command(arguments);
        assert_eq!(unread(command.args(["--url", &admin])), (Some(0), String::new()), "{arguments:?}");
    }
    house.host.stop(LIMIT);
}

#[test]
fn listen_and_replay_end_silently_when_nobody_reads() {
    for json in [&["--json"][..], &["--count", "3"]] {
        let mut house = House::new(&Wish::default());
        let url = house.url.clone();
        let listen = std::thread::spawn(move || unread(command(&["listen", &url, "--name", "ear"]).args(json)));
        house.wait_for_worker("ear");
        house.detector.run((0..10).map(|image| vec![image; 1000]));
        assert_eq!(listen.join().unwrap(), (Some(0), String::new()), "{json:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let upstream = format!("ipc://{}/replay", folder.path().display());
    let pull = zmq::Context::new().socket(zmq::PULL).unwrap();
    pull.connect(&upstream).unwrap();
    let (status, said) = unread(command(&["replay", "--bind", &upstream]).arg(super::tools::dump()));
    assert_eq!(status, Some(0), "{said}");
    assert!(said.starts_with("replayed 11 messages") && said.lines().count() == 1, "{said}");
}

#[test]
fn standard_output_that_cannot_be_written_is_an_error_and_no_panic() {
    for arguments in [&["plugin", "list"][..], &["run", "--print-example"]] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = command(arguments).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("standard output") && said.contains("No space left on device"), "{said}");
    }
}

#[test]
fn an_error_that_nobody_reads_keeps_its_exit_status() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let mut command = command(&["plugin", "info", "/dev/null"]);
    assert_eq!(command.stdout(Stdio::null()).stderr(writer).status().unwrap().code(), Some(3));
}
