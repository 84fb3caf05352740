//! Workers on another machine.

use std::time::{Duration, Instant};

use framegate_tests::{
    network::{HERE, Network, between},
    process::comes_within,
    standalone::{House, Wish, images, is_end, numbers},
    worker::{LIMIT, Message, Worker},
};
use serde_json::Value;

use super::{BACK, LONG, SHORT, connections_to_far, next};

/// The address for workers on the other machine.
fn url(house: &House) -> String {
    house.url.replace("127.0.0.1", &HERE.to_string())
}

fn far_worker(network: &Network, house: &House, name: &str) -> Worker {
    let url = url(house);
    network.far(|| Worker::connect(name, &url))
}

fn count(ingester: &Value, what: &str) -> u64 {
    ingester["counters"][what].as_u64().unwrap_or_else(|| panic!("{what:?} is not counted"))
}

/// Waits for another ping: with it, the worker's kernel confirms received data.
fn confirmed(house: &mut House, name: &str) {
    let seen = |ingester: &Value| {
        let workers = ingester["workers"].as_array().unwrap();
        workers.iter().find(|worker| worker["name"] == name).map(|worker| worker["last_seen"].clone())
    };
    let before = seen(&house.host.ingester().unwrap());
    house.host.wait_for("another ping", |ingester| seen(ingester) != before);
}

/// All messages up to the end of the run.
fn until_end(worker: &Worker) -> Vec<Message> {
    let mut all = vec![next(worker)];
    while !all.last().is_some_and(is_end) {
        all.push(next(worker));
    }
    all
}

fn the_cable_is_out_for(time: Duration) {
    between(|network| {
        let mut house = House::new(&Wish::default());
        let worker = far_worker(network, &house, "w1");
        house.wait_for_worker("w1");
        house.detector.header();
        house.detector.image(&[0; 5000]);
        assert_eq!((next(&worker).number(), next(&worker).number()), (0, 1));
        network.out_for(time, || (1..10u8).for_each(|image| house.detector.image(&[image; 5000])));
        (10..20u8).for_each(|image| house.detector.image(&[image; 5000]));
        house.detector.end();
        let got = until_end(&worker);
        assert_eq!(images(&got), (1..20u8).map(|image| vec![image; 5000]).collect::<Vec<_>>());
        let status = house.host.ingester().unwrap();
        for what in ["workers_evicted", "messages_lost"] {
            assert_eq!(count(&status, what), 0, "{what}");
        }
    });
}

#[test]
fn a_worker_whose_cable_is_out_for_4_s_loses_nothing() {
    the_cable_is_out_for(SHORT);
}

#[test]
fn a_worker_whose_cable_is_out_for_15_s_loses_nothing() {
    the_cable_is_out_for(LONG);
}

#[test]
fn a_worker_whose_cable_is_out_for_good_is_given_up_and_the_others_go_on() {
    between(|network| {
        let mut house = House::new(&Wish { ingester: "stall_timeout = \"2 s\"", ..Wish::default() });
        let far = far_worker(network, &house, "far");
        house.wait_for_worker("far");
        let near = house.worker("near");
        house.detector.header();
        assert_eq!((next(&far).number(), next(&near).number()), (0, 0));
        confirmed(&mut house, "far");
        network.unplug();
        // More than the network buffers for it; while it is connected, it still gets its share.
        let mut sent = 0;
        let given_up = comes_within(LIMIT, || {
            house.detector.image(&vec![sent; 1 << 20]);
            sent += 1;
            (count(&house.host.ingester().ok()?, "workers_evicted") == 1).then_some(())
        });
        assert!(given_up.is_some(), "after {sent} images it is not given up");
        house.detector.image(&[sent; 1 << 10]);
        house.detector.end();
        let got = until_end(&near);
        assert!(got.iter().any(|message| message.frames.get(1).is_some_and(|image| image.len() == 1 << 10)));
        // All events since the header are accounted for: delivered, dropped, or in transit when the connection ended.
        let all = u64::from(sent) + 2;
        house.host.wait_for("the count of all others", |ingester| {
            let what = ["messages_dropped", "messages_lost"];
            what.map(|what| count(ingester, what)).iter().sum::<u64>() + got.len() as u64 == all
        });
        let ended = "connections_of_lost_workers";
        assert_eq!(count(&house.host.ingester().unwrap(), ended), 1);
    });
}

#[test]
fn a_worker_whose_machine_vanishes_while_nothing_is_sent_leaves_no_connection_behind() {
    between(|network| {
        let mut house = House::new(&Wish::default());
        let worker = far_worker(network, &house, "w1");
        house.wait_for_worker("w1");
        assert_eq!(connections_to_far(&house.host), 1);
        let began = Instant::now();
        network.vanish();
        drop(worker);
        let ended = comes_within(BACK, || (connections_to_far(&house.host) == 0).then_some(()));
        assert!(ended.is_some(), "after {:?} its connection is still there", began.elapsed());
    });
}

#[test]
fn a_worker_whose_machine_vanishes_and_comes_back_under_its_address_is_served_at_once() {
    between(|network| {
        let mut house = House::new(&Wish::default());
        let worker = far_worker(network, &house, "w1");
        house.wait_for_worker("w1");
        house.detector.header();
        assert_eq!(next(&worker).number(), 0);
        confirmed(&mut house, "w1");
        network.vanish();
        drop(worker);
        (0..3u8).for_each(|image| house.detector.image(&[image; 20_000]));
        house.host.wait_for("three on their way", |ingester| ingester["streams"]["camera"]["read"] == 4);
        network.come_back();
        let began = Instant::now();
        let returned = far_worker(network, &house, "w1");
        let uuid = returned.service_uuid().to_string();
        house.host.wait_for("the worker", |ingester| ingester["workers"][0]["service_uuid"] == uuid.as_str());
        assert!(began.elapsed() < Duration::from_secs(4), "it waited {:?}", began.elapsed());
        house.detector.image(&[3; 5000]);
        house.detector.end();
        let got = numbers(&until_end(&returned));
        let status = house.host.ingester().unwrap();
        let lost = count(&status, "messages_lost");
        // Messages that were not confirmed are counted as lost; the following ones arrive without a gap.
        assert_eq!(got, (1 + lost..6).collect::<Vec<_>>());
        assert!(lost <= 3, "{lost}");
    });
}
