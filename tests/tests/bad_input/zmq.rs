//! All sources on ZeroMQ, each in its own test, with one table of cases.

use framegate_tests::protocols::{self, Parts, Protocol, wait_for_subscription};
use zmq::SocketType;

use crate::{
    LITTLE, Room,
    cases::{self, Becomes},
};

#[test]
fn stins() {
    suite("stins");
}

#[test]
fn eiger_legacy() {
    suite("eiger-legacy");
}

#[test]
fn albaem() {
    suite("albaem");
}

#[test]
fn contrast() {
    suite("contrast");
}

#[test]
fn lecroy() {
    suite("lecroy");
}

#[test]
fn pcap() {
    suite("pcap");
}

#[test]
fn xspress() {
    suite("xspress");
}

/// Runs all cases with a source, in one run.
fn suite(name: &str) {
    let protocol = protocols::ALL.into_iter().find(|protocol| protocol.name == name).unwrap();
    let detector = Detector::bind(&protocol);
    let mut room = Room::new(name, &detector.url);
    detector.wait_for_connection();

    // Data without a header, an end without data: the wrong order.
    let early = [cases::good(&protocol, 0), (protocol.end)(0)].concat();
    early.iter().for_each(|message| detector.send(message));
    room.expects("before the start of a run", early.len() as u64);
    let mut number = 0;
    let mut good = |room: &mut Room, when: &str| {
        let messages = cases::good(&protocol, number);
        number += 1;
        messages.iter().for_each(|message| detector.send(message));
        room.gets(&protocol.event(&messages), when);
    };
    let start = (protocol.start)(1);
    start.iter().for_each(|message| detector.send(message));
    if name != "lecroy" {
        room.gets(&protocol.event(&start), "the start");
        good(&mut room, "the first data");
    } else {
        // The start is yielded when the first sequence begins.
        let first = cases::good(&protocol, 0);
        first.iter().for_each(|message| detector.send(message));
        room.gets(&protocol.event(&start), "the start");
        room.gets(&protocol.event(&first), "the first data");
    }

    for case in cases::small(&protocol, 1000) {
        for _ in 0..2 {
            case.messages.iter().for_each(|message| detector.send(message));
            match case.becomes {
                // Position capture rewrites its samples, with one of two duplicate keys.
                Becomes::Event if name == "pcap" && case.what == "duplicate keys" => {
                    let messages = case.messages[0][0].clone();
                    let once = String::from_utf8(messages).unwrap().replace(r#""x":1,"#, "");
                    room.gets(&protocol.event(&[vec![once.into_bytes()]]), case.what);
                }
                Becomes::Event if name == "pcap" => {
                    let messages = String::from_utf8(case.messages[0][0].clone()).unwrap();
                    let written = messages.replace("-1e999", "null");
                    room.gets(&protocol.event(&[vec![written.into_bytes()]]), case.what);
                }
                Becomes::Event => room.gets(&protocol.event(&case.messages), case.what),
                Becomes::Invalid(reason) => room.expects(reason, 1),
            }
            good(&mut room, case.what);
        }
    }

    // If several messages form an event, the received ones wait, and status shows it.
    let messages = cases::good(&protocol, 2000);
    if let [beginning @ .., last] = messages.as_slice()
        && !beginning.is_empty()
    {
        beginning.iter().for_each(|message| detector.send(message));
        let bytes: usize = beginning.iter().flatten().map(Vec::len).sum();
        room.host.wait_for("the bytes that wait", |ingester| ingester["streams"]["camera"]["bytes_waiting"] == bytes);
        detector.send(last);
        room.gets(&protocol.event(&messages), "data that came in pieces");
    }

    room.memory_stays_flat("a million parts", 4 * LITTLE, |room| {
        detector.send(&cases::million_parts(&protocol, 1000));
        room.expects("too many parts", 1);
    });
    good(&mut room, "after a million parts");

    room.memory_stays_flat("1 GiB", LITTLE, |room| {
        detector.send_gibibyte();
        room.expects("longer than max_part", 1);
    });
    detector.wait_for_connection();
    good(&mut room, "after 1 GiB");

    room.account("longer than max_part", 1);
    let end = (protocol.end)(1);
    end.iter().for_each(|message| detector.send(message));
    room.gets(&protocol.event(&end), "the end");
    room.ends();
}

/// A bound socket that sees its peers connect.
struct Detector {
    socket: zmq::Socket,
    url: String,
    publishes: bool,
}

impl Detector {
    fn bind(protocol: &Protocol) -> Self {
        let socket = protocol.socket();
        socket.bind("tcp://127.0.0.1:*").unwrap();
        let url = socket.get_last_endpoint().unwrap().unwrap();
        Self { socket, url, publishes: protocol.detector == SocketType::PUB }
    }

    /// PUSH waits by itself.
    fn wait_for_connection(&self) {
        if self.publishes {
            wait_for_subscription(&self.socket).expect("somebody subscribes");
        }
    }

    fn send(&self, message: &Parts) {
        let last = message.len() - 1;
        for (number, part) in message.iter().enumerate() {
            let more = if number < last { zmq::SNDMORE } else { 0 };
            self.socket.send(&part[..], more).expect("somebody takes a message within 20 s");
        }
    }

    /// The pages are never touched, so that they cost this process nothing.
    fn send_gibibyte(&self) {
        self.socket.send(zmq::Message::from(vec![0; 1 << 30]), 0).expect("somebody takes a message within 20 s");
    }
}
