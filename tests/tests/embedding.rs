//! A program with an embedded host: the example in the README, with a detector and workers.

use std::{fs, os::unix::fs::PermissionsExt, process::Command, thread, time::Duration};

use framegate_stins::simulate::{self, Detector, Simulation};
use framegate_tests::{
    framegate,
    process::{Process, free_port, text},
    worker::{LIMIT, Worker},
};

#[test]
fn a_program_that_embeds_the_host_builds_no_command_line_and_no_libzmq() {
    let tree = |package: &str| {
        let mut cargo = framegate::cargo();
        cargo.args(["tree", "--offline", "--package", package, "--edges", "normal", "--prefix", "none"]);
        let output = cargo.output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let crates = text(&output.stdout);
        ["clap", "zmq-sys", "redis"].map(|name| crates.lines().any(|line| line.starts_with(&format!("{name} v"))))
    };
    assert_eq!(tree("framegate-cli"), [true; 3]);
    assert_eq!(tree("framegate"), [false, false, true]);
}

#[test]
fn a_program_serves_a_linked_source_and_a_loaded_plugin_without_redis() {
    let folder = tempfile::tempdir().unwrap();
    let simulation = Simulation {
        bind: "tcp://127.0.0.1:*".into(),
        scans: 1,
        frames: 20,
        bytes: 10_000,
        rate: None,
        pause: Duration::ZERO,
    };
    let detector = Detector::bind(simulation).unwrap();
    let url = format!("tcp://127.0.0.1:{}", free_port());
    let mut command = Command::new(framegate::example("embed"));
    // In a folder where other users cannot write to it, regardless of the umask of its build.
    let plugin = folder.path().join("libframegate_stins.so");
    fs::copy(framegate::plugin("stins"), &plugin).unwrap();
    fs::set_permissions(&plugin, fs::Permissions::from_mode(0o644)).unwrap();
    command.arg(&plugin).arg(detector.endpoint().unwrap()).arg(&url);
    let mut embed = Process::start("embed", &mut command, folder.path());
    let worker = Worker::connect("w1", &url);
    thread::spawn(move || detector.stream(|_| true));

    let messages: Vec<_> = (0..22).map(|_| worker.next()).collect();
    for (number, message) in messages.iter().enumerate() {
        assert_eq!(message.number(), number as u64);
        let time: u128 = String::from_utf8(message.stream("clock").unwrap()[0].clone()).unwrap().parse().unwrap();
        assert!(time > 0);
    }
    for (frame, message) in messages[1..21].iter().enumerate() {
        assert_eq!(message.stream("camera").unwrap()[1], simulate::image(0, frame as u32, 10_000));
    }
    assert!(embed.wait(LIMIT).success());
    let said = embed.output();
    assert!(said.contains("camera: 22 read, 22 forwarded, 0 dropped"), "{said}");
    assert!(said.contains("clock: 22 read, 22 forwarded, 0 dropped"), "{said}");
}
