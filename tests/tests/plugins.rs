//! Accepted plugins: found by name and by path, and their events reach a worker.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{fs, thread, time::Duration};

use framegate_stins_detector::{Detector, Simulation, image};
use framegate_tests::{
    framegate,
    host::{Host, LIMIT},
    process::{free_port, wait_for},
};
use serde_json::Value;

const IMAGES: u32 = 20;
const BYTES: usize = 100_000;

/// Streams a run through the STINS plugin, found by `source`, to a worker.
fn streams_through(source: &str) {
    let folder = tempfile::tempdir().unwrap();
    let simulation = Simulation {
        bind: "tcp://127.0.0.1:*".to_owned(),
        scans: 1,
        frames: IMAGES,
        bytes: BYTES,
        rate: None,
        pause: Duration::ZERO,
    };
    let detector = Detector::bind(simulation).unwrap();
    let url = detector.endpoint().unwrap();
    let detector = thread::spawn(move || detector.stream(|_| true));
    let port = free_port();
    let mut host = Host::start(
        folder.path(),
        &format!(
            "[standalone]\n\
             [[ingester]]\nurl = \"tcp://127.0.0.1:{port}\"\n\
             [[ingester.stream]]\nname = \"slits\"\nsource = \"{source}\"\n\
             [ingester.stream.settings]\nupstream_url = \"{url}\"\n"
        ),
    );
    let worker = host.worker("w1", &format!("tcp://127.0.0.1:{port}"));
    let messages = worker.until(|message| message.number() == u64::from(IMAGES) + 1);
    assert_eq!(messages.len(), IMAGES as usize + 2);
    for (frame, message) in (0..).zip(&messages[1..=IMAGES as usize]) {
        assert_eq!(message.header()["streams"]["slits"]["typ"], "STINS");
        assert_eq!(message.stream("slits").unwrap()[1], image(0, frame, BYTES));
    }
    detector.join().unwrap().unwrap();
    assert!(host.log().contains("libframegate_stins.so"), "it says which file feeds the stream: {}", host.log());
    // Every frame of the plugin was released: one each for the header and the end, two for each image.
    let frames = u64::from(2 * IMAGES + 2);
    let admin = format!("http://{}", host.admin());
    wait_for("all frames to come back", LIMIT, || {
        let (json, ..) = framegate(&["status", "--json", "--url", &admin]);
        let status: Value = serde_json::from_str(&json).unwrap();
        let generation = &status["generations"][0];
        let all = [&generation["frames_given"], &generation["frames_returned"]] == [frames; 2];
        all.then_some(())
    });
    assert!(host.stop(Duration::from_secs(5)).success());
}

#[test]
fn a_plugin_beside_the_executable_is_found_by_its_name() {
    streams_through("stins");
}

#[test]
fn a_plugin_is_loaded_by_its_path() {
    streams_through(framegate::plugin("stins").to_str().unwrap());
}

#[test]
fn hosts_of_one_process_may_ask_for_the_same_plugin_at_the_same_moment() {
    let start = || {
        let settings = format!(
            "allow_writable_plugins = true\n[standalone]\n[[ingester]]\nurl = \"tcp://127.0.0.1:{}\"\n\
             [[ingester.stream]]\nname = \"same\"\n\
             source = {:?}\nsettings.upstream_url = \"tcp://127.0.0.1:1\"\n",
            free_port(),
            framegate::plugin("stins")
        );
        let settings = ::framegate::settings::Settings::from_toml(&settings).unwrap();
        ::framegate::Host::builder(settings).start().map(::framegate::Host::shutdown)
    };
    let starts: Vec<_> = (0..4).map(|_| thread::spawn(start)).collect();
    for start in starts {
        start.join().unwrap().unwrap();
    }
}

