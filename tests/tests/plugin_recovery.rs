//! A failed plugin recovers: after each fault, its stream is followed through three scans, in which the plugin is
//! called again and works. The other stream of the same ingester loses nothing meanwhile.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{fs, path::PathBuf};

use framegate_tests::{
    alone::bad_plugin,
    host::LIMIT,
    pair::{IMAGES, Pair, Setup, in_c},
    process::wait_for,
};
use serde_json::Value;

/// Events of a correct run of the bad stream; this fixture has as many as the other stream.
const ALL: usize = IMAGES as usize + 2;
const MADE: &str = "sources_recreated";
const NOT_MADE: &str = "sources_not_recreated";

fn told(faults: &[&str], scans: u32, more: &str) -> Pair {
    Pair::with(|_| bad_plugin("fails_as_told"), &Setup { scans, more, faults, ..Setup::default() })
}

/// The number of events of the bad stream in each of three scans.
fn three_scans(pair: &Pair) -> [usize; 3] {
    [(); 3].map(|()| pair.good_loses_nothing())
}

/// Waits for a counter, which the forwarder updates ten times per second.
fn wait_count(pair: &Pair, what: &str, count: u64) {
    wait_for(what, LIMIT, || (pair.count(what) == count).then_some(()));
}

/// The values that the parameter of `fails_as_told` received, one per line.
fn values(pair: &Pair) -> String {
    fs::read_to_string(pair.folder().join("gain")).unwrap_or_default()
}

#[test]
fn after_a_panic_or_an_error_the_next_scan_has_another_instance_that_works() {
    for (faults, events, made) in [
        (&["open panics"][..], [0, ALL, ALL], 1),
        (&["next panics"], [0, ALL, ALL], 1),
        (&["open fails"], [0, ALL, ALL], 1),
        // A scan's run is closed when the next one opens; that one already has the new instance.
        (&["close panics"], [ALL, ALL, ALL], 1),
        // An error in a run is not a fault of the instance.
        (&["next fails"], [0, ALL, ALL], 0),
    ] {
        let pair = told(faults, 3, "");
        assert_eq!(three_scans(&pair), events, "{faults:?}: {}", pair.host.log());
        wait_count(&pair, MADE, made);
        let calls = |call: &str| fs::read_to_string(pair.folder().join(call)).unwrap_or_default().len();
        assert_eq!(calls("create"), 1 + made as usize, "{faults:?}");
        // Each instance gets the previous one's values.
        assert_eq!(values(&pair), "7\n".repeat(1 + made as usize), "{faults:?}");
        let file = pair.bad.display().to_string();
        let log = pair.stop();
        let lines: Vec<_> = log.lines().filter(|line| line.contains("another instance is made")).collect();
        assert!(lines.len() == made as usize && lines.iter().all(|line| line.contains(&file)), "{faults:?}: {log}");
    }
}

#[test]
fn after_garbage_the_next_scan_has_another_instance_that_works() {
    let pair = Pair::start(in_c("answers_garbage_once"), 3, "");
    // The plugin in C has ten events per run.
    assert_eq!(three_scans(&pair), [0, 10, 10], "{}", pair.host.log());
    wait_count(&pair, MADE, 1);
    let metrics = pair.host.get("/metrics").unwrap();
    let line = metrics.lines().find(|line| line.contains(MADE)).unwrap_or_else(|| panic!("{metrics}"));
    assert!(line.ends_with(" 1.0"), "{line}");
    let log = pair.stop();
    assert!(log.contains("another instance is made, because next answered outcome 77"), "{log}");
}

#[test]
fn an_instance_that_cannot_be_made_is_tried_again_later() {
    let mut pair = told(&["next panics", "create fails"], 30, "");
    assert_eq!(pair.good_loses_nothing(), 0);
    assert_eq!(pair.good_loses_nothing(), 0);
    pair.bad_fails("no other instance can be made: create has met something");
    wait_count(&pair, NOT_MADE, 1);
    // Not in every scan, but soon.
    wait_for("the third instance", LIMIT, || (pair.good_loses_nothing() == ALL).then_some(()));
    assert_eq!(pair.good_loses_nothing(), ALL);
    wait_count(&pair, MADE, 1);
    assert_eq!(pair.count(NOT_MADE), 1);
    drop(pair);
}

#[test]
fn faults_in_a_row_back_off_and_are_told_once() {
    let mut pair = Pair::start(in_c("answers_garbage"), 12, "");
    for _ in 0..12 {
        pair.good_loses_nothing();
    }
    pair.bad_fails("next answered outcome 77");
    let made = pair.count(MADE);
    // Twelve scans take at least six seconds: one instance at once, others after 1, 2 and 4 s.
    assert!((2..=5).contains(&made), "{made}");
    let log = pair.stop();
    for says in ["the source failed", "another instance is made"] {
        assert_eq!(log.matches(says).count(), 1, "{log}");
    }
}

#[test]
fn a_source_whose_old_instance_keeps_its_place_fails_with_that_reason_in_each_scan() {
    let mut pair = Pair::start(in_c("answers_garbage_and_keeps_its_place"), 3, "");
    let _ = pair.good_loses_nothing();
    for _ in 0..2 {
        assert_eq!(pair.good_loses_nothing(), 0);
        pair.bad_fails("no other instance can be made: the place is taken");
        pair.bad_fails("could not be ended and may hold what this one needs");
    }
    assert_eq!(pair.count(MADE), 0);
    let _ = pair.stop();
}

/// Waits for a scan in which the bad stream works, and checks that it also works in the next.
fn works_again(pair: &Pair) {
    wait_for("a scan with the bad stream", LIMIT, || (pair.good_loses_nothing() == ALL).then_some(()));
    assert_eq!(pair.good_loses_nothing(), ALL);
}

