//! Detectors of every version of ZeroMQ's protocol, played byte by byte: the source connects to them, or is bound.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod letters;
mod peers;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use framegate_plugin_api::{SourceRun as _, testing::step};
use framegate_zmq_source::{Pattern, testing::same_bytes};

use peers::{
    PATTERNS, VERSIONS, Version, answer, bound, command, connect, connection_ends, count, free_address, glance,
    introduction, meet, message, open, part, push, to_the_end, wait_for,
};

const BOTH_WAYS: [&str; 2] = ["connect", "bind"];

/// A start, data with parts around the sizes where heads change, parts larger than all that is read ahead, and an end.
fn run_of_all_sizes() -> Vec<Vec<Vec<u8>>> {
    let sizes = [0, 1, 253, 254, 255, 256, 2047, 2048, 65_535, 65_536, 300_000];
    let mut messages = vec![vec![b"s".to_vec(), b"{}".to_vec()]];
    messages.extend(sizes.map(|size| {
        let byte = |place: usize| (place / 7 + size) as u8;
        vec![b"d".to_vec(), (0..size).map(byte).collect(), vec![]]
    }));
    messages.push(vec![[b"d".to_vec(), vec![7; 70_000]].concat()]);
    messages.push(vec![b"e".to_vec()]);
    messages
}

fn encoded(version: Version, messages: &[Vec<Vec<u8>>]) -> Vec<u8> {
    messages.iter().flat_map(|parts| message(version, parts)).collect()
}

