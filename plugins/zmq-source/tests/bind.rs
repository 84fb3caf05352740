//! Tests sources that bind their address, with real sockets: detectors connect, stay away, leave, and are of the wrong
//! type.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod letters;

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use framegate_plugin_api::{
    ErrorKind, Event, EventKind, Progress, SourceRun,
    testing::{TestHost, step, until},
};
use framegate_zmq_source::{Pattern, PerMessage, Upstream, ZmqRun, ZmqSettings};

use letters::Letters;

const LIMIT: Duration = Duration::from_secs(20);

/// A port that was free a moment ago, below the range that Linux uses for outgoing connections: a detector that tries
/// to connect to an unused port must not get this port as its own.
fn free_url() -> String {
    let ports = 10_000 + u16::try_from(std::process::id() % 8_000).unwrap()..20_000;
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let port = ports.skip(usize::from(TAKEN.fetch_add(1, Ordering::Relaxed) * 7)).find(free).unwrap();
    format!("tcp://127.0.0.1:{port}")
}

static TAKEN: AtomicU16 = AtomicU16::new(0);

fn upstream(url: &str, more: &str, pattern: Pattern) -> (Upstream, Arc<TestHost>) {
    let settings: ZmqSettings =
        serde_json::from_str(&format!(r#"{{"upstream_url": "{url}", "attach": "bind"{more}}}"#)).unwrap();
    let (host, context) = TestHost::new();
    (Upstream::new(letters::over(settings), pattern, context).unwrap(), host)
}

fn open(upstream: &Upstream) -> ZmqRun<PerMessage<Letters>> {
    upstream.open(PerMessage::default()).unwrap()
}

fn detector(kind: zmq::SocketType, url: &str) -> zmq::Socket {
    detector_of(&zmq::Context::new(), kind, url)
}

fn detector_of(context: &zmq::Context, kind: zmq::SocketType, url: &str) -> zmq::Socket {
    let socket = context.socket(kind).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_sndtimeo(20_000).unwrap();
    socket.connect(url).unwrap();
    socket
}

/// Readable once the detector's connection has ended.
fn connection_ends(context: &zmq::Context, detector: &zmq::Socket) -> zmq::Socket {
    detector.monitor("inproc://ends", zmq::SocketEvent::DISCONNECTED as i32).unwrap();
    let ends = context.socket(zmq::PAIR).unwrap();
    ends.connect("inproc://ends").unwrap();
    ends
}

fn send(socket: &zmq::Socket, messages: &[&str]) {
    messages.iter().for_each(|text| socket.send(*text, 0).unwrap());
}

fn to_the_end(run: &mut impl SourceRun) -> Vec<Event> {
    until(run, LIMIT, "the end", |_, progress| progress == Progress::End).unwrap()
}

/// Polls until a counter of the run is at least `least`.
fn wait_for_count(run: &mut impl SourceRun, name: &str, least: u64) {
    let began = Instant::now();
    loop {
        step(run, &mut Vec::new()).unwrap();
        if run.status().counters.iter().any(|(known, count)| *known == name && *count >= least) {
            return;
        }
        assert!(began.elapsed() < LIMIT, "{name} is not {least}: {:?}", run.status().counters);
    }
}

#[test]
fn a_detector_that_connects_loses_nothing_from_scan_to_scan() {
    for (kind, pattern) in [(zmq::PUSH, Pattern::Pull), (zmq::PUB, Pattern::SubscribeAll)] {
        let url = free_url();
        // A subscription may take longer than 10 ms while other tests run.
        let (upstream, _) = upstream(&url, r#", "connect_wait": "10 s", "subscribe_settle": "100 ms""#, pattern);
        // The detector starts first: the source may bind later.
        let detector = detector(kind, &url);
        for scan in 0..30 {
            let mut run = open(&upstream);
            send(&detector, &["junk", "s", "d", "d", "e"]);
            let kinds: Vec<_> = to_the_end(&mut run).iter().map(|event| event.kind).collect();
            assert_eq!(kinds, [EventKind::Start, EventKind::Data, EventKind::Data, EventKind::End], "scan {scan}");
            assert_eq!(run.status().skipped, [("before the start of a run", 1)]);
        }
    }
}

#[test]
fn several_detectors_connect_to_one_address_and_one_that_leaves_disturbs_nobody() {
    let url = free_url();
    let (upstream, host) = upstream(&url, r#", "connect_wait": 20"#, Pattern::Pull);
    let mut run = open(&upstream);
    assert!(
        host.lines().iter().any(|(_, line)| line.contains("waiting for the detector to connect")),
        "{:?}",
        host.lines()
    );
    let context = zmq::Context::new();
    let (first, second) = (detector(zmq::PUSH, &url), detector_of(&context, zmq::PUSH, &url));
    let ends = connection_ends(&context, &second);
    send(&first, &["s"]);
    assert_eq!(until(&mut run, LIMIT, "the start", |events, _| events.len() == 1).unwrap().len(), 1);
    send(&second, &["d1"]);
    until(&mut run, LIMIT, "an event", |events, _| events.len() == 1).unwrap();
    drop(first);
    wait_for_count(&mut run, "disconnects", 1);
    // Longer than the time after which a connecting source would give up its connection.
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(700) {
        step(&mut run, &mut Vec::new()).unwrap();
    }
    send(&second, &["d2", "e"]);
    assert_eq!(to_the_end(&mut run).len(), 2);
    assert_eq!(run.status().counters[4], ("disconnects", 1));
    assert_eq!(run.status().skipped, []);
    assert_eq!(ends.poll(zmq::POLLIN, 0).unwrap(), 0, "the other detector was disconnected");
    assert_eq!(host.lines().iter().filter(|(_, line)| line.contains("it stays bound")).count(), 1);
}

#[test]
fn a_port_in_use_is_an_error_that_says_what_to_do_and_the_next_scan_tries_again() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", taken.local_addr().unwrap());
    let (upstream, _) = upstream(&url, r#", "connect_wait": 0"#, Pattern::Pull);
    let error = upstream.open(PerMessage::<Letters>::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    for part in [url.as_str(), "the port is in use", "ss -ltnp", "another port in upstream_url"] {
        assert!(error.message().contains(part), "{error}");
    }
    drop(taken);
    drop(open(&upstream));
    // An address that no machine has (RFC 5737).
    let (elsewhere, _) = self::upstream("tcp://192.0.2.1:9999", "", Pattern::Pull);
    let error = elsewhere.open(PerMessage::<Letters>::default()).unwrap_err();
    assert!(error.message().contains("this machine has no such address"), "{error}");
}

#[test]
fn a_name_cannot_be_bound_nor_all_addresses_be_connected_to() {
    for (settings, says) in [
        (r#"{"upstream_url": "tcp://localhost:5", "attach": "bind"}"#, "tcp://127.0.0.1:5"),
        (r#"{"upstream_url": ["tcp://h:5", "tcp://*:5"]}"#, "attach = \"bind\""),
    ] {
        let settings = serde_json::from_str(settings).unwrap();
        let error = Upstream::new(settings, Pattern::Pull, TestHost::new().1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Settings);
        assert!(error.message().starts_with("upstream_url: ") && error.message().contains(says), "{error}");
    }
}

#[test]
fn who_is_no_such_detector_is_named_once_and_others_are_served() {
    let url = free_url();
    let (upstream, host) = upstream(&url, r#", "connect_wait": 0"#, Pattern::Pull);
    let mut run = open(&upstream);
    let told = || host.lines().iter().filter(|(_, line)| line.contains("not as a ZeroMQ PUSH socket")).count();
    let mut wrong = TcpStream::connect(url.trim_start_matches("tcp://")).unwrap();
    // A greeting of ZMTP 3, then an invalid command.
    wrong
        .write_all(&[&[0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0][..], b"NULL", &[0; 48], b"\x04\x05\x05READY"].concat())
        .unwrap();
    let of_wrong_kind = detector(zmq::PUB, &url);
    let began = Instant::now();
    while told() == 0 {
        step(&mut run, &mut Vec::new()).unwrap();
        assert!(began.elapsed() < LIMIT, "nothing was said: {:?}", host.lines());
    }
    wrong.set_read_timeout(Some(LIMIT)).unwrap();
    let _ = wrong.read_to_end(&mut Vec::new());
    let right = detector(zmq::PUSH, &url);
    send(&right, &["s", "d", "e"]);
    assert_eq!(to_the_end(&mut run).len(), 3);
    assert_eq!((told(), run.status().counters[4]), (1, ("disconnects", 0)));
    drop(of_wrong_kind);
}

#[test]
fn after_a_part_that_is_too_long_the_detector_comes_back_and_the_next_message_is_served() {
    let url = free_url();
    let (upstream, host) = upstream(&url, r#", "connect_wait": "10 s", "max_part": 1000"#, Pattern::Pull);
    let detector = detector(zmq::PUSH, &url);
    let mut run = open(&upstream);
    send(&detector, &["s"]);
    until(&mut run, LIMIT, "the start", |events, _| events.len() == 1).unwrap();
    detector.send(vec![b'd'; 1001], 0).unwrap();
    wait_for_count(&mut run, "disconnects", 1);
    send(&detector, &["d", "e"]);
    assert_eq!(to_the_end(&mut run).len(), 2);
    assert!(host.lines().iter().any(|(_, line)| line.contains("longer than max_part (1000 bytes)")));
}

/// Each detector has a connection of its own. All of them have to wait before the source reads the first message.
#[test]
fn detectors_that_all_had_to_wait_at_one_address_go_on() {
    const EACH: usize = 100;
    let url = free_url();
    let (upstream, _) = upstream(&url, r#", "connect_wait": "10 s""#, Pattern::Pull);
    let sent = Arc::new(AtomicUsize::new(0));
    let detectors: Vec<_> = (0..4)
        .map(|_| {
            let (url, sent) = (url.clone(), sent.clone());
            thread::spawn(move || {
                let socket = zmq::Context::new().socket(zmq::PUSH).unwrap();
                socket.set_sndhwm(1).unwrap();
                socket.set_sndtimeo(20_000).unwrap();
                socket.connect(&url).unwrap();
                for _ in 0..EACH {
                    socket.send(vec![b'd'; 256 << 10], 0).unwrap();
                    sent.fetch_add(1, Ordering::Relaxed);
                }
                socket
            })
        })
        .collect();
    let mut run = open(&upstream);
    // They wait when ZeroMQ and the kernel hold all they may: then nothing is sent for a while.
    let (mut before, mut since) = (0, Instant::now());
    while before == 0 || since.elapsed() < Duration::from_millis(300) {
        let now = sent.load(Ordering::Relaxed);
        if now != before {
            (before, since) = (now, Instant::now());
        }
        thread::yield_now();
        assert!(since.elapsed() < LIMIT, "nothing was sent");
    }
    assert!(before < 4 * EACH, "nobody had to wait");
    wait_for_count(&mut run, "messages", 4 * EACH as u64);
    drop(detectors.into_iter().map(|detector| detector.join().unwrap()).collect::<Vec<_>>());
}

#[test]
fn what_came_behind_the_end_is_counted_when_the_connection_is_closed() {
    let url = free_url();
    let (upstream, _) = upstream(&url, r#", "connect_wait": "10 s", "between_scans": "disconnect""#, Pattern::Pull);
    // The messages wait together for the connection, so they come together.
    let detector = detector(zmq::PUSH, &url);
    send(&detector, &["s", "e", "s", "d", "e"]);
    let mut run = open(&upstream);
    assert_eq!(to_the_end(&mut run).len(), 2);
    assert_eq!(run.status().skipped, [("after the end of the run", 3)]);
}

/// The number of messages that ZeroMQ reads ahead falls while all of them are served.
#[test]
fn detectors_of_large_messages_at_one_address_go_on() {
    let url = free_url();
    let more = r#", "connect_wait": "10 s", "receive_budget": "1 MiB""#;
    let (upstream, _) = upstream(&url, more, Pattern::Pull);
    let detectors: Vec<_> = (0..4).map(|_| detector(zmq::PUSH, &url)).collect();
    let mut run = open(&upstream);
    for round in 1..=20 {
        detectors.iter().for_each(|detector| detector.send(vec![b'd'; 160 << 10], 0).unwrap());
        wait_for_count(&mut run, "messages", 4 * round);
    }
}

/// As with a list of addresses.
#[test]
fn of_several_detectors_at_one_address_what_waits_of_others_comes_before_the_end() {
    for waits in [Duration::ZERO, Duration::from_millis(600)] {
        let url = free_url();
        let (upstream, _) = upstream(&url, r#", "connect_wait": "10 s""#, Pattern::Pull);
        let (first, second) = (detector(zmq::PUSH, &url), detector(zmq::PUSH, &url));
        let mut run = open(&upstream);
        send(&first, &["s"]);
        let mut events = until(&mut run, LIMIT, "the start", |events, _| events.len() == 1).unwrap();
        send(&second, &["d"]);
        events.extend(until(&mut run, LIMIT, "an event", |events, _| events.len() == 1).unwrap());
        send(&second, &["d"; 5]);
        send(&first, &["e"]);
        // The host may be away for longer than an end is held.
        thread::sleep(waits);
        events.extend(to_the_end(&mut run));
        assert_eq!((events.len(), run.status().skipped), (8, vec![]));
    }
}
