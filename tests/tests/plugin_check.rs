//! `framegate plugin check`: every plugin here passes, and each wrong plugin fails the expected checks and no other.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    fs,
    io::ErrorKind,
    net::UdpSocket,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use ciborium::Value as Cbor;
use framegate_tests::{
    alone::{bad_plugin, bad_plugin_in_c, plugin_in_c, template},
    framegate,
};
use serde_json::{Value, json};

/// Checks a plugin quickly; returns the exit status and the report.
fn check(plugin: &Path, more: &[&str]) -> (Option<i32>, Value) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = framegate::command();
    command.args(["plugin", "check", "--json", "--quick"]).arg(plugin).args(more).env("TMPDIR", folder.path());
    let output = command.output().unwrap();
    let found = serde_json::from_slice(&output.stdout);
    let found = found.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), found)
}

/// The checks with this result.
fn with_result<'a>(found: &'a Value, result: &str) -> Vec<&'a str> {
    let checks = found["checks"].as_array().unwrap().iter();
    checks.filter(|check| check["result"] == result).map(|check| check["check"].as_str().unwrap()).collect()
}

/// Every check passes, except those in `not_checked`.
fn passes(plugin: &Path, more: &[&str], not_checked: &[&str]) {
    let (status, found) = check(plugin, more);
    assert_eq!(with_result(&found, "failed"), Vec::<&str>::new(), "{found:#}");
    assert_eq!(with_result(&found, "not-checked"), not_checked, "{found:#}");
    assert_eq!((status, &found["passed"]), (Some(0), &json!(true)));
    let seconds: f64 = found["checks"].as_array().unwrap().iter().map(|check| check["seconds"].as_f64().unwrap()).sum();
    assert!(seconds > 0.0);
}

fn fixture(path: &str) -> String {
    format!("{}/../plugins/{path}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn it_passes_on_every_source_that_connects_to_a_detector() {
    let sources = [
        ("stins", "stins/fixtures/dump_xrd.cbors"),
        ("eiger-legacy", "eiger-legacy/fixtures/eiger-small.cbors"),
        ("contrast", "contrast/fixtures/contrast-dump.cbors"),
        ("pcap", "pcap/fixtures/pcap-zmq.cbors"),
        ("albaem", "albaem/fixtures/albaem-dump.cbors"),
        ("lecroy", "lecroy/fixtures/maui-02-continuous-3.cbor.gz"),
        ("xspress", "xspress/fixtures/xspress3mini-head.cbors"),
    ];
    let check =
        |source, capture: &str| passes(&framegate::plugin(source), &["--against", &fixture(capture)], &["trigger"]);
    side_by_side(&sources, |(source, capture)| check(source, capture));
}

/// Runs some cases at a time: checks wait more than they work.
fn side_by_side<T: Sync>(cases: &[T], one: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let work = || {
        // Relaxed: each case must only be taken once.
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            one(case);
        }
    };
    thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(work))));
}

const AT_ONCE: usize = 5;

/// A capture of data sent over TCP, with a message for each piece.
fn bytes_sent(folder: &Path, pieces: &[&str]) -> String {
    let path = folder.join("sent.cbors");
    let mut file = fs::File::create(&path).unwrap();
    for piece in pieces {
        ciborium::into_writer(&Cbor::Array(vec![Cbor::Bytes(piece.as_bytes().to_vec())]), &mut file).unwrap();
    }
    path.to_str().unwrap().to_owned()
}

#[test]
fn it_passes_on_the_source_that_speaks_plain_tcp() {
    let folder = tempfile::tempdir().unwrap();
    let header = "arm_time: 2023-12-19T07:51:12.754Z\nmissed: 0\nprocess: Scaled\nformat: ASCII\nfields:\n PCAP.TS_TRIG double Value scale: 1 offset: 0 units: s\n\n";
    let sent = bytes_sent(folder.path(), &["OK\n", header, " 0.5\n", " 1.5\n", "END 2 Ok\n"]);
    passes(&framegate::plugin("pcap-raw"), &["--against", &sent], &["trigger"]);
}

