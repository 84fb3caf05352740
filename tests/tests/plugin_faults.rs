//! A host whose plugin panics, hangs, returns garbage, or releases things twice or never: the stream fails with a
//! reason that has the plugin and its file, and the other streams of the same ingester lose nothing.
//!
//! Uses the command, like users. Faults of a plugin that affect the whole process (crash, taking all memory) are tried
//! in a child process: see the end of this file.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use framegate_tests::{
    alone::{bad_plugin, bad_plugin_in_c},
    framegate,
    host::{Host, LIMIT},
    pair::{IMAGES, Pair, Setup, in_c},
    process::{free_port, wait_for},
    redis::RedisServer,
};
use serde_json::Value;

fn costs_its_own_stream_only(bad: impl FnOnce(&Path) -> PathBuf, says: &str) {
    let mut pair = Pair::start(bad, 1, "");
    pair.bad_fails(says);
    pair.good_loses_nothing();
    let log = pair.stop();
    assert!(!log.contains("the host's context"), "it was not asked for it: {log}");
}

#[test]
fn a_panic_in_open_costs_its_own_stream_only() {
    costs_its_own_stream_only(|_| bad_plugin("panics_in_open"), "open panicked: open has lost its way (at src/lib.rs:");
}

#[test]
fn a_panic_in_next_costs_its_own_stream_only() {
    costs_its_own_stream_only(|_| bad_plugin("panics_in_next"), "next panicked: next has lost its way (at src/lib.rs:");
}

#[test]
fn a_code_that_does_not_exist_costs_its_own_stream_only() {
    costs_its_own_stream_only(in_c("answers_garbage"), "next answered outcome 77");
}

#[test]
fn a_frame_that_is_nowhere_costs_its_own_stream_only() {
    costs_its_own_stream_only(in_c("gives_garbage"), "next answered a frame of 1000 bytes at 0x0");
}

/// Part of the reason for a hanging call, in the scan in which it hangs and in later ones.
const HANGS: &str = "not return";

/// Checks that the thread and the generation are written off and counted.
fn is_written_off(pair: &mut Pair) {
    // The stream has failed by its scan's deadline; the call is written off a tenth of a second later.
    wait_for("the generation", LIMIT, || (pair.generation()["state"] == "written off").then_some(()));
    pair.host.wait_for("the count", |ingester| {
        // The replacing copy hangs too.
        ingester["counters"]["sources_written_off"].as_u64().is_some_and(|count| count > 0)
    });
}

#[test]
fn an_open_that_hangs_is_written_off_and_costs_its_own_stream_only() {
    let mut pair = Pair::start(|_| bad_plugin("hangs_in_open"), 1, "");
    pair.bad_fails(HANGS);
    is_written_off(&mut pair);
    pair.good_loses_nothing();
    let log = pair.stop();
    assert!(log.contains("its thread is left behind"), "{log}");
}

#[test]
fn a_next_that_hangs_is_written_off_and_costs_its_own_stream_only() {
    let mut pair = Pair::start(in_c("hangs_in_next"), 1, "");
    pair.bad_fails(HANGS);
    is_written_off(&mut pair);
    pair.good_loses_nothing();
    let _ = pair.stop();
}

#[test]
fn a_close_that_hangs_is_written_off_and_the_next_scan_goes_on_without_it() {
    // The detector holds the ends of its runs: a scan that is over takes its failures along.
    let mut pair = Pair::with(in_c("hangs_in_close"), &Setup { scans: 2, held: true, ..Setup::default() });
    pair.go();
    pair.good_loses_nothing();
    // The next scan closes the previous scan's run.
    pair.bad_fails(HANGS);
    is_written_off(&mut pair);
    pair.go();
    pair.good_loses_nothing();
    let _ = pair.stop();
}

#[test]
fn a_drop_that_hangs_is_left_behind_at_the_end() {
    let pair = Pair::start(in_c("hangs_in_destroy"), 1, "");
    pair.good_loses_nothing();
    let file = pair.bad.display().to_string();
    let log = pair.stop();
    let line = log.lines().find(|line| line.contains("its thread is left behind")).expect(&log);
    assert!(line.contains(&file) && line.contains("bad"), "{line}");
}

#[test]
fn frames_that_are_never_freed_or_given_twice_are_each_released_once_by_the_host() {
    for (case, frames) in [("releases_never", 10), ("gives_a_buffer_twice", 20)] {
        let pair = Pair::start(in_c(case), 1, "");
        pair.good_loses_nothing();
        let balanced = || {
            let generation = pair.generation();
            let [given, returned] = ["frames_given", "frames_returned"].map(|key| generation[key].as_u64().unwrap());
            // The next scan may have started: its events wait for the other stream, which yields nothing more.
            (returned == frames && [frames, 2 * frames].contains(&given)).then_some(())
        };
        wait_for("every frame to be released once", LIMIT, balanced);
        let _ = pair.stop();
    }
}

