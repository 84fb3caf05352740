//! Several framegates on one machine, each with the default admin endpoint.
//!
//! They have their own network, so that no other process uses their ports.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    env, fs,
    process::{Command, Output},
};

use framegate_tests::{
    framegate,
    host::Host,
    process::{free_port, text},
};
use serde_json::Value;
use tempfile::TempDir;

/// Set in a process that has its own network.
const INSIDE: &str = "FRAMEGATE_TESTS_INSIDE";

/// A running `framegate run` with a configuration without an admin endpoint.
fn start(ingester: &str, streams: &[&str], admin: u16) -> (Host, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(&folder, ingester, streams);
    let mut host = Host::with(&mut command, folder.path(), ([127, 0, 0, 1], admin).into());
    host.wait_for("the ingester", |found| found["name"] == ingester);
    (host, folder)
}

fn command(folder: &TempDir, ingester: &str, streams: &[&str]) -> Command {
    let mut text =
        format!("[standalone]\n[[ingester]]\nname = '{ingester}'\nurl = 'tcp://localhost:{}'\n", free_port());
    for stream in streams {
        let source = framegate::plugin("stins");
        text += &format!(
            "[[ingester.stream]]\nname = '{stream}'\nsource = '{}'\nsettings.upstream_url = 'tcp://127.0.0.1:1'\n",
            source.display()
        );
    }
    let file = folder.path().join("framegate.toml");
    fs::write(&file, text).unwrap();
    let mut command = framegate::command();
    command.args(["run", "--config"]).arg(file);
    command
}

/// Runs the command in an environment with a proxy that does not answer.
fn framegate(arguments: &[&str]) -> Output {
    let mut command = framegate::command();
    command.args(arguments).env_remove("NO_PROXY").env_remove("no_proxy");
    command.envs(["HTTP_PROXY", "http_proxy", "ALL_PROXY"].map(|name| (name, "http://127.0.0.1:9")));
    command.output().unwrap()
}

#[test]
fn of_several_on_one_machine_each_has_its_admin_port_status_shows_all_and_swap_finds_the_stream() {
    if env::var_os(INSIDE).is_some() {
        return inside();
    }
    let alone = ["--user", "--map-root-user", "--net"];
    if !Command::new("unshare").args(alone).arg("true").status().is_ok_and(|status| status.success()) {
        return framegate_skip::skip("this machine does not let a user have a network");
    }
    // Missing programs must be built outside of the network namespace.
    framegate::built();
    let test = "of_several_on_one_machine_each_has_its_admin_port_status_shows_all_and_swap_finds_the_stream";
    let mut again = Command::new("unshare");
    again.args(alone).args(["sh", "-c", "ip link set lo up && exec \"$0\" \"$@\""]).arg(env::current_exe().unwrap());
    let output = again.args(["--exact", test, "--nocapture"]).env(INSIDE, "1").output().unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

fn inside() {
    let nobody = framegate(&["status"]);
    assert_eq!(nobody.status.code(), Some(1), "{nobody:?}");
    assert!(text(&nobody.stderr).contains("no framegate answers at 127.0.0.1, ports 9180 to 9189"), "{nobody:?}");

    let (first, _folder) = start("one", &["camera", "shared"], 9180);
    let alone = framegate(&["status"]);
    assert!(text(&alone.stdout).contains(&format!("process {} at 127.0.0.1:9180", first.id())), "{alone:?}");
    let (second, _other_folder) = start("two", &["motors", "shared"], 9181);
    assert!(second.log().contains("127.0.0.1:9180 is taken"), "{}", second.log());

    let both = text(&framegate(&["status"]).stdout);
    for part in [
        format!("process {} at 127.0.0.1:9180", first.id()),
        format!("process {} at 127.0.0.1:9181", second.id()),
        "ingester one".to_owned(),
        "ingester two".to_owned(),
    ] {
        assert!(both.contains(&part), "{part} is not in\n{both}");
    }
    let lines = text(&framegate(&["status", "--json"]).stdout);
    let ids: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["pid"].take()).collect();
    assert_eq!(ids, [first.id(), second.id()].map(Value::from));

    let source = framegate::plugin("stins").display().to_string();
    let swapped = framegate(&["swap", "motors", &source]);
    assert!(swapped.status.success(), "{swapped:?}");
    let swaps = |host: &Host| host.status().unwrap()["swaps"].as_array().unwrap().len();
    assert_eq!((swaps(&first), swaps(&second)), (0, 1));
    for (stream, says) in
        [("shared", "several framegate processes have a stream \"shared\""), ("none", "has a stream \"none\"")]
    {
        let refused = framegate(&["swap", stream, &source]);
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        let said = text(&refused.stderr);
        let list = [
            format!("http://127.0.0.1:9180: process {}, streams camera, shared", first.id()),
            format!("http://127.0.0.1:9181: process {}, streams motors, shared", second.id()),
        ];
        assert!(said.contains(says) && list.iter().all(|line| said.contains(line)), "{said}");
    }
    assert_eq!((swaps(&first), swaps(&second)), (0, 1));
    let swapped = framegate(&["swap", "shared", &source, "--url", "127.0.0.1:9180"]);
    assert!(swapped.status.success(), "{swapped:?}");

    // A configured address is used, or none: there is no search.
    let folder = tempfile::tempdir().unwrap();
    let named = command(&folder, "three", &["more"]).args(["--admin", "127.0.0.1:9180"]).output().unwrap();
    assert_eq!(named.status.code(), Some(1), "{named:?}");
    assert!(text(&named.stderr).contains("admin: 127.0.0.1:9180 cannot be bound"), "{named:?}");
}
