//! A consumer that is slow, and events that are large: with the crate's own child.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod common;

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use common::{Host, PATIENCE, content, launch, start_as, until};
use framegate_isolation::{Frames, Launch, wire::WINDOW};
use framegate_plugin_abi::{caller::Limits, codes::Progress};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;

#[test]
#[ignore = "the entry of the children"]
fn child() {
    common::play();
}

const MIB: usize = 1 << 20;

/// A child with an open run that gives events of these sizes, again and again.
fn served(launch: Launch, sizes: &[usize]) -> Host {
    let mut host = start_as("served", launch, Box::leak(Box::default())).unwrap();
    host.apart.create("test", json!({ "sizes": sizes, "times": 100_000_000 / sizes.len() })).unwrap();
    host.apart.open().unwrap();
    host
}

/// Takes one event.
fn one(host: &mut Host) -> Frames {
    let mut events = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while events.is_empty() {
        assert!(Instant::now() < deadline, "no event comes");
        let limits = Limits { events: 1, bytes: MIB };
        host.apart.next(limits, Duration::from_millis(100), |_, _, frames| events.push(frames)).unwrap();
    }
    events.remove(0)
}

/// Memory of its own, in bytes.
fn own_memory(process: &Path) -> usize {
    let status = fs::read_to_string(process.join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<usize>().unwrap() << 10
}

/// Waits until it uses hardly any time.
fn waits(process: &Path) {
    let used = || {
        let stat = fs::read_to_string(process.join("stat")).unwrap();
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    until("it waits for room", || {
        let before = used();
        // A span of time, to compare.
        thread::park_timeout(Duration::from_millis(200));
        used() <= before + 1
    });
}

fn signal(host: &Host, signal: Signal) {
    kill(Pid::from_raw(host.apart.pid() as i32), signal).unwrap();
}

#[test]
fn a_child_runs_ahead_by_no_more_than_the_window_and_goes_on_at_once() {
    for (size, most) in [(65_536, WINDOW as usize + 65_536), (3 * MIB, 6 * MIB), (64, WINDOW as usize + MIB)] {
        let mut host = served(launch(PATIENCE), &[size]);
        let mut number = host.events(20).unwrap().len();
        waits(&host.process);
        let before = own_memory(&host.process);
        waits(&host.process);
        host.apart.held_back().unwrap();
        host.apart.status().unwrap();
        waits(&host.process);
        let more = own_memory(&host.process).saturating_sub(before);
        assert!(more < 2 * MIB, "{more} bytes more of its own, of events of {size}");
        // All that it has given, while it cannot give more.
        signal(&host, Signal::SIGSTOP);
        let mut events = Vec::new();
        while host.next(&mut events).unwrap() == Progress::More || events.is_empty() {}
        let bytes: usize = events.iter().flatten().map(|frame| frame.len()).sum();
        assert!((1..=most).contains(&bytes), "{bytes} bytes ahead, of events of {size}");
        signal(&host, Signal::SIGCONT);
        let next = host.events(5).unwrap();
        for event in events.drain(..).chain(next) {
            assert!(event[0].as_slice() == content(number, size), "event {number} of {size} bytes");
            number += 1;
        }
        host.apart.close().unwrap();
        host.ends(0);
    }
}

#[test]
fn events_that_a_close_drops_do_not_count_against_the_next_run() {
    // The large one is more than the window, behind a small one.
    let mut host = served(launch(PATIENCE), &[10, 4 * MIB, 10]);
    for run in 0..4 {
        assert!(one(&mut host)[0].as_slice() == content(0, 10), "run {run}");
        waits(&host.process);
        // Receives what has come before the answer, and takes none of it.
        host.apart.status().unwrap();
        assert!(host.ledger.delivered() > 1, "they have come");
        host.apart.close().unwrap();
        host.apart.open().unwrap();
    }
    host.ends(0);
}

#[test]
fn memory_grows_for_a_large_event_and_is_used_again() {
    let mut host = served(launch(PATIENCE), &[40 * MIB, 10]);
    let large = one(&mut host);
    assert!(large[0].as_slice() == content(0, 40 * MIB));
    assert!(one(&mut host)[0].as_slice() == content(1, 10));
    // The next large one does not fit beside it.
    let mut events = Vec::new();
    let waited = Instant::now();
    while waited.elapsed() < Duration::from_millis(300) {
        assert_eq!(host.next(&mut events).unwrap(), Progress::Idle);
    }
    assert!(events.is_empty());
    thread::spawn(move || drop(large)).join().unwrap();
    assert!(one(&mut host)[0].as_slice() == content(2, 40 * MIB));
    host.ends(0);
}

#[test]
fn an_event_that_can_never_fit_is_an_error_that_says_what_to_raise() {
    let small = Launch { shared_memory: 8 << 20, ..launch(PATIENCE) };
    let mut host = served(small, &[8 * MIB, 8 * MIB + 1]);
    assert!(one(&mut host)[0].as_slice() == content(0, 8 * MIB));
    let mut fault = Ok(Progress::Idle);
    until("the error", || {
        fault = host.next(&mut Vec::new());
        fault.is_err()
    });
    let fault = fault.unwrap_err().to_string();
    let said = "8388609 bytes does not fit into the memory that is shared with the host, of 8 MiB; raise shared_memory";
    assert!(fault.contains(said), "{fault}");
    // The source lives on.
    host.apart.close().unwrap();
    host.apart.open().unwrap();
    assert!(one(&mut host)[0].as_slice() == content(0, 8 * MIB));
    host.ends(0);
}

#[test]
fn a_large_parameter_reaches_a_child_whose_own_messages_wait() {
    // Small events: their messages fill the socket before the window is full.
    let mut host = served(launch(Duration::from_secs(5)), &[8]);
    drop(one(&mut host));
    waits(&host.process);
    let value = vec![7; 16 * MIB];
    host.apart.set_parameter("large", &value).unwrap();
    for number in 1..100 {
        assert!(one(&mut host)[0].as_slice() == content(number, 8), "event {number}");
    }
    host.apart.close().unwrap();
    host.ends(0);
}
