//! Large numbers of connections that ping once, like workers that vanish, or unrelated clients.

use std::{
    io,
    net::TcpStream,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use framegate_tests::{
    process::{self, wait_for},
    standalone::{House, Wish, is_end},
    worker::LIMIT,
};
use serde_json::Value;
use uuid::Uuid;

use super::{
    count, of_worker,
    strangers::{by_hand, descriptors},
};

/// Held by a test with ten thousand connections: two of them at a time need more descriptors than a process may have.
static MANY_DESCRIPTORS: Mutex<()> = Mutex::new(());

const ENDED: &str = "connections_without_worker";

/// Connects under a name and pings once. Error: the connection was closed before that.
fn pings_once(house: &House, name: &str) -> io::Result<TcpStream> {
    use std::io::Write as _;

    let mut stream = by_hand(house, name.as_bytes())?;
    stream.write_all(&[&[0, 16], &Uuid::new_v4().as_bytes()[..]].concat())?;
    Ok(stream)
}

/// Opens ten thousand such connections and keeps them, with one worker before and some after them; `of_workers` and
/// `of_strangers` are the numbers of places.
fn masses_leave_places(mut house: House, of_workers: usize, of_strangers: usize) {
    let _alone = MANY_DESCRIPTORS.lock().unwrap_or_else(PoisonError::into_inner);
    process::limit(std::process::id(), "nofile", None);
    let worker = house.worker("w1");
    // After its second ping it is more than an invented name.
    let seen = |ingester: &Value| of_worker(ingester, "w1")["last_seen"].clone();
    let first = seen(&house.host.ingester().unwrap());
    house.host.wait_for("its second ping", |ingester| seen(ingester) != first);
    let before = descriptors(&house.host);
    let (mut held, mut peak) = (Vec::new(), 0);
    for number in 0..10_000 {
        match pings_once(&house, &format!("once-{number}")) {
            Ok(stream) => held.push(stream),
            // A time-out: there is no answer.
            Err(error) => assert!(error.kind() != io::ErrorKind::WouldBlock, "connection {number}: {error}"),
        }
        if number % 50 == 0 {
            peak = peak.max(descriptors(&house.host));
        }
    }
    // Some more unrelated clients may connect between two checks.
    assert!(peak <= before + of_workers + 2 * of_strangers, "{peak} descriptors, {before} before");
    // SECURITY.md: within a second, even with ten thousand connections. Of a few workers, because the machine may be busy.
    let (mut waits, mut late) = (Vec::new(), Vec::new());
    for number in 0..3 {
        let began = Instant::now();
        late.push(house.worker(&format!("late-{number}")));
        waits.push(began.elapsed());
    }
    assert!(waits.iter().any(|wait| *wait < Duration::from_secs(1)), "the workers wait {waits:?}");
    wait_for("the surplus to end", LIMIT, || {
        (descriptors(&house.host) <= before + of_workers + of_strangers).then_some(())
    });
    house.host.wait_for("the count", |ingester| count(ingester, ENDED) as usize + of_workers + of_strangers >= 10_000);
    drop(held);
    // Until they are forgotten, events are sent to those that have pinged.
    let status = house.host.wait_for("the workers to be the only ones", |ingester| {
        let connected = ingester["workers"].as_array().unwrap().iter().filter(|one| one["connected"] == true);
        connected.count() == 1 + late.len()
    });
    assert_eq!(status["workers"][0]["service_uuid"], worker.service_uuid().to_string());
    house.detector.run((0..10u8).map(|image| vec![image; 20_000]));
    let to_late: usize = late.iter().map(|late| late.until(is_end).len()).sum();
    assert_eq!(worker.until(is_end).len() + to_late, 10 + 2 * (1 + late.len()));
}

#[test]
fn ten_thousand_connections_that_ping_once_leave_places_for_workers() {
    masses_leave_places(House::new(&Wish::default()), 1000, 256);
}

#[test]
fn ten_thousand_connections_that_ping_once_leave_places_where_descriptors_are_few() {
    masses_leave_places(House::with_descriptors(512, &Wish::default()), 224, 112);
}

#[test]
fn workers_that_ping_once_and_vanish_scan_after_scan_give_their_connections_back_and_a_quiet_one_keeps_its_own() {
    // 50 places for workers.
    let mut house = House::with_descriptors(164, &Wish::default());
    let worker = house.worker("w1");
    let quiet = house.worker("quiet");
    let before = descriptors(&house.host);
    let mut held = Vec::new();
    for scan in 0..2 {
        quiet.ping(false);
        held.extend((0..40).map(|number| pings_once(&house, &format!("once-{scan}-{number}")).unwrap()));
        house.host.wait_for("all to be known", |ingester| ingester["workers"].as_array().unwrap().len() >= 42);
        house.host.wait_for("only one to be connected", |ingester| {
            ingester["workers"].as_array().unwrap().iter().filter(|one| one["connected"] == true).count() == 1
        });
        house.detector.run([vec![1; 5000]]);
        assert_eq!(worker.until(is_end).len(), 3);
        house
            .host
            .wait_for("all others to be forgotten", |ingester| ingester["workers"].as_array().unwrap().len() == 1);
        if scan == 0 {
            // Their places are not needed.
            assert_eq!(count(&house.host.ingester().unwrap(), ENDED), 0);
            quiet.ping(true);
            house.wait_for_worker("quiet");
            let ended = count(&house.host.ingester().unwrap(), ENDED);
            assert_eq!(ended, 0, "the quiet one comes back by the connection that it has");
            // One more or less, for a status request that has not ended yet.
            assert!((before + 39..=before + 41).contains(&descriptors(&house.host)), "{before} before");
        }
    }
    wait_for("as many connections as there are places", LIMIT, || {
        (descriptors(&house.host) <= before + 48).then_some(())
    });
    house.host.wait_for("the count", |ingester| count(ingester, ENDED) == 32);
}