#[test]
fn in_the_place_of_a_call_that_hangs_another_copy_of_the_plugin_works() {
    // A run that hangs in close has already yielded all its events.
    for (fault, events) in [("open hangs", 0), ("next hangs", 0), ("close hangs", ALL)] {
        let pair = told(&[fault], 8, "");
        assert_eq!(pair.good_loses_nothing(), events, "{fault}");
        works_again(&pair);
        let states: Vec<_> = pair.generations().iter().map(|generation| generation["state"].clone()).collect();
        assert_eq!(states, ["written off", "loaded"], "{fault}");
        let metrics = pair.host.get("/metrics").unwrap();
        let mut series: Vec<_> =
            metrics.lines().filter_map(|line| line.rsplit_once(' ')).map(|(name, _)| name).collect();
        series.retain(|name| !name.starts_with('#'));
        let all = series.len();
        series.sort_unstable();
        series.dedup();
        assert_eq!(series.len(), all, "a series occurs twice: {metrics}");
        assert_eq!(values(&pair), "7\n7\n", "{fault}");
        let swap: Value = serde_json::from_str(&pair.host.get("/swaps/1").unwrap()).unwrap();
        assert_eq!((&swap["asked_by"], &swap["state"]), (&"recovery".into(), &"effective".into()), "{swap:#}");
        drop(pair);
    }
}

#[test]
fn an_instance_whose_making_hangs_is_followed_by_another_copy_that_works() {
    let pair = told(&["next panics", "create hangs"], 12, "");
    assert_eq!(pair.good_loses_nothing(), 0);
    works_again(&pair);
    assert_eq!(pair.generations()[0]["state"], "written off");
    drop(pair);
}

#[test]
fn a_call_that_hung_and_has_returned_is_used_again_and_no_copy_beyond_the_limit_is_made() {
    // One generation for each stream, and no more.
    let mut pair = told(&["open hangs"], 12, "max_generations = 2");
    assert_eq!(pair.good_loses_nothing(), 0);
    wait_for("the refusal", LIMIT, || pair.host.log().contains("FG-ABI-GENERATIONS").then_some(()));
    for _ in 0..3 {
        assert_eq!(pair.good_loses_nothing(), 0);
    }
    pair.bad_fails("in an earlier scan has not returned yet");
    assert_eq!(pair.host.log().matches("in an earlier scan").count(), 1, "{}", pair.host.log());
    fs::write(pair.folder().join("go"), "").unwrap();
    works_again(&pair);
    assert_eq!(pair.generations().len(), 1);
    let calls: PathBuf = pair.folder().join("create");
    assert_eq!(fs::read_to_string(calls).unwrap(), "x", "the same instance");
    drop(pair);
}

#[test]
fn a_copy_that_waits_is_not_used_when_the_call_has_returned_by_the_next_scan() {
    let setup = Setup { scans: 3, faults: &["open hangs"], held: true, ..Setup::default() };
    let pair = Pair::with(|_| bad_plugin("fails_as_told"), &setup);
    let swap = || serde_json::from_str::<Value>(&pair.host.get("/swaps/1").ok()?).ok();
    wait_for("the copy", LIMIT, || (swap()?["state"] == "pending").then_some(()));
    fs::write(pair.folder().join("go"), "").unwrap();
    let returned = "the call that was written off has returned";
    wait_for("its return", LIMIT, || pair.host.log().contains(returned).then_some(()));
    pair.go();
    assert_eq!(pair.good_loses_nothing(), 0, "the scan that it failed in");
    pair.go();
    assert_eq!(pair.good_loses_nothing(), ALL);
    let swap = swap().unwrap();
    assert_eq!((&swap["state"], &swap["effective_scan"]), (&"refused".into(), &Value::Null), "{swap:#}");
    assert!(swap["problem"].as_str().unwrap().contains("not needed"), "{swap:#}");
    drop(pair);
}

#[test]
fn a_plugin_with_a_type_for_each_event_takes_no_room_from_others() {
    let plugin = bad_plugin("fails_as_told");
    let mut pair = Pair::with(in_c("counts_in_typ"), &Setup { scans: 1, held: true, ..Setup::default() });
    pair.bad_fails("after 64 others, which is the limit");
    // A plugin that is loaded later, with a new event type.
    let settings = format!("{{\"faults\": [], \"folder\": {:?}}}", pair.folder());
    let output = pair.host.swap(&["good", plugin.to_str().unwrap(), "--settings", &settings]);
    assert!(output.status.success(), "{output:?}");
    pair.go();
    for scan in 0..4 {
        assert_eq!(pair.good_loses_nothing(), 0);
        // A separate thread writes the log.
        let says = || pair.host.log().contains("new source from this scan on: bad") || scan == 0;
        wait_for("the swap in the log", LIMIT, || says().then_some(()));
    }
    drop(pair);
}

#[test]
fn a_plugin_file_that_was_exchanged_before_a_call_hung_is_not_called_a_wrong_pin() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("libexchanged.so");
    fs::copy(bad_plugin("fails_as_told"), &file).unwrap();
    let setup = Setup { scans: 8, faults: &["open hangs"], held: true, ..Setup::default() };
    let other = folder.path().join("other.so");
    fs::copy(bad_plugin("no_note"), &other).unwrap();
    let mut pair = Pair::with(|_| file.clone(), &setup);
    pair.host.wait_for("the start", |_| true);
    fs::rename(&other, &file).unwrap();
    wait_for("the refusal", LIMIT, || pair.host.log().contains("refused, and nothing has changed").then_some(()));
    let log = pair.host.log();
    assert!(log.contains("SIGHUP") && log.contains("with `framegate swap`") && !log.contains("pinned"), "{log}");
    drop(pair);
}