/// Checks for the log line with this text about the bad stream's file.
fn told(log: &str, file: &str, says: &str) {
    let line = log.lines().find(|line| line.contains(says)).unwrap_or_else(|| panic!("nothing says {says}: {log}"));
    assert!(line.contains(file) && line.contains("bad") && line.contains("ERROR"), "{line}");
}

#[test]
fn a_context_that_is_given_back_twice_is_told_and_does_no_harm() {
    let pair = Pair::start(in_c("releases_twice"), 1, "");
    pair.good_loses_nothing();
    let file = pair.bad.display().to_string();
    told(&pair.stop(), &file, "calls the host (release) after it has released the host's context");
}

#[test]
fn a_context_that_is_never_given_back_is_told() {
    let pair = Pair::start(in_c("keeps_the_context"), 1, "");
    pair.good_loses_nothing();
    let file = pair.bad.display().to_string();
    told(&pair.stop(), &file, "has ended without releasing the host's context");
}

#[test]
fn calls_after_the_end_are_counted_and_told_and_do_no_harm() {
    let pair = Pair::with(in_c("calls_after_its_end"), &Setup { scans: 2, held: true, ..Setup::default() });
    pair.go();
    pair.good_loses_nothing();
    // The source ends while the host continues: another source replaces it in the scan after the held one.
    let folder = tempfile::tempdir().unwrap();
    let other = bad_plugin_in_c("writes_a_file_when_loaded", folder.path());
    let url = format!("http://{}", pair.host.admin());
    let mut swap = framegate::command();
    let output = swap.args(["swap", "bad"]).arg(other).args(["--url", &url]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    pair.go();
    pair.good_loses_nothing();
    let counted = || {
        let status: Value = serde_json::from_str(&pair.host.get("/status").unwrap()).unwrap();
        let all = status["generations"].as_array().unwrap();
        all.iter().any(|generation| generation["stray_calls"].as_u64().is_some_and(|calls| calls > 0)).then_some(())
    };
    wait_for("the calls to be counted", LIMIT, counted);
    let file = pair.bad.display().to_string();
    told(&pair.stop(), &file, "after it has released the host's context");
}

#[test]
fn a_panic_in_a_thread_of_the_plugin_is_told_in_the_hosts_log() {
    let pair = Pair::start(|_| bad_plugin("panics_in_a_thread"), 1, "");
    let messages = pair.worker.until(|message| message.number() == u64::from(IMAGES) + 1);
    assert_eq!(messages[0].stream("bad").unwrap(), [[7; 10]]);
    let log = pair.stop();
    let line = log
        .lines()
        .find(|line| line.contains("a thread of the plugin (lost) panicked: a thread has lost its way"))
        .expect(&log);
    assert!(line.contains("ERROR") && line.contains("src/lib.rs:") && line.contains("bad"), "{log}");
}

#[test]
fn a_parameter_whose_default_is_not_of_its_type_is_not_published_and_told() {
    let (redis, folder) = (RedisServer::start(), tempfile::tempdir().unwrap());
    let bad = bad_plugin_in_c("describes_a_wrong_default", folder.path());
    let mut host = Host::start(
        folder.path(),
        &format!(
            "redis = \"{}\"\n[[ingester]]\nurl = \"tcp://127.0.0.1:{}\"\n\
             [[ingester.stream]]\nname = \"bad\"\nsource = \"{}\"\n",
            redis.url(),
            free_port(),
            bad.display()
        ),
    );
    let described =
        |name: &str| -> Option<String> { redis.ask(&["GET", &format!("dranspose:parameter_description:bad_{name}")]) };
    let good = wait_for("the good parameter", LIMIT, || described("rate"));
    assert!(good.ends_with(r#""dtype":"float","default":2.0}"#), "{good}");
    assert_eq!(described("gain"), None, "its default would end the controller's task");
    let status = host.status().unwrap();
    let why = "parameter bad_gain is not published: its default \"five\" is not of type \"int\"; this is a fault of the \
               plugin of stream bad";
    let told = |fault: &Value| fault["what"].as_str().is_some_and(|what| what.contains(why));
    assert!(status["faults"].as_array().unwrap().iter().any(told), "{status:#}");
    wait_for("the log", LIMIT, || host.log().contains("parameter bad_gain is not published").then_some(()));
    assert!(host.stop(LIMIT).success());
}

#[test]
fn a_source_that_has_ended_does_not_keep_a_processor_busy() {
    let pair = Pair::start(in_c("ends_without_waiting"), 1, "");
    pair.good_loses_nothing();
    let ticks = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pair.host.id())).unwrap();
        let fields: Vec<u64> =
            stat.rsplit(") ").next().unwrap().split(' ').filter_map(|word| word.parse().ok()).collect();
        // utime and stime, in hundredths of a second: fields 14 and 15 of proc_pid_stat(5); the letter is not a number.
        fields[10] + fields[11]
    };
    let before = ticks();
    thread::sleep(Duration::from_secs(1));
    assert!(ticks() - before < 50, "{} of 100 ticks", ticks() - before);
    let _ = pair.stop();
}

