//! Peers that break ZeroMQ's protocol or the limits at a bound source: each is counted, named at most a few times, and
//! costs no other peer anything.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod letters;
mod peers;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use framegate_plugin_api::{LogLevel, SourceRun as _, testing::TestHost};
use framegate_zmq_source::Pattern;

use Version::{V1, V2, V3_0, V3_1};
use peers::{
    Run, Version, accept, bound, command, connect, connection_ends, count, greeting, head, introduction, message, part,
    push, ready, to_the_end, wait_for,
};

/// Of the bound source in these tests.
const LIMITS: &str = r#", "max_part": 10000, "max_message": 15000, "max_header": 500, "max_parts": 4"#;

/// A bound source with a detector that nothing may disturb.
struct Scene {
    run: Run,
    host: Arc<TestHost>,
    address: SocketAddr,
    context: zmq::Context,
    detector: zmq::Socket,
    ends: zmq::Socket,
}

impl Scene {
    fn new(limits: &str) -> Self {
        let (mut run, host, address) = bound(limits, Pattern::Pull);
        let context = zmq::Context::new();
        let detector = push(&context, address);
        let ends = connection_ends(&context, &detector, "detector");
        detector.send("s", 0).unwrap();
        wait_for(&mut run, "messages", 1);
        Self { run, host, address, context, detector, ends }
    }

    /// The counts of disconnects, refused connections and invalid messages.
    fn counts(&self) -> [u64; 3] {
        ["disconnects", "refused_connections", "invalid"].map(|name| count(&self.run, name))
    }

    /// Both a detector that was there before and a new one are served.
    fn is_served(&mut self, what: &str) {
        let received = count(&self.run, "messages");
        let other = push(&self.context, self.address);
        self.detector.send("d", 0).unwrap();
        other.send("d", 0).unwrap();
        let events = wait_for(&mut self.run, "messages", received + 2);
        assert_eq!(events.len(), 2, "{what}");
        assert_eq!(self.ends.poll(zmq::POLLIN, 0).unwrap(), 0, "{what}: another detector's connection has ended");
        drop(other);
        let disconnects = count(&self.run, "disconnects");
        wait_for(&mut self.run, "disconnects", disconnects + 1);
    }

    /// Warnings that have been logged.
    fn warnings(&self) -> Vec<String> {
        self.host.lines().into_iter().filter(|(level, _)| *level == LogLevel::Warn).map(|(_, line)| line).collect()
    }
}

/// Sends these bytes, as far as somebody takes them, and waits until the source has ended the connection.
fn is_ended(mut stream: TcpStream, bytes: Vec<u8>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let _ = stream.write_all(&bytes);
        let problem = stream.read_to_end(&mut Vec::new()).err().map(|problem| problem.kind());
        assert!(matches!(problem, None | Some(std::io::ErrorKind::ConnectionReset)), "not ended: {problem:?}");
    })
}

/// Who does not become a detector, and what is said about him.
fn strangers() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let after = |version: Version, more: &[u8]| {
        let minor = if version == V3_1 { 1 } else { 0 };
        [&greeting(minor, "NULL"), more].concat()
    };
    vec![
        ("a browser", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), "does not speak ZeroMQ's protocol"),
        (
            "TLS",
            [&b"\x16\x03\x01\x00\xf4\x01\0\0\xf0\x03\x03"[..], &[7; 200]].concat(),
            "does not speak ZeroMQ's protocol",
        ),
        ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(), "does not speak ZeroMQ's protocol"),
        ("Redis", b"*1\r\n$4\r\nPING\r\n".to_vec(), "does not speak ZeroMQ's protocol"),
        ("zeros", vec![0; 100], "does not speak ZeroMQ's protocol"),
        ("CURVE", greeting(0, "CURVE"), "security mechanism CURVE"),
        ("PLAIN", greeting(1, "PLAIN"), "security mechanism PLAIN"),
        ("a PUB of 2.0", introduction(V2, "PUB"), "is a PUB socket"),
        ("a PUB of 3.0", introduction(V3_0, "PUB"), "is a PUB socket"),
        ("a PUB of 3.1", introduction(V3_1, "PUB"), "is a PUB socket"),
        ("an unknown type", after(V3_1, &ready("PUSHER")), "does not tell a known type"),
        ("no type", after(V3_1, &command("READY", b"")), "does not tell a known type"),
        ("no READY", after(V3_0, &message(V3_0, &["s"])), "does not begin with its introduction"),
        ("another command", after(V3_1, &command("HELLO", b"x")), "does not begin with its introduction"),
        ("an empty command", after(V3_1, b"\x04\0"), "a command without meaning"),
        (
            "a property longer than READY",
            after(V3_1, b"\x04\x11\x05READY\x06Socket\0\0\0\xff"),
            "a command without meaning",
        ),
        ("a READY that is too long", after(V3_1, &command("READY", &[0; 5000])), "a command that is too long"),
        (
            "a READY without end",
            after(V3_0, b"\x06\x7f\xff\xff\xff\xff\xff\xff\xff\x05READY"),
            "a command that is too long",
        ),
        ("a READY of several parts", after(V3_1, b"\x05\x06\x05READY"), "the head of a part that"),
        ("an ERROR", after(V3_1, &command("ERROR", b"\x04busy")), "reports an error: busy"),
    ]
}

