//! Tests what all sources share, with real sockets: subscriptions, read-ahead, both kinds of addresses.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod letters;

use std::{
    thread,
    time::{Duration, Instant},
};

use framegate_plugin_api::{
    Deadline, Event, EventKind, EventSink, Progress, SourceRun,
    testing::{self, TestHost},
};
use framegate_zmq_source::{Endpoint, Pattern, PerMessage, Upstream, ZmqRun, ZmqSettings};

use letters::Letters;

const LIMIT: Duration = Duration::from_secs(20);

fn bound(kind: zmq::SocketType, url: &str) -> (zmq::Socket, ZmqSettings) {
    let socket = zmq::Context::new().socket(kind).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_sndtimeo(20_000).unwrap();
    socket.bind(url).unwrap();
    let url = socket.get_last_endpoint().unwrap().unwrap();
    let mut settings = ZmqSettings::new(Endpoint::parse(&url).unwrap());
    // A PUSH socket without a peer waits, and the source connects only inside its calls.
    settings.connect_wait.0 = Duration::from_secs(10);
    (socket, settings)
}

fn open(settings: &ZmqSettings, pattern: Pattern) -> ZmqRun<PerMessage<Letters>> {
    Upstream::new(letters::over(settings.clone()), pattern, TestHost::new().1)
        .unwrap()
        .open(PerMessage::default())
        .unwrap()
}

fn step(run: &mut impl SourceRun, into: &mut Vec<Event>) -> Progress {
    testing::step(run, into).unwrap()
}

fn to_the_end(run: &mut impl SourceRun) -> Vec<Event> {
    testing::until(run, LIMIT, "the end", |_, progress| progress == Progress::End).unwrap()
}

fn count(run: &impl SourceRun, name: &str) -> u64 {
    let counts = [run.status().counters, run.status().skipped].concat();
    counts.iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| *count)
}

#[test]
fn a_subscription_misses_nothing_once_it_is_open() {
    let (publisher, mut settings) = bound(zmq::PUB, "tcp://127.0.0.1:*");
    // A subscription may take longer than 10 ms while other tests run.
    settings.subscribe_settle.0 = Duration::from_millis(100);
    for scan in 0..50 {
        let mut run = open(&settings, Pattern::SubscribeAll);
        for text in ["junk", "s", "h", "d1", "?", "d2", "e"] {
            publisher.send(text, 0).unwrap();
        }
        let events = to_the_end(&mut run);
        let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
        assert_eq!(kinds, [EventKind::Start, EventKind::Data, EventKind::Data, EventKind::End], "scan {scan}");
        assert_eq!(run.status().skipped, [("before the start of a run", 1), ("no letter", 1)]);
        assert_eq!(run.status().counters[..2], [("messages", 7), ("bytes", 12)]);
        assert_eq!(
            run.status().counters[2..],
            [("invalid", 1), ("runs_so_far", 1), ("disconnects", 0), ("refused_connections", 0)]
        );
        assert_eq!(run.status().last_invalid.as_deref(), Some("no letter (message 5 of the scan)"));
    }
}

#[test]
fn settings_can_name_another_pattern_and_prefixes() {
    let (publisher, mut settings) = bound(zmq::PUB, "tcp://127.0.0.1:*");
    settings.pattern = Some(Pattern::SubscribeAll);
    settings.subscribe_settle.0 = Duration::from_millis(100); // as above
    settings.subscribe = ["s", "d2", "e"].map(String::from).into();
    let mut run = open(&settings, Pattern::Pull);
    ["junk", "s", "d1", "d2", "h", "e"].into_iter().for_each(|text| publisher.send(text, 0).unwrap());
    assert_eq!(to_the_end(&mut run).len(), 3);
    assert_eq!(run.status().counters[..2], [("messages", 3), ("bytes", 4)]);
}

