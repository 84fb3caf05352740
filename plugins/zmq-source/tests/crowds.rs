//! Many peers at a bound source, and messages that do not end: no detector waits for them, and memory has a limit.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod letters;
mod peers;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use framegate_plugin_api::{Deadline, Event, EventSink, SourceRun as _};
use framegate_zmq_source::Pattern;
use socket2::SockRef;

use Version::V3_1;
use peers::{
    LIMIT, Run, VERSIONS, Version, bound, command, connect, connection_ends, count, glance, head, introduction,
    message, part, push, wait_for,
};

const UNFINISHED: &str = "the connection ended in the middle of a message";
const NO_ROOM: &str = "unfinished messages need more than max_message together";

/// A new detector's message arrives.
fn is_served(run: &mut Run, address: SocketAddr) {
    let received = count(run, "messages");
    let context = zmq::Context::new();
    let detector = push(&context, address);
    // Neither a start nor invalid.
    detector.send("h", 0).unwrap();
    wait_for(run, "messages", received + 1);
}

/// Connections that somebody makes in another thread while the source runs.
fn while_running<T: Send + 'static>(run: &mut Run, work: impl FnOnce() -> T + Send + 'static) -> T {
    let worker = thread::spawn(work);
    let began = Instant::now();
    while !worker.is_finished() {
        glance(run, &mut Vec::new());
        assert!(began.elapsed() < LIMIT, "still busy");
    }
    worker.join().unwrap()
}

#[test]
fn silent_peers_leave_a_place_for_a_detector() {
    let (mut run, host, address) = bound("", Pattern::Pull);
    let context = zmq::Context::new();
    let before = push(&context, address);
    let ends = connection_ends(&context, &before, "before");
    before.send("s", 0).unwrap();
    wait_for(&mut run, "messages", 1);
    let silent = while_running(&mut run, move || (0..300).map(|_| connect(address)).collect::<Vec<_>>());
    // One place is taken by the detector; those that were silent for the longest time have to go.
    wait_for(&mut run, "refused_connections", 45);
    is_served(&mut run, address);
    before.send("d", 0).unwrap();
    wait_for(&mut run, "messages", 3);
    assert_eq!((count(&run, "refused_connections"), count(&run, "invalid")), (46, 0));
    assert_eq!(ends.poll(zmq::POLLIN, 0).unwrap(), 0, "a detector had to make room");
    let warnings: Vec<_> = host.lines().into_iter().filter(|(_, line)| line.contains("make room")).collect();
    assert_eq!(warnings.len(), 1, "{:?}", host.lines());
    for (place, mut stream) in silent.into_iter().enumerate() {
        stream.set_nonblocking(place >= 46).unwrap();
        let mut bytes = Vec::new();
        let kept =
            stream.read_to_end(&mut bytes).is_err_and(|problem| problem.kind() == std::io::ErrorKind::WouldBlock);
        assert_eq!(kept, place >= 46, "connection {place}");
    }
}

#[test]
fn thousands_of_connections_that_close_at_once_are_counted_and_one_detector_is_served() {
    const TIMES: usize = 3000;
    let (mut run, host, address) = bound("", Pattern::Pull);
    while_running(&mut run, move || {
        for time in 0..TIMES {
            let mut stream = connect(address);
            // Some with an end that the kernel reports as an error, some in the middle of their introduction.
            if time % 3 == 0 {
                SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            }
            let introduction = introduction(V3_1, "PUSH");
            let _ = stream.write_all(&introduction[..time % introduction.len()]);
        }
    });
    wait_for(&mut run, "refused_connections", TIMES as u64);
    is_served(&mut run, address);
    assert_eq!((count(&run, "invalid"), host.lines().len() < 8), (0, true), "{:?}", host.lines());
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(descriptors < 1500, "{descriptors} are open");
}

