//! Processes that a plugin starts while it is tried, in the child process of `probe` and of `framegate plugin check`.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use framegate_tests::{
    alone::bad_plugin_in_c,
    framegate,
    host::LIMIT,
    process::{free_port, wait_for},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Runs a command that ends by itself; returns its output, its duration, and the processes that the plugin has started.
fn run(command: &mut Command, folder: &Path) -> (String, Duration, Vec<Pid>) {
    let (file, began) = (folder.join("processes"), Instant::now());
    let output = command.env("FRAMEGATE_TEST_FILE", &file).env("TMPDIR", folder).output().unwrap();
    let took = began.elapsed();
    let started = fs::read_to_string(file).unwrap().lines().map(|line| Pid::from_raw(line.parse().unwrap())).collect();
    (String::from_utf8([output.stdout, output.stderr].concat()).unwrap(), took, started)
}

/// `framegate plugin check`.
fn check(plugin: &str, folder: &Path) -> Command {
    let mut command = framegate::command();
    command.args(["plugin", "check", "--quick"]).arg(bad_plugin_in_c(plugin, folder));
    command
}

/// A host that tries the plugin with `probe`, and then does not start because of the plugin or its settings.
fn probe(plugin: &str, folder: &Path) -> Command {
    let config = folder.join("framegate.toml");
    let text = format!(
        "admin = \"off\"\nprobe = true\nsource_timeout = \"30 s\"\n[standalone]\n[[ingester]]\nurl = \"tcp://127.0.0.1:{}\"\n\
         [[ingester.stream]]\nname = \"s\"\nsource = \"{}\"\nsettings = {{ unknown = 1 }}\n",
        free_port(),
        bad_plugin_in_c(plugin, folder).display()
    );
    fs::write(&config, text).unwrap();
    let mut command = framegate::command();
    command.args(["run", "--config"]).arg(config);
    command
}

/// Whether it runs. A process that has ended may still be a zombie.
fn runs(process: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with(['Z', 'X']))
}

fn all_end(processes: &[Pid]) {
    assert!(!processes.is_empty());
    for process in processes {
        wait_for(&format!("the end of {process}"), LIMIT, || (!runs(*process)).then_some(()));
    }
}

#[test]
fn what_a_plugin_starts_ends_with_the_child_in_which_it_is_tried_out() {
    for command in [check, probe] {
        let folder = tempfile::tempdir().unwrap();
        let (_, _, started) = run(&mut command("leaves_a_child", folder.path()), folder.path());
        all_end(&started);
    }
}

#[test]
fn a_crash_is_told_as_one_at_once_although_a_child_of_the_plugin_holds_its_pipes() {
    for command in [check, probe] {
        let folder = tempfile::tempdir().unwrap();
        let (said, took, started) = run(&mut command("leaves_a_child_and_crashes", folder.path()), folder.path());
        assert!(said.contains("crashed with SIGSEGV in loading"), "{said}");
        // Its shortest limit is ten seconds.
        assert!(took < Duration::from_secs(8), "{took:?}: {said}");
        all_end(&started);
    }
}

#[test]
fn a_process_in_a_session_of_its_own_stays_and_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = probe("leaves_a_child_and_crashes", folder.path());
    let (said, took, started) = run(command.env("FRAMEGATE_TEST_SESSION", "1"), folder.path());
    let stays: Vec<_> = started.iter().map(|process| runs(*process)).collect();
    for process in &started {
        // It was started for this test, and no other process ends it.
        kill(*process, Signal::SIGKILL).unwrap();
    }
    assert!(said.contains("crashed with SIGSEGV in loading") && took < Duration::from_secs(8), "{took:?}: {said}");
    assert_eq!(stays, [true]);
}