#[test]
fn several_upstreams_are_read_in_turn_and_one_that_comes_late_is_found() {
    let (first, settings) = bound(zmq::PUSH, "tcp://127.0.0.1:*");
    let (late, late_settings) = bound(zmq::PUSH, "tcp://127.0.0.1:*");
    let late_url = late_settings.upstream_url.as_slice()[0].as_str().to_owned();
    drop(late);
    let urls = format!(r#"{{"upstream_url": ["{:?}", "{late_url}"], "connect_wait": 20}}"#, settings.upstream_url);
    let mut run = open(&serde_json::from_str(&urls).unwrap(), Pattern::Pull);
    // In a thread of its own, because the connection may not be complete yet.
    let sender = thread::spawn(move || first.send("s", 0).map(|()| first));
    let mut events = testing::until(&mut run, LIMIT, "the start", |events, _| events.len() == 1).unwrap();
    let (first, began) = (sender.join().unwrap().unwrap(), Instant::now());
    let (late, _) = bound(zmq::PUSH, &late_url);
    // Both always have messages: neither may starve the other.
    let senders = [(first, "d1"), (late, "d2")].map(|(socket, text)| {
        thread::spawn(move || {
            (0..5000).for_each(|_| socket.send(text, 0).unwrap());
            socket
        })
    });
    while events.len() < 10_001 {
        step(&mut run, &mut events);
        assert!(began.elapsed() < LIMIT, "{} events came", events.len());
    }
    let sockets = senders.map(|sender| sender.join().unwrap());
    sockets[1].send("e", 0).unwrap();
    assert_eq!(to_the_end(&mut run).len(), 1);
    let of = |text: &[u8]| events.iter().filter(|event| event.frames[0].as_slice() == text).count();
    assert_eq!((of(b"d1"), of(b"d2")), (5000, 5000));
}

/// The end comes early, because the links are read in turn; then the host, which has no room, is away for longer than
/// an end is held.
#[test]
fn a_host_that_was_away_gets_what_waits_on_the_other_connection_before_the_end() {
    let ((first, one), (second, other)) =
        (bound(zmq::PUSH, "tcp://127.0.0.1:*"), bound(zmq::PUSH, "tcp://127.0.0.1:*"));
    let urls = format!(
        r#"{{"upstream_url": ["{:?}", "{:?}"], "connect_wait": "10 s", "between_scans": "disconnect"}}"#,
        one.upstream_url, other.upstream_url
    );
    let mut run = open(&serde_json::from_str(&urls).unwrap(), Pattern::Pull);
    for text in ["s", "d1"] {
        first.send(text, 0).unwrap();
    }
    let mut events = testing::until(&mut run, LIMIT, "the start", |events, _| events.len() == 2).unwrap();
    (0..200).for_each(|_| second.send("d2", 0).unwrap());
    first.send("e", 0).unwrap();
    let began = Instant::now();
    // By then the end has come, too.
    while count(&run, "messages") < 100 {
        let mut push = |event| events.push(event);
        run.next(&mut EventSink::new(&mut push, 1, 1), Deadline::after(Duration::from_millis(50))).unwrap();
        assert!(began.elapsed() < LIMIT);
    }
    thread::sleep(Duration::from_millis(600));
    events.extend(to_the_end(&mut run));
    assert_eq!(events.len(), 203);
    assert_eq!(events.last().unwrap().kind, EventKind::End);
}

#[test]
fn a_unix_socket_is_an_address_too() {
    let folder = tempfile::tempdir().unwrap();
    let (detector, settings) = bound(zmq::PUSH, &format!("ipc://{}/detector", folder.path().display()));
    let mut run = open(&settings, Pattern::Pull);
    ["s", "d", "e"].into_iter().for_each(|text| detector.send(text, 0).unwrap());
    assert_eq!(to_the_end(&mut run).len(), 3);
}

#[test]
fn messages_of_changing_sizes_never_stall_between_a_fast_detector_and_a_slow_host() {
    // Small, then large, then small again, so that the read-ahead grows and shrinks while both sides wait for each
    // other.
    const SIZES: [usize; 6] = [1, 60_000, 3, 300_000, 2_000, 20];
    let (detector, mut settings) = bound(zmq::PUSH, "tcp://127.0.0.1:*");
    settings.receive_budget.0 = 2 << 20;
    let mut run = open(&settings, Pattern::Pull);
    let sender = thread::spawn(move || {
        detector.send("s", 0).unwrap();
        for size in SIZES {
            for _ in 0..700 {
                detector.send(vec![b'd'; size], 0).unwrap();
            }
        }
        detector.send("e", 0).unwrap();
        detector
    });
    let mut count = 0;
    let mut turn = 0u32;
    let began = Instant::now();
    loop {
        let mut events = Vec::new();
        // One event per call, and sometimes a host that is busy with other work.
        let mut push = |event| events.push(event);
        let progress =
            run.next(&mut EventSink::new(&mut push, 1, 1), Deadline::after(Duration::from_millis(50))).unwrap();
        count += events.len();
        turn += 1;
        if turn.is_multiple_of(97) {
            thread::yield_now();
        }
        if progress == Progress::End {
            break;
        }
        assert!(began.elapsed() < LIMIT, "stalled after {count} events");
    }
    sender.join().unwrap();
    assert_eq!(count, SIZES.len() * 700 + 2);
}

#[test]
fn what_a_stalled_host_leaves_unread_stays_within_the_budget() {
    const SIZE: usize = 1 << 20;
    let (detector, mut settings) = bound(zmq::PUSH, "tcp://127.0.0.1:*");
    settings.receive_budget.0 = 8 << 20;
    let mut run = open(&settings, Pattern::Pull);
    detector.send("s", 0).unwrap();
    let sender = thread::spawn(move || {
        for _ in 0..200 {
            detector.send(vec![b'd'; SIZE], 0).unwrap();
        }
        // The host reads nothing from here on.
        detector.set_sndhwm(1).unwrap();
        let mut taken = 0;
        let mut block = vec![b'd'; SIZE];
        loop {
            block[1] = b'x';
            // No room for a second: no more messages are taken.
            if detector.poll(zmq::POLLOUT, 1000).unwrap() == 0 {
                return (taken, detector);
            }
            detector.send(block.clone(), zmq::DONTWAIT).unwrap();
            taken += 1;
            assert!(taken < 1200, "nothing holds the detector back");
        }
    });
    let mut events = Vec::new();
    let began = Instant::now();
    while events.len() < 201 {
        step(&mut run, &mut events);
        assert!(began.elapsed() < LIMIT);
        events.iter_mut().for_each(|event| event.frames.truncate(0));
    }
    let (taken, _detector) = sender.join().unwrap();
    // In addition to the budget: the kernel's buffers (a few MiB each), and the detector's own queue.
    assert!(taken <= 8 + 40, "{taken} messages of 1 MiB were taken");
}

#[test]
fn a_socket_of_the_wrong_kind_is_named_once_and_the_right_one_is_taken_when_it_comes() {
    let (wrong, mut settings) = bound(zmq::PUB, "tcp://127.0.0.1:*");
    settings.connect_wait.0 = Duration::ZERO;
    let (host, context) = TestHost::new();
    let mut run = Upstream::new(letters::over(settings.clone()), Pattern::Pull, context)
        .unwrap()
        .open(PerMessage::<Letters>::default())
        .unwrap();
    let told = || host.lines().iter().filter(|(_, line)| line.contains("not as a ZeroMQ PUSH socket")).count();
    let began = Instant::now();
    while told() == 0 {
        step(&mut run, &mut Vec::new());
        assert!(began.elapsed() < LIMIT, "nothing was said");
    }
    drop(wrong);
    let right = rebound(&settings);
    let sender = thread::spawn(move || {
        ["s", "e"].into_iter().for_each(|text| right.send(text, 0).unwrap());
        right
    });
    assert_eq!(to_the_end(&mut run).len(), 2);
    assert_eq!(told(), 1);
    sender.join().unwrap();
}

#[test]
fn after_a_part_that_is_too_long_the_next_message_is_served() {
    let (detector, mut settings) = bound(zmq::PUSH, "tcp://127.0.0.1:*");
    settings.max_part.0 = 1000;
    let mut run = open(&settings, Pattern::Pull);
    detector.send("s", 0).unwrap();
    detector.send(vec![b'd'; 1001], 0).unwrap();
    let began = Instant::now();
    let mut events = Vec::new();
    // libzmq breaks the connection; messages that the detector sends before it notices are lost.
    while detector.poll(zmq::POLLOUT, 0).unwrap() != 0 {
        step(&mut run, &mut events);
        assert!(began.elapsed() < LIMIT, "the connection stays");
    }
    let sender = thread::spawn(move || {
        ["d", "e"].into_iter().for_each(|text| detector.send(text, 0).unwrap());
        detector
    });
    events.extend(to_the_end(&mut run));
    assert_eq!(events.len(), 3);
    assert_eq!((count(&run, "invalid"), count(&run, "disconnects")), (1, 1));
    assert!(
        run.status().last_invalid.unwrap().contains("a part longer than max_part"),
        "{:?}",
        run.status().last_invalid
    );
    sender.join().unwrap();
}

/// A PUSH socket at the address of one that has just closed.
fn rebound(settings: &ZmqSettings) -> zmq::Socket {
    let socket = zmq::Context::new().socket(zmq::PUSH).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_sndtimeo(20_000).unwrap();
    let began = Instant::now();
    while socket.bind(settings.upstream_url.as_slice()[0].as_str()).is_err() {
        assert!(began.elapsed() < LIMIT, "the port does not get free");
        thread::yield_now();
    }
    socket
}

#[test]
fn a_detector_that_pings_keeps_its_connection_while_nothing_is_read() {
    let socket = zmq::Context::new().socket(zmq::PUSH).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_sndtimeo(20_000).unwrap();
    socket.set_heartbeat_ivl(50).unwrap();
    socket.set_heartbeat_timeout(1000).unwrap();
    socket.bind("tcp://127.0.0.1:*").unwrap();
    let url = socket.get_last_endpoint().unwrap().unwrap();
    let mut settings = ZmqSettings::new(Endpoint::parse(&url).unwrap());
    settings.connect_wait.0 = LIMIT;
    let mut run = open(&settings, Pattern::Pull);
    socket.send("s", 0).unwrap();
    let (mut events, until) = (Vec::new(), Instant::now() + Duration::from_millis(500));
    while Instant::now() < until {
        step(&mut run, &mut events);
    }
    ["d1", "d2"].iter().for_each(|text| socket.send(*text, 0).unwrap());
    // Three times as long as the detector waits for a sign of life.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        run.held_back();
        thread::sleep(Duration::from_millis(100));
    }
    socket.send("e", 0).unwrap();
    assert_eq!((events.len(), to_the_end(&mut run).len(), count(&run, "disconnects")), (1, 3, 0));
}