fn framegate(args: &[&str]) -> (String, String, Option<i32>) {
    let output = framegate::command().args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

#[test]
fn the_list_shows_what_is_found_where_and_what_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (first, text) = (folder.path().join("libframegate_stins.so"), folder.path().join("libframegate_text.so"));
    fs::copy(framegate::plugin("stins"), &first).unwrap();
    fs::write(&text, "no plugin").unwrap();
    let dir = folder.path().to_str().unwrap();

    let (shown, _, status) = framegate(&["plugin", "list", "--dir", dir]);
    assert_eq!(status, Some(0));
    let row = |file: &str| shown.lines().find(|line| line.ends_with(file)).unwrap_or_else(|| panic!("{file}: {shown}"));
    assert!(row(first.to_str().unwrap()).contains(" ok "), "{shown}");
    assert!(row(text.to_str().unwrap()).contains(" refused "), "{shown}");
    assert!(
        shown.lines().any(|line| line.starts_with(text.to_str().unwrap()) && line.ends_with(" [FG-ABI-ELF]")),
        "{shown}"
    );
    // The one beside the executable is found later in the search.
    let later = framegate::plugin("stins");
    assert!(row(later.to_str().unwrap()).contains(&format!("hidden by {}", first.display())), "{shown}");

    let (json, _, _) = framegate(&["plugin", "list", "--json", "--dir", dir]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json[0]["source"], &json[0]["protocol"], &json[0]["abi"]),
        (&"stins".into(), &"stins".into(), &"0.1".into())
    );
    assert_eq!(json[1]["refused"]["code"], "FG-ABI-ELF");
    let pin = format!("stins#sha256:{}", json[0]["sha256"].as_str().unwrap());
    assert!(!shown.contains("#sha256:") && shown.ends_with(": `framegate plugin list --pins`\n"), "{shown}");
    let (pinned, _, _) = framegate(&["plugin", "list", "--pins", "--dir", dir]);
    assert!(pinned.contains(&format!("source = {pin:?}")), "{pinned}");
    // The file's name has an underscore.
    assert!(row(framegate::plugin("pcap-raw").to_str().unwrap()).trim_start().starts_with("pcap-raw "), "{shown}");
}

#[test]
fn whoever_asks_what_a_file_is_runs_none_of_its_code() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = framegate_tests::alone::bad_plugin_in_c("writes_a_file_when_loaded", folder.path());
    let (plugin, written) = (plugin.to_str().unwrap(), folder.path().join("written"));
    let ask = |args: &[&str]| {
        let output = framegate::command().args(args).env("FRAMEGATE_TEST_FILE", &written).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(ask(&["plugin", "info", plugin]).contains("writes_a_file_when_loaded 0.0.0"));
    assert!(ask(&["plugin", "list", "--dir", folder.path().to_str().unwrap()]).contains("SOURCE"));
    assert!(!written.exists(), "its static constructor has run");
    // Loading the plugin does write it.
    ask(&["plugin", "check", "--quick", plugin]);
    assert!(written.exists());
}

#[test]
fn a_file_says_what_it_is_without_being_run_also_on_another_machine() {
    let plugin = framegate::plugin("stins");
    let (shown, _, status) = framegate(&["plugin", "info", plugin.to_str().unwrap()]);
    assert_eq!(status, Some(0));
    for word in ["framegate-stins 0.1.0", "rustc", "framegate_table_framegate_stins", "accepts the file"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }

    let folder = tempfile::tempdir().unwrap();
    let mut bytes = fs::read(plugin).unwrap();
    // e_machine of the ELF header: 183 is aarch64, 62 is x86_64.
    let other: (u16, &str) = if cfg!(target_arch = "x86_64") { (183, "aarch64") } else { (62, "x86_64") };
    bytes[18..20].copy_from_slice(&other.0.to_le_bytes());
    let path = folder.path().join("libother.so");
    fs::write(&path, bytes).unwrap();
    let (shown, _, status) = framegate(&["plugin", "info", path.to_str().unwrap()]);
    assert_eq!(status, Some(0));
    assert!(shown.contains("framegate-stins 0.1.0") && shown.contains("FG-ABI-MACHINE"), "{shown}");
    assert!(shown.contains(&format!("{} (this one is {})", other.1, std::env::consts::ARCH)), "{shown}");

    fs::write(&path, "no plugin").unwrap();
    let (_, said, status) = framegate(&["plugin", "info", path.to_str().unwrap()]);
    assert_eq!(status, Some(3));
    assert!(said.contains("FG-ABI-ELF"), "{said}");
}