/// Runs a host with one plugin until it ends by itself because the plugin is refused.
fn refused(plugin: &Path, more: &str) -> (Option<i32>, String) {
    let (folder, temporary) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = folder.path().join("framegate.toml");
    let text = format!(
        "admin = \"off\"\n{more}\n[standalone]\n[[ingester]]\nurl = \"tcp://127.0.0.1:{}\"\n\
         [[ingester.stream]]\nname = \"s\"\nsource = \"{}\"\n",
        free_port(),
        plugin.display()
    );
    fs::write(&config, text).unwrap();
    let mut command = framegate::command();
    let output = command.args(["run", "--config"]).arg(config).env("TMPDIR", temporary.path()).output().unwrap();
    // Unless the host itself has crashed.
    if output.status.code().is_some() {
        let left: Vec<_> = fs::read_dir(temporary.path()).unwrap().map(|left| left.unwrap().path()).collect();
        assert!(left.is_empty(), "it leaves {left:?}");
    }
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn what_crashes_hangs_or_takes_everything_when_it_is_loaded_or_made_costs_a_child_if_it_is_tried_out() {
    let folder = tempfile::tempdir().unwrap();
    for (case, timeout, code, says) in [
        (
            "crashes_when_loaded",
            "10 s",
            "FG-ABI-CRASH",
            "crashed with SIGSEGV in loading (it printed: the vendor's library",
        ),
        ("hangs_when_loaded", "1 s", "FG-ABI-HANG", "loading did not return within 1s in the child process"),
        (
            "eats_memory_in_create",
            "10 s",
            "FG-ABI-CRASH",
            "crashed with SIGABRT in create (it printed: out of memory after",
        ),
        ("hangs_in_destroy", "1 s", "FG-ABI-HANG", "destroy did not return within 1s in the child process"),
    ] {
        let plugin = bad_plugin_in_c(case, folder.path());
        let (status, told) = refused(&plugin, &format!("probe = true\nsource_timeout = \"{timeout}\""));
        assert_eq!(status, Some(3), "{case}: {told}");
        for word in [code, says, plugin.to_str().unwrap(), "framegate plugin check"] {
            assert!(told.contains(word), "{case}: {word} is not in {told}");
        }
    }
    // Its CPU limit is reached before its time limit, unless the machine is very busy.
    let (status, told) =
        refused(&bad_plugin_in_c("spins_in_create", folder.path()), "probe = true\nsource_timeout = \"8 s\"");
    assert_eq!(status, Some(3), "{told}");
    let either = ["used more than 2 s of CPU time in create", "create did not return within 8s"];
    assert!(either.iter().any(|says| told.contains(says)), "{told}");
    // Without `probe`, the host itself crashes.
    let plugin = bad_plugin_in_c("crashes_when_loaded", folder.path());
    assert_eq!(refused(&plugin, "").0, None, "a signal ended it");
}

#[test]
fn a_panic_in_create_is_the_same_refusal_whether_it_is_tried_out_or_not() {
    for probe in [false, true] {
        let (status, told) = refused(&bad_plugin("panics_in_create"), &format!("probe = {probe}"));
        assert_eq!(status, Some(3));
        assert!(told.contains("FG-ABI-PANIC") && told.contains("create has lost its way"), "{told}");
    }
    let (status, told) = refused(&framegate::plugin("stins"), "probe = true");
    assert_eq!(status, Some(2), "{told}");
    assert!(told.contains("missing field `upstream_url`"), "wrong settings stay wrong settings: {told}");
}

#[test]
fn a_good_plugin_that_is_tried_out_streams_as_ever() {
    let pair = Pair::start(in_c("writes_a_file_when_loaded"), 1, "probe = true");
    pair.good_loses_nothing();
    let _ = pair.stop();
}

#[test]
fn a_program_that_embeds_the_host_needs_the_command_to_try_plugins_out() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "probe = true\nallow_writable_plugins = true\n[standalone]\n[[ingester]]\nurl = \"tcp://127.0.0.1:{}\"\n\
         [[ingester.stream]]\nname = \"s\"\nsource = \"{}\"\n",
        free_port(),
        bad_plugin_in_c("hangs_when_loaded", folder.path()).display()
    );
    let mut settings = ::framegate::settings::Settings::from_toml(&text).unwrap();
    settings.source_timeout = Duration::from_secs(1);
    let refused = |settings: &::framegate::settings::Settings| {
        let error = ::framegate::Host::builder(settings.clone()).start().unwrap_err();
        error.to_string()
    };
    settings.probe = Some("no-such-framegate".into());
    let told = refused(&settings);
    assert!(
        told.contains("FG-ABI-PROBE") && told.contains("no-such-framegate") && told.contains("in the PATH"),
        "{told}"
    );
    settings.probe = Some(framegate::built().join("framegate"));
    let told = refused(&settings);
    assert!(told.contains("FG-ABI-HANG") && told.contains("in the child process"), "{told}");
}
