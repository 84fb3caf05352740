//! Starting and ending many children leaves nothing behind.
//!
//! `FRAMEGATE_ISOLATION_CYCLES` is the number of cycles; without it there are 200, which take some seconds. Run this with
//! 1,000 or more after a change of how children start or end.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod common;

use std::{collections::VecDeque, env, fs, thread, time::Duration};

use common::{PATIENCE, content, launch, start_as, until};
use framegate_plugin_abi::frame::Ledger;
use serde_json::json;

#[test]
#[ignore = "the entry of the children"]
fn child() {
    common::play();
}

/// Descriptors, threads, and children of this process.
fn held() -> (usize, usize, usize) {
    let count = |path: &str| fs::read_dir(path).unwrap().count();
    let children = fs::read_dir("/proc/self/task")
        .unwrap()
        // A thread may end meanwhile.
        .filter_map(|thread| fs::read_to_string(thread.unwrap().path().join("children")).ok())
        .map(|children| children.split_whitespace().count());
    (count("/proc/self/fd"), count("/proc/self/task"), children.sum())
}

/// Memory in use, in KiB.
fn rss() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse().unwrap()
}

#[test]
fn cycles_of_start_and_end_leave_nothing() {
    static LEDGER: Ledger = Ledger::new();
    let cycles = env::var("FRAMEGATE_ISOLATION_CYCLES").map_or(200, |number| number.parse().unwrap());
    let mut kept = VecDeque::new();
    let mut before = None;
    for cycle in 0..cycles {
        // The first ones may allocate what stays.
        if cycle == 20 {
            kept.clear();
            before = Some((held(), rss()));
        }
        let mut host = start_as("puppet", launch(PATIENCE), &LEDGER).unwrap();
        host.apart.create("test", json!({})).unwrap();
        host.apart.open().unwrap();
        let sizes: Vec<u8> = [100_u32, 5000, 70_000].iter().flat_map(|size| size.to_le_bytes()).collect();
        host.apart.set_parameter("give", &sizes).unwrap();
        let events = host.events(3).unwrap();
        match cycle % 5 {
            0 => {}
            1 => drop(host.fails("kill", &[])),
            2 => drop(host.fails("abort", &[])),
            3 => drop(host.fails("exit", &[7])),
            _ => drop(host.fails("bytes", &[0xff; 64])),
        }
        kept.push_back(events);
        drop(host);
        // Held across some later cycles, and released on another thread.
        if kept.len() > 3 {
            let events = kept.pop_front().unwrap();
            let reader = thread::spawn(move || {
                assert!(events[2][0].as_slice() == content(2, 70_000));
                drop(events);
            });
            reader.join().unwrap();
        }
    }
    kept.clear();
    assert_eq!(LEDGER.delivered(), 3 * cycles as u64);
    assert_eq!(LEDGER.delivered(), LEDGER.released());
    let Some((held_before, rss_before)) = before else { return };
    // The kernel lists a thread for a moment after it was joined.
    until("nothing is left", || {
        thread::park_timeout(Duration::from_millis(1));
        held() == held_before
    });
    let more = rss().saturating_sub(rss_before);
    assert!(more < 2048, "{more} KiB more memory after {cycles} cycles");
}
