//! The ZeroMQ socket types that the workers' port serves. They are libzmq's own.

use std::time::Duration;

use framegate_tests::{
    standalone::{House, Wish},
    worker::LIMIT,
};
use uuid::Uuid;

use super::count;

/// A socket with its own context; connects after `set_up`.
fn socket(house: &House, kind: zmq::SocketType, set_up: impl FnOnce(&zmq::Context, &zmq::Socket)) -> zmq::Socket {
    let context = zmq::Context::new();
    let socket = context.socket(kind).unwrap();
    socket.set_linger(0).unwrap();
    set_up(&context, &socket);
    socket.connect(&house.url).unwrap();
    socket
}

#[test]
fn a_worker_whose_socket_asks_for_heartbeats_is_answered() {
    let mut house = House::new(&Wish::default());
    let mut monitor = None;
    let worker = socket(&house, zmq::DEALER, |context, socket| {
        socket.set_identity(b"w1").unwrap();
        socket.set_heartbeat_ivl(20).unwrap();
        // Disconnects a peer that does not answer in this time.
        socket.set_heartbeat_timeout(200).unwrap();
        socket.monitor("inproc://news", i32::from(zmq::SocketEvent::DISCONNECTED.to_raw())).unwrap();
        let news = context.socket(zmq::PAIR).unwrap();
        news.connect("inproc://news").unwrap();
        news.set_rcvtimeo(1000).unwrap();
        monitor = Some(news);
    });
    worker.send(&Uuid::new_v4().as_bytes()[..], 0).unwrap();
    house.wait_for_worker("w1");
    let news = monitor.unwrap().recv_bytes(0);
    assert!(matches!(news, Err(zmq::Error::EAGAIN)), "it was disconnected: {news:?}");
    // Also in the middle of messages.
    house.detector.run((0..50u8).map(|image| vec![image; 500_000]));
    worker.set_rcvtimeo(i32::try_from(LIMIT.as_millis()).unwrap()).unwrap();
    let got: Vec<_> = (0..52).map(|_| worker.recv_multipart(0).unwrap()).collect();
    for (message, image) in got[1..51].iter().zip(0u8..) {
        assert!(message.len() == 3 && message[2] == vec![image; 500_000], "image {image}");
    }
    let ended = house.host.ingester().unwrap();
    assert_eq!(count(&ended, "connections_invalid"), 0);
}

#[test]
fn whoever_wants_security_or_has_another_pattern_is_refused_and_counted() {
    let mut house = House::new(&Wish::default());
    let plain = |_: &zmq::Context, socket: &zmq::Socket| {
        socket.set_plain_username(Some("somebody")).unwrap();
        socket.set_plain_password(Some("a secret")).unwrap();
    };
    let _refused = [
        socket(&house, zmq::DEALER, plain),
        socket(&house, zmq::SUB, |_, socket| socket.set_subscribe(b"").unwrap()),
        socket(&house, zmq::PULL, |_, _| ()),
    ];
    house.host.wait_for("the refusals", |ingester| count(ingester, "connections_without_zeromq") >= 3);
    assert!(!house.host.log().contains("a secret"));
    let worker = house.worker("w1");
    house.detector.run([vec![1; 10]]);
    assert_eq!(worker.next().number(), 0);
}

#[test]
fn a_socket_that_asks_in_its_own_form_is_heard_and_its_words_are_junk() {
    let mut house = House::new(&Wish::default());
    let asks = socket(&house, zmq::REQ, |_, socket| socket.set_identity(b"asks").unwrap());
    // An empty part before the payload, as every REQ sends it.
    asks.send(&Uuid::new_v4().as_bytes()[..], 0).unwrap();
    house.host.wait_for("the junk", |ingester| count(ingester, "messages_invalid") == 1);
    assert_eq!(count(&house.host.ingester().unwrap(), "connections_without_zeromq"), 0);
    assert!(house.host.stop(Duration::from_secs(4)).success());
}
