//! A program with an embedded host: the example in the README, with a detector and workers.

use std::{
    collections::BTreeSet, fs, os::unix::fs::PermissionsExt, path::Path, process::Command, thread, time::Duration,
};

use framegate_stins_detector::{self as simulate, Detector, Simulation};
use framegate_tests::{
    framegate,
    process::{Process, free_port, text},
    worker::{LIMIT, Worker},
};

#[test]
fn a_program_that_embeds_the_host_builds_no_command_line_and_no_libzmq() {
    let tree = |package: &str| {
        let crates = crates(framegate::cargo().args(["tree", "--package", package]));
        ["clap", "zmq-sys", "redis"].map(|name| has(&crates, name))
    };
    assert_eq!(tree("framegate-cli"), [true; 3]);
    assert_eq!(tree("framegate"), [false, false, true]);
}

#[test]
fn a_program_without_features_builds_at_most_70_crates_and_no_c() {
    let folder = tempfile::tempdir().unwrap();
    let path = |of: &str| Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(of).display().to_string();
    let of = |name, of| format!("{name} = {{ path = {:?}, default-features = false }}\n", path(of));
    let dependencies = [of("framegate", "host"), of("framegate-plugin-api", "plugin-api")].concat();
    let package = "[package]\nname = \"embedder\"\nedition = \"2024\"\n[workspace]";
    fs::write(folder.path().join("Cargo.toml"), format!("{package}\n[dependencies]\n{dependencies}")).unwrap();
    fs::create_dir(folder.path().join("src")).unwrap();
    fs::write(folder.path().join("src/lib.rs"), "").unwrap();
    // The versions of this workspace, so that nothing is downloaded.
    fs::copy(path("Cargo.lock"), folder.path().join("Cargo.lock")).unwrap();
    let smallest = crates(framegate::cargo().arg("tree").current_dir(folder.path()));
    for name in ["zmq", "zmq-sys", "ring", "cc", "cmake", "redis", "axum", "hyper", "libloading", "abi_stable"] {
        assert!(!has(&smallest, name), "{name} is among {smallest:?}");
    }
    assert!(has(&smallest, "framegate") && has(&smallest, "tokio"), "{smallest:?}");
    assert!(smallest.len() <= 70, "{} crates: {smallest:?}", smallest.len());
    // Each of these comes with its feature.
    for (feature, name) in [("redis", "ring"), ("admin", "axum"), ("capture", "ciborium-ll"), ("plugins", "libloading")]
    {
        let tree = ["tree", "--package", "framegate", "--no-default-features", "--features", feature];
        let crates = crates(framegate::cargo().args(tree));
        assert!(has(&crates, name) && !has(&smallest, name), "{feature}: {crates:?}");
    }
}

/// The crates that `cargo tree` lists as built for a program, with their versions.
fn crates(tree: &mut Command) -> BTreeSet<String> {
    let output = tree.args(["--offline", "--edges", "normal,build", "--prefix", "none"]).output().expect("cargo runs");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let name = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    text(&output.stdout).lines().map(name).collect()
}

fn has(crates: &BTreeSet<String>, name: &str) -> bool {
    crates.iter().any(|one| one.starts_with(&format!("{name} v")))
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