#[test]
fn a_message_whose_connection_ends_is_counted_and_others_arrive_meanwhile() {
    let halves = |version| {
        [
            ("a large part", part(version, &[b'd'; 100_000], false)[..50_000].to_vec()),
            ("a small part", part(version, &[b'd'; 100], false)[..50].to_vec()),
            ("a head", part(version, &[b'd'; 100_000], false)[..5].to_vec()),
            ("all but the last part", part(version, b"d", true)),
            (
                "all but a last byte",
                [part(version, b"d", true), part(version, &[b'd'; 3000], false)[..3000].to_vec()].concat(),
            ),
        ]
    };
    for version in VERSIONS {
        for (what, half) in halves(version) {
            let (mut run, _, address) = bound("", Pattern::Pull);
            let mut stream = connect(address);
            stream.write_all(&[introduction(version, "PUSH"), message(version, &["s"]), half].concat()).unwrap();
            wait_for(&mut run, "messages", 1);
            is_served(&mut run, address);
            assert_eq!(count(&run, "invalid"), 0, "{version:?}: {what}");
            drop(stream);
            // The other detector's, too.
            wait_for(&mut run, "disconnects", 2);
            wait_for(&mut run, "invalid", 1);
            assert_eq!(count(&run, UNFINISHED), 1, "{version:?}: {what}");
        }
    }
}

#[test]
fn a_command_whose_connection_ends_is_no_message() {
    let (mut run, _, address) = bound("", Pattern::Pull);
    let mut stream = connect(address);
    let ping = command("PING", &[0; 12]);
    stream.write_all(&[introduction(V3_1, "PUSH"), message(V3_1, &["s"]), ping[..10].to_vec()].concat()).unwrap();
    wait_for(&mut run, "messages", 1);
    is_served(&mut run, address);
    drop(stream);
    wait_for(&mut run, "disconnects", 2);
    is_served(&mut run, address);
    assert_eq!(count(&run, "invalid"), 0);
}

/// Peers that have sent a part of a message; and the rest.
fn unfinished(address: SocketAddr, count: usize, size: usize) -> Vec<(TcpStream, Vec<u8>)> {
    let begin = |_| {
        let mut stream = connect(address);
        let all = [introduction(V3_1, "PUSH"), head(V3_1, size as u64 + 1000, false), vec![b'd'; size]].concat();
        stream.write_all(&all).unwrap();
        (stream, vec![b'd'; 1000])
    };
    (0..count).map(begin).collect()
}

/// The rest of each message arrives; returns how many of them were skipped.
fn finished(run: &mut Run, peers: Vec<(TcpStream, Vec<u8>)>) -> u64 {
    let (received, events) = (count(run, "messages"), peers.len() as u64);
    let streams = while_running(run, move || {
        let finish = |(mut stream, rest): (TcpStream, Vec<u8>)| {
            stream.write_all(&rest).unwrap();
            stream
        };
        peers.into_iter().map(finish).collect::<Vec<_>>()
    });
    wait_for(run, "messages", received + events);
    drop(streams);
    count(run, NO_ROOM)
}

