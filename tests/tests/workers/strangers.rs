//! Clients at the workers' port that are not workers: junk, noise, other protocols, large numbers.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use framegate_tests::{
    host::Host,
    process::wait_for,
    standalone::{House, Wish, images, is_end},
    worker::{LIMIT, Worker},
};
use uuid::Uuid;

use super::count;

const MIB: u64 = 1 << 20;

fn address(house: &House) -> String {
    house.url.trim_start_matches("tcp://").to_owned()
}

fn connect(house: &House) -> TcpStream {
    let stream = TcpStream::connect(address(house)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Number of a host's open descriptors.
pub(super) fn descriptors(host: &Host) -> usize {
    fs::read_dir(format!("/proc/{}/fd", host.id())).unwrap().count()
}

fn dealer(house: &House, identity: &[u8]) -> zmq::Socket {
    let socket = zmq::Context::new().socket(zmq::DEALER).unwrap();
    socket.set_identity(identity).unwrap();
    socket.set_linger(0).unwrap();
    socket.connect(&house.url).unwrap();
    socket
}

/// Sends the handshake of a ZMTP 3.0 DEALER by hand.
fn introduce(mut stream: &TcpStream, identity: &[u8]) -> std::io::Result<()> {
    let mut greeting = [0; 64];
    (greeting[0], greeting[9], greeting[10]) = (0xff, 0x7f, 3);
    greeting[12..16].copy_from_slice(b"NULL");
    let mut ready = b"\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0".to_vec();
    ready.push(identity.len() as u8);
    ready.extend_from_slice(identity);
    stream.write_all(&greeting)?;
    stream.write_all(&[&[4, ready.len() as u8], &ready[..]].concat())
}

/// A connection after this handshake, which may send messages. Error: it was closed before that.
pub(super) fn by_hand(house: &House, identity: &[u8]) -> std::io::Result<TcpStream> {
    let mut stream = connect(house);
    introduce(&stream, identity)?;
    // A ZeroMQ peer must wait until the other side is ready.
    let mut greeting_and_head = [0; 64 + 2];
    stream.read_exact(&mut greeting_and_head)?;
    stream.read_exact(&mut vec![0; usize::from(greeting_and_head[65])])?;
    Ok(stream)
}

/// Runs images while `disturb` acts on the port; the worker gets them all, unchanged.
fn is_served(house: &mut House, worker: &Worker, disturb: impl FnOnce(&mut House)) {
    house.detector.header();
    (0..5u8).for_each(|image| house.detector.image(&[image; 20_000]));
    disturb(house);
    (5..10u8).for_each(|image| house.detector.image(&[image; 20_000]));
    house.detector.end();
    let got = worker.until(is_end);
    assert_eq!(images(&got), (0..10u8).map(|image| vec![image; 20_000]).collect::<Vec<_>>());
}

#[test]
fn junk_pings_noise_and_http_are_counted_and_harm_nobody() {
    let mut house = House::new(&Wish::default());
    let worker = house.worker("w1");
    is_served(&mut house, &worker, |house| {
        // Invalid pings, and pings that are too long.
        let junk = dealer(house, b"w2");
        for _ in 0..100 {
            junk.send(&[7; 16][..], 0).unwrap();
            junk.send("not sixteen", 0).unwrap();
            junk.send_multipart([&Uuid::new_v4().as_bytes()[..], b"more"], 0).unwrap();
        }
        house.host.wait_for("the junk", |ingester| ingester["counters"]["messages_invalid"].as_u64() == Some(300));
        let before = count(&house.host.ingester().unwrap(), "connections_without_zeromq");
        // A megabyte of noise, and a browser.
        let mut state = 1u64;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as u8
        });
        let noise = noise.take(1 << 20).collect::<Vec<_>>();
        // It is disconnected long before the end.
        let _ = connect(house).write_all(&noise);
        let mut browser = connect(house);
        browser.write_all(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", address(house)).as_bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = browser.read_to_end(&mut answer);
        house.host.wait_for("the handshakes that failed", |ingester| {
            ingester["counters"]["connections_without_zeromq"].as_u64() > Some(before)
        });
    });
}

#[test]
fn a_worker_that_changes_its_uuid_all_the_time_harms_nobody() {
    let mut house = House::new(&Wish { standalone: "broadcast = true", ..Wish::default() });
    let worker = house.worker("w1");
    let flaps = dealer(&house, b"flaps");
    is_served(&mut house, &worker, |house| {
        (0..5000).for_each(|_| flaps.send(&Uuid::new_v4().as_bytes()[..], 0).unwrap());
        let last = Uuid::new_v4();
        flaps.send(&last.as_bytes()[..], 0).unwrap();
        let status = house.host.wait_for("the last uuid", |ingester| {
            ingester["workers"].as_array().unwrap().iter().any(|one| one["service_uuid"] == last.to_string())
        });
        assert_eq!(status["workers"].as_array().unwrap().len(), 2);
    });
    assert_eq!(house.host.log().lines().filter(|line| line.contains("flaps")).count(), 0, "{}", house.host.log());
}

#[test]
fn a_thousand_connections_of_strangers_leave_places_for_workers() {
    let mut house = House::with_descriptors(400, &Wish::default());
    let worker = house.worker("w1");
    let before = (descriptors(&house.host), house.host.peak_memory());
    is_served(&mut house, &worker, |house| {
        // Silent clients, and clients that complete the handshake and never ping.
        let mut strangers: Vec<TcpStream> = Vec::new();
        for number in 0..1000 {
            let stranger = connect(house);
            if number % 2 == 0 {
                // It may already have been disconnected.
                let _ = introduce(&stranger, format!("s{number}").as_bytes());
            }
            strangers.push(stranger);
        }
        house.host.wait_for("the end of most of them", |ingester| {
            ingester["counters"]["connections_without_worker"].as_u64() >= Some(800)
        });
        // A quarter of the descriptors beyond the first 64 is for unrelated clients.
        let most = before.0 + 84 + 10;
        wait_for("their descriptors", LIMIT, || (descriptors(&house.host) <= most).then_some(()));
        // A worker that connects now is served.
        let late = house.worker("late");
        drop(late);
        house.host.wait_for("the end of the late one", |ingester| {
            ingester["workers"].as_array().unwrap().iter().all(|one| one["name"] != "late" || one["connected"] == false)
        });
    });
    wait_for("the strangers' end", LIMIT, || (descriptors(&house.host) <= before.0 + 2).then_some(()));
    let peak = house.host.peak_memory();
    assert!(peak <= before.1 + 60 * MIB, "{} MiB more were in use", (peak - before.1) / MIB);
}

#[test]
fn a_message_without_an_end_costs_its_connection_and_no_memory() {
    let mut house = House::new(&Wish::default());
    let worker = house.worker("w1");
    house.host.forget_peak();
    let before = house.host.peak_memory();
    is_served(&mut house, &worker, |house| {
        let mut endless = by_hand(house, b"endless").unwrap();
        // Parts of one byte, each with the flag that more follow.
        let parts = [1u8, 1, 0].repeat(1 << 16);
        let began = Instant::now();
        endless.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        while endless.write_all(&parts).is_ok() {
            assert!(began.elapsed() < LIMIT, "it goes on for ever");
        }
        house.host.wait_for("the count", |ingester| ingester["counters"]["connections_endless"].as_u64() == Some(1));
        // A complete message of the same kind is junk like any other.
        let mut long = by_hand(house, b"long").unwrap();
        long.write_all(&[[1u8, 1, 0].repeat(5000), vec![0, 1, 0]].concat()).unwrap();
        house.host.wait_for("the junk", |ingester| ingester["counters"]["messages_invalid"].as_u64() == Some(1));
    });
    let peak = house.host.peak_memory();
    assert!(peak <= before + 100 * MIB, "{} MiB more were in use", (peak - before) / MIB);
}

#[test]
fn made_up_names_find_no_place_beyond_a_limit_and_give_it_back() {
    // Half of the descriptors beyond the first 64 are for workers.
    let mut house = House::with_descriptors(164, &Wish::default());
    let worker = house.worker("w1");
    let names: Vec<zmq::Socket> = (0..65)
        .map(|number| {
            let socket = dealer(&house, format!("made-up-{number}").as_bytes());
            socket.send(&Uuid::new_v4().as_bytes()[..], 0).unwrap();
            // One after the other: another test opens many at once.
            thread::sleep(Duration::from_millis(5));
            socket
        })
        .collect();
    let full = house
        .host
        .wait_for("more names than places", |ingester| ingester["counters"]["pings_without_place"].as_u64() >= Some(5));
    assert_eq!(full["workers"].as_array().unwrap().len(), 50);
    // The log is written by another thread.
    let lines = |house: &House| house.host.log().matches("new ones are not served").count();
    wait_for("the log to say it", LIMIT, || (lines(&house) > 0).then_some(()));
    drop(names);
    // A place becomes free when its worker has not pinged for some seconds.
    let late = house.worker("late");
    house.host.wait_for("the end of the made-up ones", |ingester| {
        let connected = ingester["workers"].as_array().unwrap().iter().filter(|one| one["connected"] == true);
        connected.count() == 2
    });
    house.detector.run((0..4u8).map(|image| vec![image; 5000]));
    assert_eq!(worker.until(is_end).len() + late.until(is_end).len(), 4 + 4);
    assert_eq!(lines(&house), 1, "{}", house.host.log());
}
