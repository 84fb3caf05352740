//! An ingester that is restarted before, in or after a scan, and the controller's scan.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use framegate::{FaultSubject, names::IngesterName};
use framegate_tests::stage::{Stage, check};

const EIGER_TO_W1: &[(&str, &[&str])] = &[("eiger", &["w1"])];

#[test]
fn a_restarted_ingester_joins_a_scan_of_which_nothing_was_handed_out() {
    let mut stage = Stage::new(&["eiger"], 2);
    stage.scan(&["eiger"]);
    stage.controller.set_parameter("whatever", b"1");
    stage.crash_host();
    stage.start_host();
    let worker = stage.worker("w1");
    // As the controller does every two seconds while the hashes differ.
    stage.controller.repeat();
    stage.controller.wait_ready("eiger-ingester");
    stage.controller.wait_hash("eiger-ingester");
    assert!(stage.report().streams.values().all(|stream| stream.active));
    stage.next_runs();
    stage.controller.assign(&[EIGER_TO_W1]);
    assert_eq!(worker.next().number(), 0);
    stage.finish();
}

#[test]
fn a_restarted_ingester_joins_a_scan_under_way_without_streams_and_says_so() {
    let mut stage = Stage::new(&["eiger"], 2);
    let worker = stage.worker("w1");
    stage.scan(&["eiger"]);
    stage.controller.assign(&[EIGER_TO_W1]);
    check(&worker.next(), "eiger", 0, 0, 2);
    stage.crash_host();
    stage.start_host();
    stage.controller.repeat();
    stage.controller.wait_ready("eiger-ingester");
    assert!(stage.report().streams.values().all(|stream| !stream.active));
    let faults = stage.host().control_report().faults;
    let fault = &faults[&FaultSubject::Ingester(IngesterName::new("eiger-ingester").unwrap())];
    let scan = stage.controller.mapping;
    let says = [format!("in the middle of scan {scan}"), format!("repeat scan {scan} if you need eiger in it")];
    assert!(says.iter().all(|words| fault.contains(words)), "{fault}");
    stage.finish();
    // The next scan works again.
    stage.next_runs();
    stage.scan(&["eiger"]);
    assert_eq!(stage.host().control_report().faults, [].into());
    assert!(stage.report().streams.values().all(|stream| stream.active));
}

#[test]
fn an_ingester_that_is_restarted_after_a_scan_has_nothing_to_complain_of_and_waits_for_the_next() {
    let mut stage = Stage::new(&["eiger"], 2);
    let worker = stage.worker("w1");
    stage.whole_scan("eiger", 0, 2, &worker);
    drop(worker);
    stage.crash_host();
    stage.start_host();
    // Its parameters differ, so the controller repeats its update.
    stage.controller.set_parameter("whatever", b"1");
    stage.controller.wait_ready("eiger-ingester");
    stage.controller.wait_hash("eiger-ingester");
    assert_eq!(stage.host().control_report().faults, [].into());
    assert!(stage.report().streams.values().all(|stream| !stream.active), "the scan is over");
    let worker = stage.worker("w1");
    stage.whole_scan("eiger", 1, 2, &worker);
}

#[test]
fn a_restarted_ingester_is_not_misled_by_the_mapping_before_or_after() {
    let mut stage = Stage::new(&["eiger"], 2);
    stage.scan(&["eiger"]);
    stage.scan(&["other"]);
    stage.crash_host();
    stage.start_host();
    stage.controller.repeat();
    stage.controller.wait_ready("eiger-ingester");
    // Without this ingester's streams there is no fault.
    assert_eq!(stage.host().control_report().faults, [].into());
    assert!(stage.report().streams.values().all(|stream| !stream.active));
}

#[test]
fn a_restarted_ingester_finds_the_streams_of_its_scan_below_a_hundred_thousand_updates() {
    let mut stage = Stage::new(&["eiger"], 2);
    stage.scan(&["eiger"]);
    stage.controller.store_parameter("whatever", b"1");
    let update = stage.controller.update(&[], false);
    for _ in 0..100 {
        stage.controller.publish_together(&vec![update.clone(); 1000]);
    }
    stage.crash_host();
    stage.start_host();
    stage.controller.repeat();
    stage.controller.wait_ready("eiger-ingester");
    assert!(stage.report().streams["eiger"].active);
    stage.controller.wait_hash("eiger-ingester");
}
