//! Control by a dranspose controller through a real Redis: every promise of the wire, seen from outside.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use framegate_tests::stage::Stage;

#[test]
fn two_scans_reach_the_worker_whole() {
    let mut stage = Stage::new(&["eiger"], 20);
    let worker = stage.worker("w1");
    stage.whole_scan("eiger", 0, 20, &worker);
    stage.whole_scan("eiger", 1, 20, &worker);
}
