//! Workers that are killed and return under their names.

use std::time::Duration;

use framegate_tests::{
    listener::Listener,
    process::{free_port, wait_for},
    proxy::Proxy,
    standalone::{House, Wish, images, is_end, numbers},
    worker::{LIMIT, Worker},
};

use super::{count, of_worker};

const IMAGE: usize = 1 << 20;

const WISH: Wish<'static> = Wish {
    top: "",
    standalone: "",
    ingester: "memory_limit = \"256 MiB\"\nstall_timeout = \"off\"",
    stream: "",
    settings: "",
};

/// Sends images to a worker that does not read, until they wait in framegate; returns their number.
fn fill(house: &mut House) -> u64 {
    let mut sent = 0;
    let mut waits = || {
        house.detector.image(&vec![sent as u8; IMAGE]);
        sent += 1;
        let ingester = house.host.ingester().ok()?;
        let worker = of_worker(&ingester, "w1");
        (worker["waiting"].as_u64()? >= 5).then_some(())
    };
    wait_for("messages to wait", Duration::from_secs(20), &mut waits);
    sent
}

#[test]
fn a_killed_worker_is_served_at_once_when_it_returns_although_its_connection_is_half_open() {
    let mut house = House::new(&WISH);
    let port = house.url.rsplit_once(':').unwrap().1.parse().unwrap();
    let proxy = Proxy::to(port);
    let dies = Listener::connect("w1", &format!("tcp://127.0.0.1:{}", proxy.port()), house.folder());
    house.wait_for_worker("w1");
    // From now on its end is not visible, and the network holds as much as it can.
    proxy.hold();
    dies.kill();
    house.detector.header();
    let sent = fill(&mut house);
    let before = house.host.ingester().unwrap();
    assert_eq!(count(&before, "messages_lost"), 0);

    let returned = Worker::connect("w1", &house.url);
    let after =
        house.host.wait_for("the handover", |ingester| ingester["counters"]["connections_of_lost_workers"] == 1);
    let lost = count(&after, "messages_lost");
    assert_eq!(of_worker(&after, "w1")["lost"], lost);
    house.detector.end();
    let got = returned.until(is_end);
    let numbers = numbers(&got);
    // The messages that waited in framegate have arrived, in order and complete.
    let first = numbers[0];
    assert_eq!(numbers, (first..sent + 2).collect::<Vec<_>>());
    let expected: Vec<_> = (first - 1..sent).map(|image| vec![image as u8; IMAGE]).collect();
    assert!(images(&got) == expected, "an image is another");
    assert!((1..=first).contains(&lost) && lost <= 5, "{lost} are counted, {first} are gone");
    let says = || house.host.log().contains("the connection to worker w1 has ended: up to");
    wait_for("the line in the log", LIMIT, || says().then_some(()));
    drop(proxy);
}

#[test]
fn what_the_network_held_for_a_killed_worker_is_counted_and_the_rest_waits_for_it() {
    let mut house = House::new(&WISH);
    let dies = house.listener("w1");
    dies.pause();
    house.detector.header();
    let sent = fill(&mut house);
    dies.kill();
    let after = house.host.wait_for("the count", |ingester| ingester["counters"]["messages_lost"].as_u64() > Some(0));
    assert!((1..=4).contains(&count(&after, "messages_lost")));
    let returned = Worker::connect("w1", &house.url);
    house.detector.end();
    let numbers = numbers(&returned.until(is_end));
    assert_eq!(numbers, (numbers[0]..sent + 2).collect::<Vec<_>>());
}

#[test]
fn a_worker_that_connects_again_after_the_network_broke_is_served_again() {
    let mut house = House::new(&WISH);
    let port = house.url.rsplit_once(':').unwrap().1.parse().unwrap();
    let proxy = Proxy::to(port);
    let worker = Worker::connect("w1", &format!("tcp://127.0.0.1:{}", proxy.port()));
    house.wait_for_worker("w1");
    house.detector.header();
    assert_eq!(worker.next().number(), 0);
    let mut sent = 0;
    for _ in 0..3 {
        proxy.refuse(true);
        proxy.cut();
        // Messages that framegate sends before it notices are lost; after that there is no worker to send to.
        let mut waits = || {
            house.detector.image(&[sent as u8; 5000]);
            sent += 1;
            // The status may be some 200 ms old.
            let is_read = || {
                let camera = house.host.ingester().ok()?["streams"]["camera"].take();
                (camera["read"] == sent + 1).then_some(camera)
            };
            let camera = wait_for("the image to be read", LIMIT, is_read);
            (camera["queued"].as_u64()? >= 3).then_some(())
        };
        wait_for("messages to wait", LIMIT, &mut waits);
        proxy.refuse(false);
        // The same worker, over another connection: its waiting messages arrive now.
        let got = worker.until(|message| message.number() == sent);
        assert!(got.len() >= 3 && numbers(&got) == (sent + 1 - got.len() as u64..=sent).collect::<Vec<_>>());
        assert!(got.iter().all(|message| message.frames[1] == [(message.number() - 1) as u8; 5000]));
    }
}

#[test]
fn a_worker_that_was_assigned_and_never_came_costs_its_own_events_only() {
    use framegate_tests::stage::Stage;

    let mut stage = Stage::with(framegate_tests::redis::RedisServer::start(), &["eiger"], 40, |settings| {
        settings.ingesters[0].worker_timeout = Duration::from_millis(1500);
        settings.ingesters[0].port = free_port();
    });
    let here = stage.worker("here");
    stage.scan(&["eiger"]);
    let to: [&[(&str, &[&str])]; 2] = [&[("eiger", &["here"])], &[("eiger", &["ghost"])]];
    let events: Vec<_> = (0..42).map(|number| to[number % 2]).collect();
    stage.controller.assign(&events);
    // The other workers' messages arrive while the vanished one's wait.
    for number in (0..42).step_by(2) {
        assert_eq!(here.next().number(), number);
    }
    let waits = stage.wait_report("the ghost's", |report| report.processed_events == 42);
    let ghost = waits.workers.iter().find(|worker| worker.name.as_str() == "ghost").unwrap();
    assert_eq!((ghost.waiting, ghost.dropped, ghost.connected), (21, 0, false));
    let report = stage.wait_report("the end of its patience", |report| report.counters["workers_evicted"] == 1);
    assert_eq!(report.counters["messages_dropped"], 21);
    assert_eq!(report.workers.iter().find(|worker| worker.name.as_str() == "ghost").unwrap().dropped, 21);
    stage.finish();
}