fn read(stream: &mut TcpStream, expected: &[u8], what: &str) {
    let mut bytes = vec![0; expected.len()];
    stream.read_exact(&mut bytes).unwrap_or_else(|problem| panic!("{what}: {problem}"));
    assert_eq!(bytes.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{what}");
}

/// The source has sent nothing that was not read.
fn nothing_more(stream: &mut TcpStream, what: &str) {
    stream.set_nonblocking(true).unwrap();
    let mut byte = [0];
    let problem = stream.read(&mut byte).expect_err(what);
    assert_eq!(problem.kind(), std::io::ErrorKind::WouldBlock, "{what}");
}

#[test]
fn a_run_arrives_whole_from_a_detector_of_each_version() {
    let messages = run_of_all_sizes();
    for version in VERSIONS {
        for (pattern, kind) in PATTERNS {
            for attach in BOTH_WAYS {
                let what = format!("{kind} {version:?} {attach}");
                let (mut run, _, mut stream) = meet(attach, "127.0.0.1", "", pattern);
                let bytes = [introduction(version, kind), encoded(version, &messages)].concat();
                let mut writer = stream.try_clone().unwrap();
                let sender = thread::spawn(move || writer.write_all(&bytes).unwrap());
                let events = to_the_end(&mut run);
                sender.join().unwrap();
                assert!(same_bytes(&events, &messages), "{what}");
                let status = run.status();
                assert_eq!((&status.skipped[..], status.last_invalid), (&[][..], None), "{what}");
                assert_eq!((count(&run, "disconnects"), count(&run, "refused_connections")), (0, 0), "{what}");
                read(&mut stream, &answer(version, pattern, if kind == "PUB" { &[""] } else { &[] }), &what);
                nothing_more(&mut stream, &what);
            }
        }
    }
}

/// As from a slow detector: the source reads after each byte.
#[test]
fn a_run_arrives_whole_byte_by_byte() {
    let messages = [vec![b"s".to_vec(), b"{}".to_vec()], vec![b"d".to_vec(), vec![b'x'; 300]], vec![b"e".to_vec()]];
    for version in VERSIONS {
        for (pattern, kind) in PATTERNS {
            for attach in BOTH_WAYS {
                let (mut run, _, mut stream) = meet(attach, "127.0.0.1", "", pattern);
                let mut events = Vec::new();
                let bytes = [introduction(version, kind), encoded(version, &messages)].concat();
                // The same bytes one after the other need not be torn.
                for piece in
                    bytes.chunk_by(|one, other| (one, other) == (&b'x', &b'x')).flat_map(|same| same.chunks(200))
                {
                    stream.write_all(piece).unwrap();
                    glance(&mut run, &mut events);
                }
                events.extend(if events.len() < 3 { to_the_end(&mut run) } else { vec![] });
                assert!(same_bytes(&events, &messages), "{kind} {version:?} {attach}: {events:?}");
            }
        }
    }
}

#[test]
fn a_handshake_may_be_torn_at_each_byte() {
    for version in VERSIONS {
        for (pattern, kind) in PATTERNS {
            let (mut run, _, address) = bound("", pattern);
            let mut events = Vec::new();
            let data = [b"d".to_vec(), vec![b'x'; 10]];
            let bytes = [introduction(version, kind), message(version, &["s"]), message(version, &data)].concat();
            let expected = answer(version, pattern, if kind == "PUB" { &[""] } else { &[] });
            for place in 1..bytes.len() {
                let what = format!("{kind} {version:?} torn behind byte {place}");
                let mut stream = connect(address);
                stream.write_all(&bytes[..place]).unwrap();
                glance(&mut run, &mut events);
                stream.write_all(&bytes[place..]).unwrap();
                events.extend(wait_for(&mut run, "messages", 2 * place as u64));
                read(&mut stream, &expected, &what);
                nothing_more(&mut stream, &what);
                assert_eq!(count(&run, "refused_connections"), 0, "{what}");
            }
            assert_eq!(events.len(), bytes.len(), "one start, and the data of each");
            assert_eq!(run.status().skipped, [("a start inside a run", bytes.len() as u64 - 2)]);
        }
    }
}

#[test]
fn a_detector_gets_each_subscription_in_the_form_of_its_version() {
    let prefixes = ["s", "", "d and some more"];
    let more = format!(r#", "subscribe": {}"#, serde_json::to_string(&prefixes).unwrap());
    for version in VERSIONS {
        for attach in BOTH_WAYS {
            let (mut run, _, mut stream) = meet(attach, "127.0.0.1", &more, Pattern::SubscribeAll);
            stream.write_all(&introduction(version, "PUB")).unwrap();
            stream.write_all(&encoded(version, &[vec![b"s".to_vec()], vec![b"e".to_vec()]])).unwrap();
            assert_eq!(to_the_end(&mut run).len(), 2, "{version:?} {attach}");
            let expected = answer(version, Pattern::SubscribeAll, &prefixes);
            read(&mut stream, &expected, &format!("{version:?} {attach}"));
        }
    }
    // The forms themselves, as the specifications have them.
    assert!(answer(Version::V1, Pattern::SubscribeAll, &["ab"]).ends_with(b"\x7f\x04\0\x01ab"));
    assert!(answer(Version::V2, Pattern::SubscribeAll, &["ab"]).ends_with(b"\x03\x02\0\0\0\x03\x01ab"));
    assert!(answer(Version::V3_0, Pattern::SubscribeAll, &["ab"]).ends_with(b"SUB\0\x03\x01ab"));
    assert!(answer(Version::V3_1, Pattern::SubscribeAll, &["ab"]).ends_with(b"SUB\x04\x0c\x09SUBSCRIBEab"));
}

/// Of version 1.0: later ones get only what was subscribed to.
#[test]
fn of_a_detector_that_sends_everything_only_what_was_subscribed_to_is_taken() {
    for attach in BOTH_WAYS {
        let (mut run, _, mut stream) = meet(attach, "127.0.0.1", r#", "subscribe": ["s", "e"]"#, Pattern::SubscribeAll);
        let messages = ["d", "s", "d", "e"].map(|text| vec![text.as_bytes().to_vec()]);
        stream.write_all(&[introduction(Version::V1, "PUB"), encoded(Version::V1, &messages)].concat()).unwrap();
        assert_eq!(to_the_end(&mut run).len(), 2, "{attach}");
    }
}

/// Between the parts, too: libzmq sends a ping when its time has come, whatever it has sent before.
#[test]
fn each_ping_is_answered_with_its_context_and_messages_stay_whole() {
    for version in [Version::V3_0, Version::V3_1] {
        for attach in BOTH_WAYS {
            let (mut run, _, mut stream) = meet(attach, "127.0.0.1", "", Pattern::Pull);
            let ping = |context: &[u8]| command("PING", &[&[0, 1], context].concat());
            let large = [b"d".to_vec(), vec![b'x'; 100_000]];
            stream.write_all(&introduction(version, "PUSH")).unwrap();
            let mut bytes = [ping(b"first"), message(version, &["s"]), ping(b""), ping(b"16 bytes are all")].concat();
            bytes.extend([part(version, &large[0], true), ping(b"between"), part(version, &large[1], false)].concat());
            bytes.extend([ping(b"longer than sixteen bytes"), command("UNKNOWN", b"!"), command("PONG", b"")].concat());
            bytes.extend(message(version, &["e"]));
            let sender = thread::spawn(move || {
                stream.write_all(&bytes).unwrap();
                stream
            });
            let events = to_the_end(&mut run);
            let mut stream = sender.join().unwrap();
            read(&mut stream, &answer(version, Pattern::Pull, &[]), "the handshake");
            assert!(same_bytes(&events, &[vec![b"s".to_vec()], large.to_vec(), vec![b"e".to_vec()]]));
            for context in [&b"first"[..], b"", b"16 bytes are all", b"between", b"longer than sixt"] {
                read(&mut stream, &command("PONG", context), "an answer");
            }
            nothing_more(&mut stream, "five pings, five answers");
        }
    }
}

/// libzmq ends a connection that does not answer its pings in time.
#[test]
fn a_detector_that_asks_for_signs_of_life_stays_connected() {
    let (mut run, _, address) = bound("", Pattern::Pull);
    let context = zmq::Context::new();
    let detector = context.socket(zmq::PUSH).unwrap();
    detector.set_linger(0).unwrap();
    detector.set_heartbeat_ivl(100).unwrap();
    detector.set_heartbeat_timeout(1500).unwrap();
    detector.connect(&format!("tcp://{address}")).unwrap();
    let ends = connection_ends(&context, &detector, "detector");
    detector.send("s", 0).unwrap();
    let mut events = wait_for(&mut run, "messages", 1);
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2500) {
        step(&mut run, &mut events).unwrap();
    }
    assert_eq!(ends.poll(zmq::POLLIN, 0).unwrap(), 0, "the detector has ended the connection");
    detector.send("e", 0).unwrap();
    assert_eq!(to_the_end(&mut run).len(), 1);
    assert_eq!(count(&run, "disconnects"), 0);
}

#[test]
fn a_detector_may_have_an_ipv6_address() {
    if TcpListener::bind("[::1]:0").is_err() {
        return framegate_skip::skip("this machine has no IPv6");
    }
    let messages = [vec![b"s".to_vec()], vec![b"e".to_vec()]];
    for attach in BOTH_WAYS {
        let (mut run, _, mut stream) = meet(attach, "::1", "", Pattern::Pull);
        stream.write_all(&introduction(Version::V3_1, "PUSH")).unwrap();
        stream.write_all(&encoded(Version::V3_1, &messages)).unwrap();
        assert!(same_bytes(&to_the_end(&mut run), &messages), "{attach}");
    }
    // The same with libzmq.
    let context = zmq::Context::new();
    let address = free_address("::1");
    let (mut run, _) = open(address, "bind", "", Pattern::Pull);
    let connects = push(&context, address);
    ["s", "e"].into_iter().for_each(|text| connects.send(text, 0).unwrap());
    assert_eq!(to_the_end(&mut run).len(), 2);
    let binds = context.socket(zmq::PUSH).unwrap();
    binds.set_ipv6(true).unwrap();
    binds.set_linger(0).unwrap();
    binds.set_sndtimeo(20_000).unwrap();
    binds.bind("tcp://[::1]:*").unwrap();
    let url = binds.get_last_endpoint().unwrap().unwrap();
    let address: SocketAddr = url.trim_start_matches("tcp://").parse().unwrap();
    let (mut run, _) = open(address, "connect", "", Pattern::Pull);
    let sender = thread::spawn(move || {
        ["s", "e"].into_iter().for_each(|text| binds.send(text, 0).unwrap());
        binds
    });
    assert_eq!(to_the_end(&mut run).len(), 2);
    drop(sender.join().unwrap());
    // A source that is bound to all addresses has both kinds.
    let port = free_address("127.0.0.1").port();
    let (mut run, _) = open(format!("*:{port}"), "bind", "", Pattern::Pull);
    for (place, host) in ["127.0.0.1", "::1"].into_iter().enumerate() {
        let mut stream = connect(SocketAddr::new(host.parse().unwrap(), port));
        stream.write_all(&introduction(Version::V3_1, "PUSH")).unwrap();
        stream.write_all(&message(Version::V3_1, &["s"])).unwrap();
        wait_for(&mut run, "messages", place as u64 + 1);
    }
}
