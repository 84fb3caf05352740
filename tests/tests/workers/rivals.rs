//! Two live workers with one name.

use std::time::Duration;

use framegate_tests::{
    process::wait_for,
    standalone::{House, Wish, images, is_end},
    worker::{LIMIT, Worker},
};

use super::{count, of_worker};

const TURNED_AWAY: &str = "connections_of_rivals";
const TAKEN_OVER: &str = "connections_of_lost_workers";

#[test]
fn of_two_live_workers_with_one_name_one_keeps_it_and_a_warning_has_both_addresses() {
    let mut house = House::new(&Wish::default());
    let workers = [house.worker("twin"), house.worker("twin")];
    let status = house.host.wait_for("the end of their quarrel", |ingester| count(ingester, TURNED_AWAY) >= 5);
    let taken_over = count(&status, TAKEN_OVER);
    assert!(taken_over <= 5, "the name went from hand to hand {taken_over} times");
    let keeps = of_worker(&status, "twin")["service_uuid"].clone();
    // Events are not split between them, and status shows one worker.
    house.detector.header();
    for image in 0..20u8 {
        house.detector.image(&[image; 5000]);
        let before = count(&house.host.ingester().unwrap(), TURNED_AWAY);
        let status = house.host.wait_for("another try", |ingester| count(ingester, TURNED_AWAY) > before);
        assert_eq!(of_worker(&status, "twin")["service_uuid"], keeps);
    }
    house.detector.end();
    let (mut has, other): (Vec<_>, Vec<_>) =
        workers.into_iter().partition(|worker| keeps == worker.service_uuid().to_string());
    println!("{keeps} keeps the name: {:?}", house.host.ingester());
    let got = has[0].until(is_end);
    assert_eq!(images(&got), (0..20u8).map(|image| vec![image; 5000]).collect::<Vec<_>>());
    assert!(other[0].within(Duration::ZERO).is_none());
    let status = house.host.ingester().unwrap();
    assert_eq!((count(&status, TAKEN_OVER), count(&status, "messages_lost")), (taken_over, 0));
    let log = house.host.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("two workers have the name twin")).collect();
    assert!(lines.len() == 1 && lines[0].matches("127.0.0.1:").count() == 2, "{log}");

    // When it leaves, the other one is served.
    let _ = has[0].end();
    let uuid = other[0].service_uuid().to_string();
    house.host.wait_for("the other one", |ingester| of_worker(ingester, "twin")["service_uuid"] == uuid.as_str());
    house.detector.run([vec![7; 5000]]);
    assert_eq!(other[0].until(is_end).len(), 3);
}

#[test]
fn a_worker_that_keeps_its_name_and_falls_silent_loses_it_to_the_other() {
    let mut house = House::new(&Wish::default());
    let workers = [house.worker("twin"), house.worker("twin")];
    let status = house.host.wait_for("the end of their quarrel", |ingester| count(ingester, TURNED_AWAY) >= 1);
    let keeps = of_worker(&status, "twin")["service_uuid"].clone();
    let of = |worker: &Worker| worker.service_uuid().to_string();
    let (silent, other): (Vec<_>, Vec<_>) = workers.iter().partition(|worker| keeps == of(worker));
    silent[0].ping(false);
    let uuid = of(other[0]);
    wait_for("the other one", LIMIT, || {
        (of_worker(&house.host.ingester().ok()?, "twin")["service_uuid"] == uuid.as_str()).then_some(())
    });
    house.detector.run([vec![7; 5000]]);
    assert_eq!(other[0].until(is_end).len(), 3);
}