#[test]
fn who_is_no_detector_is_refused_counted_and_named_once() {
    for (who, bytes, said) in strangers() {
        let mut scene = Scene::new("");
        for times in 1..=3 {
            let ended = is_ended(connect(scene.address), bytes.clone());
            wait_for(&mut scene.run, "refused_connections", times);
            ended.join().unwrap();
        }
        assert_eq!(scene.counts(), [0, 3, 0], "{who}");
        scene.is_served(who);
        let warnings = scene.warnings();
        assert!(warnings.len() == 1 && warnings[0].contains(said), "{who}: {warnings:?}");
        assert!(warnings[0].contains("somebody at 127.0.0.1:"), "{who}: {warnings:?}");
    }
}

/// Bytes behind an introduction that end the connection, and the reason.
fn breaches() -> Vec<(&'static str, Version, Vec<u8>, &'static str)> {
    const NOT_ZMTP: &str = "not ZeroMQ's protocol; the connection was ended";
    const LONG: &str = "a part longer than max_part; the connection was ended";
    let long_length = [&[2][..], &[0xff; 8]].concat();
    vec![
        ("a command without name", V3_1, b"\x04\0".to_vec(), NOT_ZMTP),
        ("a command with an empty name", V3_0, b"\x04\x02\0x".to_vec(), NOT_ZMTP),
        ("a name longer than its command", V3_1, b"\x04\x03\x05PI".to_vec(), NOT_ZMTP),
        ("a ping without a time", V3_1, command("PING", b"\0"), NOT_ZMTP),
        ("a command that is too long", V3_1, command("PING", &[0; 5000]), NOT_ZMTP),
        ("a command without end", V3_1, b"\x06\0\0\0\x01\0\0\0\0\x04PING".to_vec(), NOT_ZMTP),
        ("a command of several parts", V3_1, b"\x05\x05\x04PONG".to_vec(), NOT_ZMTP),
        ("a command in 2.0", V2, command("PONG", b""), NOT_ZMTP),
        ("an error", V3_1, command("ERROR", b"\x03off"), NOT_ZMTP),
        ("an unknown flag", V3_1, b"\x08\x01d".to_vec(), NOT_ZMTP),
        ("all flags", V2, vec![0xff; 40], NOT_ZMTP),
        ("a flag of 2.0 in 1.0", V1, b"\x02\x02d".to_vec(), NOT_ZMTP),
        ("no room for flags in 1.0", V1, b"\0\0".to_vec(), NOT_ZMTP),
        ("a length with its first bit", V3_1, long_length, NOT_ZMTP),
        ("a part of 10001 bytes", V3_1, head(V3_1, 10_001, false), LONG),
        ("a part of 10001 bytes in 1.0", V1, head(V1, 10_001, false), LONG),
        ("the longest part there is", V2, [&[2][..], &[0x7f], &[0xff; 7]].concat(), LONG),
        ("a long part behind others", V3_0, [part(V3_0, b"d", true), head(V3_0, 20_000, true)].concat(), LONG),
        (
            "a long part of a skipped message",
            V3_0,
            [part(V3_0, &[b'd'; 501], true), head(V3_0, 20_000, true)].concat(),
            LONG,
        ),
    ]
}

#[test]
fn a_detector_that_breaks_the_protocol_loses_its_connection_and_its_messages_before_arrive() {
    for (what, version, bytes, why) in breaches() {
        let mut scene = Scene::new(LIMITS);
        for times in 1..=3 {
            let all =
                [introduction(version, "PUSH"), message(version, &["d1", "x"]), bytes.clone(), vec![0; 3000]].concat();
            let ended = is_ended(connect(scene.address), all);
            let events = wait_for(&mut scene.run, "invalid", times);
            ended.join().unwrap();
            assert_eq!(events.len(), 1, "{what}: the message before");
        }
        assert_eq!(scene.counts(), [3, 0, 3], "{what}");
        assert!(scene.run.status().last_invalid.unwrap().starts_with(why), "{what}: {:?}", scene.run.status());
        let reason = scene.run.status().skipped;
        assert_eq!(reason, [(why, 3)], "{what}");
        // Each end with its cause, and the first invalid message.
        let warnings = scene.warnings();
        assert_eq!(
            warnings.iter().filter(|line| line.contains("has ended: the detector at 127.0.0.1:")).count(),
            3,
            "{what}"
        );
        assert_eq!(warnings.len(), 4, "{what}: {warnings:?}");
        scene.is_served(what);
    }
}