#[test]
fn it_passes_on_the_source_that_listens() {
    let folder = tempfile::tempdir().unwrap();
    let post = |path: &str, json: &str| {
        format!(
            "POST /v1/{path} HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{json}",
            json.len()
        )
    };
    let start = post("data_desc", r#"{"serialno": 1, "scandir": "/data", "title": "ascan"}"#);
    let data = post("record_data", r#"{"timestamp": 0.5, "point_nb": 0, "motor": 1.5}"#);
    let sent = bytes_sent(folder.path(), &[&start, &data, &data]);
    let settings = ["--settings", r#"{"port": 0}"#, "--against", &sent];
    passes(&framegate::plugin("sardana"), &settings, &["trigger"]);
}

#[test]
fn a_source_of_datagrams_is_fed_and_the_real_port_of_its_settings_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = plugin_in_c("datagrams", folder.path());
    // If the check bound this port, it would fail; if it sent there, this socket would see it.
    let real = UdpSocket::bind("0.0.0.0:0").unwrap();
    let settings = format!("{{\"port\":{}}}", real.local_addr().unwrap().port());
    let sent = bytes_sent(folder.path(), &["one", "two"]);
    let feed = "bash -c 'for i in 1 2 3 4 5; do echo $i > /dev/udp/127.0.0.1/{port}; done'";
    let cases: [(&[&str], i32, &[&str]); 5] = [
        (&[], 0, &["events", "frames", "trigger"]),
        (&["--strict"], 1, &["events", "frames", "trigger"]),
        (&["--strict", "--against", &sent], 0, &["trigger"]),
        (&["--strict", "--feed", feed], 0, &["trigger"]),
        (&["--strict", "--feed", "exit 7"], 1, &["events", "frames", "trigger"]),
    ];
    side_by_side(&cases, |(more, status, not_checked)| {
        let (exit, found) = check(&plugin, &[&["--settings", &settings], *more].concat());
        assert_eq!(with_result(&found, "failed"), Vec::<&str>::new(), "{more:?}: {found:#}");
        assert_eq!(with_result(&found, "not-checked"), *not_checked, "{more:?}: {found:#}");
        assert_eq!((exit, &found["passed"]), (Some(*status), &json!(*status == 0)), "{more:?}: {found:#}");
        assert_eq!(found["upstream"], "datagrams");
        let why = |name: &str| found["checks"].as_array().unwrap().iter().find(|one| one["check"] == name).unwrap();
        match more {
            [_, "--feed", "exit 7"] => assert!(why("events")["why"].as_str().unwrap().contains("exit status: 7")),
            [_, "--feed", _] => assert!(why("events")["seen"].as_str().unwrap().starts_with("5 events")),
            _ => {}
        }
    });
    real.set_nonblocking(true).unwrap();
    assert_eq!(real.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn it_passes_on_what_authors_begin_with() {
    let not_with_a_detector = ["input", "trigger"];
    passes(&template(), &["--settings", r#"{"images": 1000, "bytes": 1000}"#], &not_with_a_detector);
    let folder = tempfile::tempdir().unwrap();
    let in_c = folder.path().join("libcounter.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O2", "-I"]).arg(fixture("../plugin-api/include"));
    assert!(compiler.arg(fixture("template-c/counter.c")).arg("-o").arg(&in_c).status().unwrap().success());
    passes(&in_c, &[], &not_with_a_detector);
    let asked = ["deadline", "idle", "stop", "events", "input"];
    passes(&framegate::plugin("on-demand-example"), &[], &asked);
}

/// The plugin fails this check, with this text in the reason.
fn fails(plugin: &Path, more: &[&str], check_name: &str, status: i32, says: &str) {
    let case = plugin.display();
    let (exit, found) = check(plugin, more);
    assert_eq!(with_result(&found, "failed"), [check_name], "{case}: {found:#}");
    let failed = found["checks"].as_array().unwrap().iter().find(|one| one["check"] == check_name).unwrap();
    let (why, hint) = (failed["why"].as_str().unwrap(), failed["hint"].as_str().unwrap());
    assert!(why.contains(says), "{case}: \"{says}\" is not in: {why}");
    assert!(hint.len() > 15, "{case}: {hint}");
    assert_eq!((exit, &found["passed"]), (Some(status), &json!(false)), "{case}");
}

/// Wrong plugins in C: the check that fails, and part of the reason.
const IN_C: &[(&str, &str, &str)] = &[
    (
        "crashes_when_loaded",
        "layout",
        "crashed with SIGSEGV in loading (it printed: the vendor's library is not amused)",
    ),
    ("leaves_a_child_and_crashes", "layout", "crashed with SIGSEGV in loading"),
    ("hangs_when_loaded", "layout", "loading did not return within 10.0s"),
    ("misaligned_table", "layout", "which is not aligned to 8 bytes"),
    ("lacks_a_function", "layout", "open is a null pointer in its table"),
    ("eats_memory_in_create", "create", "crashed with SIGABRT in create (it printed: out of memory after"),
    // Stopped by its time limit or its CPU limit, depending on the machine's other load.
    ("spins_in_create", "create", "create"),
    ("hangs_in_create_alone", "create", "create did not return within 10.0s"),
    ("hangs_in_destroy", "create", "destroy did not return"),
    ("answers_garbage", "run", "next answered outcome 77"),
    ("answers_garbage_once", "run", "next answered outcome 77"),
    ("answers_garbage_and_keeps_its_place", "run", "next answered outcome 77"),
    ("counts_in_typ", "run", "after 64 others, which is the limit"),
    ("gives_garbage", "run", "next answered a frame of 1000 bytes at 0x0"),
    ("hangs_in_next", "run", "next did not return"),
    ("hangs_in_close", "run", "close did not return"),
    ("accepts_any_settings", "settings", "an unknown setting is accepted"),
    ("describes_nonsense", "parameters", "the description of its parameters is invalid"),
    ("describes_a_wrong_default", "parameters", r#"parameter "gain": its default "five" is not of type "int""#),
    ("hoards_in_open", "reopen", "10 descriptors more"),
    ("leaves_a_thread", "drop", "threads more"),
    ("calls_after_its_end", "drop", "times after it had released the host's context"),
    ("releases_twice", "drop", "times after it had released the host's context"),
    ("keeps_the_context", "drop", "did not release the host's context"),
    ("releases_never", "memory", "leaves"),
    ("is_late_in_next", "deadline", "longer than the"),
    ("spins_in_next", "idle", "returned at once with nothing"),
    ("stops_late", "stop", "asked to stop"),
    ("gives_after_the_end", "events", "after it had said that the run was over"),
    ("changes_frames", "frames", "have changed when later ones were made"),
    ("reuses_a_ring", "frames", "the bytes of event 0 have changed when later ones were made"),
    ("gives_a_buffer_twice", "frames", "the same buffer was given as two frames"),
    ("frees_twice", "frames", "in release of a frame after destroy"),
    ("triggers_twice", "trigger", "asked for event 0 it gave 2 events"),
];

#[test]
fn a_wrong_plugin_in_c_fails_just_there() {
    let folder = tempfile::tempdir().unwrap();
    side_by_side(IN_C, |(case, check, says)| {
        let status = if *check == "layout" { 3 } else { 1 };
        fails(&bad_plugin_in_c(case, folder.path()), &[], check, status, says);
    });
}

#[test]
fn a_plugin_that_crashes_at_what_it_receives_fails_just_there() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ["--settings", r#"{"upstream_url": "tcp://detector:1"}"#];
    fails(
        &bad_plugin_in_c("crashes_at_junk", folder.path()),
        &settings,
        "input",
        1,
        "crashed with SIGABRT in next, after",
    );
}

/// A source that receives on a thread of its own is late where that thread gets no processor.
#[test]
fn a_source_that_is_late_passes_and_one_with_state_of_earlier_runs_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let sent = bytes_sent(folder.path(), &["one", "two"]);
    let more = ["--settings", r#"{"port": 1}"#, "--against", &sent];
    let (_, found) = check(&plugin_in_c("late_datagrams", folder.path()), &more);
    assert_eq!(with_result(&found, "failed"), Vec::<&str>::new(), "{found:#}");
    assert!(with_result(&found, "passed").contains(&"events"), "{found:#}");
    let bad = bad_plugin_in_c("counts_over_runs", folder.path());
    fails(&bad, &more, "events", 1, "the same capture gave 2 events, and 2 the second time, or others");
}

#[test]
fn every_wrong_plugin_in_c_has_its_case() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/bad-plugins/in-c");
    let files = fs::read_dir(folder).unwrap().map(|file| PathBuf::from(file.unwrap().file_name()));
    let known = |case: &str| IN_C.iter().any(|(known, ..)| *known == case);
    for file in files.filter(|file| file.extension().is_some_and(|extension| extension == "c")) {
        let case = file.file_stem().unwrap().to_str().unwrap();
        // Two need settings; some crash as others do, or print (tests/tests/isolated.rs); the others have no fault that a
        // check could find.
        let apart = [
            "crashes_at_junk",
            "counts_over_runs",
            "writes_a_file_when_loaded",
            "ends_without_waiting",
            "leaves_a_child",
            "crashes_in_next",
            "exits_in_next",
            "leaves_a_child_in_next",
            "fills_memory_in_next",
            "prints_for_ever",
        ];
        assert!(known(case) || apart.contains(&case), "{case}");
    }
}

#[test]
fn a_wrong_plugin_in_rust_fails_just_there() {
    let cases = [
        ("no_note", "file", 3, "FG-ABI-NOTE"),
        ("two_notes", "file", 3, "FG-ABI-NOTES"),
        ("other_abi_version", "version", 3, "FG-ABI-VERSION"),
        ("changed_layout", "layout", 3, "FG-ABI-LAYOUT"),
        ("opted_out", "layout", 3, "FG-ABI-OPTED-OUT"),
        ("missing_symbol", "layout", 3, "FG-ABI-LOAD"),
        ("panics_in_create", "create", 1, "create panicked: create has lost its way"),
        ("panics_in_open", "run", 1, "open panicked: open has lost its way"),
        ("panics_in_next", "run", 1, "next panicked: next has lost its way"),
        ("panics_in_a_thread", "run", 1, "a thread of the plugin (lost) panicked: a thread has lost its way"),
        ("hangs_in_create", "create", 1, "create did not return"),
        ("hangs_in_open", "run", 1, "open did not return"),
        ("reuses_a_static", "frames", 1, "the bytes of event 0 have changed when later ones were made"),
    ];
    side_by_side(&cases, |(case, check, status, says)| fails(&bad_plugin(case), &[], check, *status, says));
}

#[test]
fn a_capture_of_another_protocol_fails_the_events() {
    let capture = fixture("albaem/fixtures/albaem-dump.cbors");
    let (status, found) = check(&framegate::plugin("stins"), &["--against", &capture]);
    assert_eq!(status, Some(1));
    assert!(with_result(&found, "failed").contains(&"events"), "{found:#}");
}

/// A dump has such an event in the place of one that was dropped.
#[test]
fn an_event_without_frames_in_a_capture_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dropped.cbors");
    let tag = |tag: u64, inside: Cbor| Cbor::Tag(tag, Box::new(inside));
    let mut bytes = Vec::new();
    for (number, frames) in [
        &[&br#"{"htype": "header", "filename": "f", "msg_number": 0}"#[..]][..],
        &[],
        &[br#"{"htype":"image","frame":0,"shape":[1],"type":"u1","compression":"none","msg_number":1}"#, b"x"],
        &[br#"{"htype": "series_end", "msg_number": 2}"#],
    ]
    .into_iter()
    .enumerate()
    {
        let frames = frames.iter().map(|frame| Cbor::Bytes(frame.to_vec())).collect();
        let stream = tag(42878, Cbor::Array(vec!["STINS".into(), Cbor::Array(frames)]));
        let streams = Cbor::Map(vec![("camera".into(), stream)]);
        let event = Cbor::Array(vec![(number as u64).into(), streams, tag(0, "2026-01-01T00:00:00.000000Z".into())]);
        ciborium::into_writer(&tag(55799, tag(42877, event)), &mut bytes).unwrap();
    }
    fs::write(&path, bytes).unwrap();
    passes(&framegate::plugin("stins"), &["--against", path.to_str().unwrap()], &["trigger"]);
}

#[test]
fn the_table_has_a_line_for_each_check_and_a_hint_for_each_failure() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = bad_plugin_in_c("answers_garbage", folder.path());
    let output = framegate::command().args(["plugin", "check", "--quick"]).arg(&plugin).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let line = |check: &str| shown.lines().find(|line| line.trim_start().starts_with(check)).unwrap();
    assert!(line("create").contains("passed") && line("run").contains("FAILED"), "{shown}");
    assert!(line("frames").contains("not checked") && line("frames").contains("it needs `run`"), "{shown}");
    assert!(
        shown.contains("\nrun: next answered outcome 77, which the interface does not allow\n  return only codes"),
        "{shown}"
    );
    let (short, whole) =
        ("the file is a valid plugin", "the file is a valid plugin for this machine, and no other user");
    assert!(line("file").ends_with(short), "{shown}");
    let verbose = framegate::command().args(["plugin", "check", "--quick", "--verbose"]).arg(&plugin).output().unwrap();
    let told = String::from_utf8(verbose.stdout).unwrap();
    assert!(told.contains(&format!("{whole} may write to it (sha256 ")), "{told}");
    assert_eq!(output.status.code(), verbose.status.code());
    assert!(shown.contains("answers_garbage 0.0.0") && shown.contains("6 passed, 1 failed, 10 not checked"), "{shown}");
}

#[test]
fn wrong_command_lines_are_told_before_anything_runs() {
    for (args, says) in [
        (["--settings", "{"], "--settings: not JSON"),
        (["--settings", "[]"], "expected a JSON object"),
        (["--against", "/nowhere.cbors"], "/nowhere.cbors"),
    ] {
        let output = framegate::command().args(["plugin", "check", "stins"]).args(args).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains(says) && !output.status.success() && output.stdout.is_empty(), "{told}");
    }
}