#[test]
fn unfinished_messages_hold_at_most_max_message_together_and_the_largest_is_skipped() {
    let (mut run, host, address) = bound(r#", "max_message": "1 MiB""#, Pattern::Pull);
    let few = while_running(&mut run, move || unfinished(address, 4, 200 << 10));
    is_served(&mut run, address);
    assert_eq!(finished(&mut run, few), 0, "800 KiB may wait");
    let many = while_running(&mut run, move || unfinished(address, 8, 200 << 10));
    is_served(&mut run, address);
    // At most five fit.
    assert_eq!(finished(&mut run, many), 3);
    assert_eq!(count(&run, "invalid"), 3);
    assert_eq!(host.lines().iter().filter(|(_, line)| line.contains(NO_ROOM)).count(), 1);
    is_served(&mut run, address);
}

#[test]
fn unfinished_messages_are_limited_while_a_detector_never_pauses() {
    let (mut run, _, address) = bound(r#", "max_message": "1 MiB""#, Pattern::Pull);
    let mut first = connect(address);
    first.write_all(&[introduction(V3_1, "PUSH"), message(V3_1, &["s"])].concat()).unwrap();
    wait_for(&mut run, "messages", 1);
    let flood = Flood::new(address, 20 << 10);
    one_by_one(&mut run, "the flood", |run, _| count(run, "messages") > 300);
    let many = thread::spawn(move || unfinished(address, 8, 200 << 10));
    one_by_one(&mut run, "the others", |_, _| many.is_finished());
    let before = count(&run, "messages");
    one_by_one(&mut run, "the flood", |run, _| count(run, "messages") > before + 300);
    let rest = thread::spawn(move || {
        let mut peers = many.join().unwrap();
        peers.iter_mut().for_each(|(stream, rest)| stream.write_all(rest).unwrap());
        peers
    });
    let mut whole = 0;
    one_by_one(&mut run, "the rest of the messages", |run, events| {
        whole += events.iter().filter(|event| event.frames[0].len() > 100_000).count() as u64;
        whole + count(run, NO_ROOM) == 8
    });
    assert_eq!(whole, 5);
    drop((rest.join().unwrap(), flood));
}

/// A detector that always has a message, for a host that takes one in a call.
struct Flood {
    done: Arc<AtomicBool>,
    sender: Option<thread::JoinHandle<()>>,
}

impl Flood {
    fn new(address: SocketAddr, size: usize) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let is_done = done.clone();
        let sender = thread::spawn(move || {
            let context = zmq::Context::new();
            let detector = push(&context, address);
            detector.set_sndtimeo(100).unwrap();
            while !is_done.load(Ordering::Relaxed) {
                let _ = detector.send(vec![b'd'; size], 0);
            }
        });
        Self { done, sender: Some(sender) }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        let _ = self.sender.take().map(thread::JoinHandle::join);
    }
}

/// Takes one event in each call, as a host does whose workers are slower than the detector, until `enough`.
fn one_by_one(run: &mut Run, what: &str, mut enough: impl FnMut(&Run, &[Event]) -> bool) {
    let began = Instant::now();
    loop {
        let mut events = Vec::new();
        let mut push = |event| events.push(event);
        run.next(&mut EventSink::new(&mut push, 1, 1), Deadline::after(Duration::from_millis(50))).unwrap();
        if enough(run, &events) {
            return;
        }
        assert!(began.elapsed() < LIMIT, "{what}: {:?}", run.status());
    }
}

#[test]
fn a_detector_that_never_pauses_leaves_a_turn_for_others_and_for_new_ones() {
    for size in [20 << 10, 1 << 10, 300 << 10] {
        let (mut run, _, address) = bound("", Pattern::Pull);
        let context = zmq::Context::new();
        let first = push(&context, address);
        first.send("s", 0).unwrap();
        wait_for(&mut run, "messages", 1);
        let flood = Flood::new(address, size);
        let mut received = 0;
        // Until its messages wait in the kernel.
        one_by_one(&mut run, "the flood", |_, events| {
            received += events.len();
            thread::sleep(Duration::from_millis(1));
            received > 100
        });
        first.send("d from the first", 0).unwrap();
        let from =
            |events: &[Event], text: &str| events.iter().any(|event| event.frames[0].as_slice() == text.as_bytes());
        one_by_one(&mut run, "the first detector is not served", |_, events| {
            thread::sleep(Duration::from_millis(1));
            from(events, "d from the first")
        });
        let new = push(&context, address);
        new.send("d from a new one", 0).unwrap();
        one_by_one(&mut run, "a new detector is not served", |_, events| {
            thread::sleep(Duration::from_millis(1));
            from(events, "d from a new one")
        });
        drop(flood);
    }
}