#[test]
fn ends_of_connections_do_not_fill_the_log() {
    let mut scene = Scene::new("");
    for times in 1..=50 {
        let bytes = [introduction(V3_1, "PUSH"), b"\x04\0".to_vec()].concat();
        let ended = is_ended(connect(scene.address), bytes);
        wait_for(&mut scene.run, "disconnects", times);
        ended.join().unwrap();
    }
    wait_for(&mut scene.run, "invalid", 50);
    scene.is_served("after 50");
    assert_eq!(scene.warnings().len(), 9, "eight ends and the first invalid message: {:?}", scene.warnings());
    assert!(scene.host.lines().len() < 15, "{:?}", scene.host.lines());
}

#[test]
fn a_message_over_a_limit_is_skipped_with_its_reason_and_the_next_is_served() {
    let of = |parts: usize, size: usize| message(V3_1, &vec![vec![b'd'; size]; parts]);
    for (what, bytes) in [
        ("too many parts", of(5, 1)),
        ("too many parts", of(5000, 0)),
        ("too many parts", of(5000, 400)),
        ("message too long", message(V3_1, &[&b"d"[..], &[0; 8000], &[0; 8000]])),
        ("message too long", message(V3_1, &[&b"d"[..], &[0; 8000], &[0; 6999], b"x"])),
        ("first part too long", of(2, 501)),
        ("first part too long", of(2, 9000)),
    ] {
        let mut scene = Scene::new(LIMITS);
        let mut stream = connect(scene.address);
        stream.write_all(&introduction(V3_1, "PUSH")).unwrap();
        for times in 1..=3 {
            let mut writer = stream.try_clone().unwrap();
            let bytes = [bytes.clone(), message(V3_1, &["d", "good"])].concat();
            let sender = thread::spawn(move || writer.write_all(&bytes).unwrap());
            assert_eq!(wait_for(&mut scene.run, "messages", 1 + 2 * times).len(), 1, "{what}");
            sender.join().unwrap();
            assert_eq!(scene.run.status().skipped, [(what, times)]);
        }
        assert_eq!((scene.counts(), scene.warnings().len()), ([0, 0, 3], 1), "{what}: {:?}", scene.warnings());
        scene.is_served(what);
    }
    // What is just within the limits.
    let mut scene = Scene::new(LIMITS);
    let mut stream = connect(scene.address);
    let within =
        [message(V3_1, &[&[b'd'; 500][..], &[0; 9000], &[0; 5500], &[]]), message(V3_1, &[[b'd'; 10_000]])].concat();
    stream.write_all(&[introduction(V3_1, "PUSH"), within].concat()).unwrap();
    assert_eq!(wait_for(&mut scene.run, "messages", 3).len(), 2);
    assert_eq!(scene.run.status().skipped, []);
}

#[test]
fn a_message_without_end_ends_its_connection() {
    for max_parts in ["4", "18446744073709551615"] {
        let mut scene = Scene::new(&format!(r#", "max_parts": {max_parts}, "max_header": 100"#));
        let first = part(V3_1, &[b'd'; 101], true);
        let empty = part(V3_1, b"", true).repeat(1_100_000);
        let ended = is_ended(connect(scene.address), [introduction(V3_1, "PUSH"), first, empty].concat());
        if max_parts == "4" {
            wait_for(&mut scene.run, "invalid", 1);
            assert_eq!(scene.run.status().skipped, [("a message without an end; the connection was ended", 1)]);
            ended.join().unwrap();
            assert_eq!(scene.counts(), [1, 0, 1]);
        }
        scene.is_served("after a message without end");
    }
}

/// The source connects to somebody who breaks the protocol each time; the real detector takes its place.
#[test]
fn a_source_that_connects_leaves_who_breaks_the_protocol_and_finds_the_detector() {
    for (bytes, counts) in [
        (b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(), [0, 2, 0]),
        (introduction(V3_1, "PUB"), [0, 2, 0]),
        ([introduction(V3_0, "PUSH"), b"\x04\0".to_vec()].concat(), [2, 0, 2]),
        ([introduction(V2, "PUSH"), head(V2, 1 << 50, true)].concat(), [2, 0, 2]),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (mut run, host) = peers::open(listener.local_addr().unwrap(), "connect", "", Pattern::Pull);
        for _ in 0..2 {
            let ended = is_ended(accept(&listener, &mut run), bytes.clone());
            let began = std::time::Instant::now();
            while !ended.is_finished() {
                peers::glance(&mut run, &mut Vec::new());
                assert!(began.elapsed() < peers::LIMIT, "the connection stays");
            }
            ended.join().unwrap();
        }
        let mut detector = accept(&listener, &mut run);
        detector
            .write_all(&[introduction(V3_1, "PUSH"), message(V3_1, &["s"]), message(V3_1, &["e"])].concat())
            .unwrap();
        assert_eq!(to_the_end(&mut run).len(), 2);
        let found = ["disconnects", "refused_connections", "invalid"].map(|name| count(&run, name));
        assert_eq!(found, counts, "{:?}", host.lines());
        let warnings = host.lines().into_iter().filter(|(level, _)| *level == LogLevel::Warn).count();
        assert!((1..=3).contains(&warnings), "{:?}", host.lines());
    }
}
