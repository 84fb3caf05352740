//! The distribution of events among workers, from scan to scan.

use std::time::Duration;

use serde_json::json;

use framegate_tests::{
    process::wait_for,
    standalone::{House, Wish, images, is_end, numbers},
    worker::LIMIT,
};

#[test]
fn images_go_in_turn_and_starts_and_ends_go_to_everyone() {
    let mut house = House::new(&Wish { standalone: "min_workers = 2", ..Wish::default() });
    let workers = [house.worker("w1"), house.worker("w2")];
    house.detector.run((0..10).map(|image| vec![image; 5000]));
    let got = workers.each_ref().map(|worker| worker.until(is_end));
    for got in &got {
        assert_eq!(got.len(), 7, "header, five images, end");
        assert_eq!((got[0].number(), got[6].number()), (0, 11));
        let header = got[1].header();
        assert_eq!(header["streams"], json!({"camera": {"typ": "STINS", "length": 2}}));
    }
    let mut all: Vec<u64> = got.iter().flat_map(|got| numbers(&got[1..6])).collect();
    all.sort_unstable();
    assert_eq!(all, (1..=10).collect::<Vec<_>>());
    for message in got.iter().flat_map(|got| &got[1..6]) {
        assert_eq!(message.frames[1], vec![message.number() as u8 - 1; 5000]);
    }
    // In turn: every second event.
    assert!(got.iter().all(|got| numbers(&got[1..6]).windows(2).all(|pair| pair[1] == pair[0] + 2)));
}

#[test]
fn with_broadcast_every_event_goes_to_everyone() {
    let mut house = House::new(&Wish { standalone: "min_workers = 3\nbroadcast = true", ..Wish::default() });
    let workers = ["w1", "w2", "w3"].map(|name| house.worker(name));
    house.detector.run((0..10).map(|image| vec![image; 100_000]));
    for worker in workers {
        let got = worker.until(is_end);
        assert_eq!(numbers(&got), (0..12).collect::<Vec<_>>());
        assert_eq!(images(&got), (0..10).map(|image| vec![image; 100_000]).collect::<Vec<_>>());
    }
}

#[test]
fn scans_follow_each_other_and_the_last_one_ends_the_program() {
    let mut house = House::new(&Wish { standalone: "scans = 3", ..Wish::default() });
    let worker = house.worker("w1");
    let mut last = house.host.ingester().unwrap()["ready"].clone();
    for scan in 0..3u8 {
        house.detector.run((0..4).map(|image| vec![scan * 10 + image; 3000]));
        let got = worker.until(is_end);
        assert_eq!(numbers(&got), (0..6).collect::<Vec<_>>(), "each scan counts from 0");
        assert_eq!(images(&got), (0..4).map(|image| vec![scan * 10 + image; 3000]).collect::<Vec<_>>());
        if scan < 2 {
            let next = house
                .host
                .wait_for("the next scan", |ingester| ingester["state"] == "running" && ingester["ready"] != last);
            last = next["ready"].clone();
        }
    }
    assert!(house.host.wait(Duration::from_secs(20)).success());
    let log = house.host.log();
    let line = "finished: camera: 6 events read, all forwarded";
    assert_eq!(log.matches(line).count(), 3, "{log}");
}

#[test]
fn events_wait_until_enough_workers_are_there() {
    let mut house = House::new(&Wish { standalone: "min_workers = 2", ..Wish::default() });
    let first = house.worker("w1");
    house.detector.run([vec![1; 10], vec![2; 10]]);
    let waiting = house.host.wait_for("the events", |ingester| ingester["streams"]["camera"]["read"] == 4);
    assert_eq!(waiting["streams"]["camera"]["forwarded"], 0, "one of two workers is there");
    let second = house.worker("w2");
    // The second worker gets the start and its half: no event was sent before it connected.
    assert_eq!((first.until(is_end).len(), second.until(is_end).len()), (3, 3));
}

#[test]
fn a_worker_that_leaves_costs_its_own_events_only_and_serves_again_when_it_returns() {
    let mut house =
        House::new(&Wish { standalone: "min_workers = 2", ingester: "worker_timeout = \"300 ms\"", ..Wish::default() });
    let stays = house.worker("stays");
    let leaves = house.worker("leaves");
    house.detector.header();
    (0..10).for_each(|image| house.detector.image(&[image; 1000]));
    (0..6).for_each(|_| drop(leaves.next()));
    drop(leaves);
    // At most the events sent before its absence is noticed are lost with it; waiting ones are counted.
    let mut sent = 10;
    let after = wait_for("the eviction", LIMIT, || {
        house.detector.image(&[0; 1000]);
        sent += 1;
        house.host.ingester().ok().filter(|ingester| ingester["counters"]["workers_evicted"] == 1)
    });
    let dropped = after["counters"]["messages_dropped"].as_u64().unwrap();
    assert!(dropped >= 1);
    let returned = house.worker("leaves");
    (0..10).for_each(|image| house.detector.image(&[image; 1000]));
    house.detector.end();
    let (stayed, returned) = (stays.until(is_end), returned.until(is_end));
    assert_eq!(images(&returned).len(), 5, "in turn again");
    let gone = sent + 10 - 5 - images(&stayed).len() - images(&returned).len();
    assert!((dropped as usize..=(sent - 10usize).div_ceil(2)).contains(&gone), "{gone} are gone, {dropped} dropped");
    assert!(
        house.host.log().contains("worker leaves is evicted and gets nothing more in this scan"),
        "{}",
        house.host.log()
    );
}
