//! Workers that do not read: processes under SIGSTOP, and slow ones.

use std::time::{Duration, Instant};

use framegate_tests::{
    standalone::{House, Wish, images, is_end, numbers},
    worker::{LIMIT, Worker},
};

use super::count;

const IMAGE: usize = 4 << 20;
const MIB: u64 = 1 << 20;

/// One of two workers is stopped while more data arrives than fits into memory.
fn one_of_two_is_stopped(memory_limit: u64) {
    let keys = format!("memory_limit = \"{memory_limit} MiB\"\nworker_timeout = \"2 s\"\nstall_timeout = \"off\"");
    let wish = Wish {
        standalone: "min_workers = 2",
        ingester: &keys,
        settings: "receive_budget = \"16 MiB\"",
        ..Wish::default()
    };
    let mut house = House::new(&wish);
    let (stopped, healthy) = (house.listener("stopped"), house.worker("healthy"));
    stopped.pause();
    let sent = memory_limit / 4 + 30;
    house.detector.run((0..sent).map(|image| vec![image as u8; IMAGE]));
    let got = healthy.until(is_end);
    for message in &got[1..got.len() - 1] {
        assert!(message.frames[1] == vec![(message.number() - 1) as u8; IMAGE], "event {}", message.number());
    }
    // In turn while both are connected, and all after the other one is given up.
    let numbers = numbers(&got);
    assert!(numbers.windows(2).all(|pair| pair[1] - pair[0] <= 2), "{numbers:?}");
    let status = house.host.wait_for("the end of the stopped connection", |ingester| {
        ingester["counters"]["connections_of_lost_workers"] == 1
    });
    assert_eq!(count(&status, "workers_evicted"), 1);
    let peak = house.host.peak_memory();
    assert!(peak <= (memory_limit + 100) * MIB, "{} MiB were in use", peak / MIB);
    let (dropped, lost) = (count(&status, "messages_dropped"), count(&status, "messages_lost"));
    // The kernel may still have the end of a message. All data in the stopped worker's buffers is lost and not counted.
    assert!(dropped > 0 && lost <= 1, "{dropped} dropped, {lost} lost");
    assert!(house.host.log().contains("it neither pings nor reads, and memory_limit is reached"));
}

#[test]
fn a_stopped_worker_costs_no_more_memory_than_a_small_limit_and_others_get_theirs() {
    one_of_two_is_stopped(64);
}

#[test]
fn a_stopped_worker_costs_no_more_memory_than_a_large_limit_and_others_get_theirs() {
    one_of_two_is_stopped(256);
}

#[test]
fn a_stopped_worker_that_wakes_in_time_gets_all_of_its_own_in_order() {
    let wish = Wish {
        standalone: "min_workers = 2",
        ingester: "memory_limit = \"64 MiB\"\nworker_timeout = \"1 min\"\nstall_timeout = \"off\"",
        settings: "receive_budget = \"16 MiB\"",
        ..Wish::default()
    };
    let mut house = House::new(&wish);
    let (stopped, healthy) = (house.listener("stopped"), house.worker("healthy"));
    stopped.pause();
    house.detector.header();
    let mut sent = 0;
    // On a slow machine it ends sooner: then less waits, and all later checks still apply.
    while !house.detector.is_held_back_for(Duration::from_millis(700)) {
        house.detector.image(&vec![sent as u8; IMAGE]);
        sent += 1;
        assert!(sent < 100, "400 MiB are somewhere");
    }
    stopped.resume();
    house.detector.end();
    let of_healthy = numbers(&healthy.until(is_end));
    stopped.wait_for_number(sent + 1, LIMIT);
    let of_stopped = stopped.numbers();
    assert!(of_stopped.is_sorted() && of_stopped[0] == 0, "{of_stopped:?}");
    let mut all: Vec<u64> = of_healthy.iter().chain(&of_stopped).copied().collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!((all, of_healthy.len() + of_stopped.len()), ((0..sent + 2).collect(), sent as usize + 4));
    let status = house.host.ingester().unwrap();
    assert_eq!(count(&status, "workers_evicted") + count(&status, "messages_lost"), 0);
}

/// Times are a fifth of the defaults, and of a worker that reads one event in 3 s.
fn a_slow_worker(pings: bool) {
    let wish = Wish {
        ingester: "memory_limit = \"32 MiB\"\nworker_timeout = \"2 s\"\nstall_timeout = \"off\"",
        settings: "receive_budget = \"16 MiB\"",
        ..Wish::default()
    };
    let mut house = House::new(&wish);
    let worker = Worker::slow("slow", &house.url, Duration::from_millis(600));
    house.wait_for_worker("slow");
    let began = Instant::now();
    // It stays connected: the first pings count for 8 s while messages wait for it.
    worker.ping(pings);
    house.detector.run((0..8u8).map(|image| vec![image; IMAGE]));
    let got = worker.until(is_end);
    // More than twice `worker_timeout`, or nothing was tested.
    assert!(began.elapsed() > Duration::from_secs(5), "it is slow: {:?}", began.elapsed());
    assert_eq!(images(&got), (0..8u8).map(|image| vec![image; IMAGE]).collect::<Vec<_>>());
    assert_eq!(count(&house.host.ingester().unwrap(), "workers_evicted"), 0);
}

#[test]
fn a_slow_worker_that_pings_loses_nothing() {
    a_slow_worker(true);
}

#[test]
fn a_slow_worker_that_does_not_ping_loses_nothing() {
    a_slow_worker(false);
}
