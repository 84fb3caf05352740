//! Tests the source with a real PUSH socket: detectors that start late, leave, or send between scans.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use framegate_plugin_api::{Deadline, Event, EventKind, EventSink, Progress, Source, SourceRun};
use framegate_stins::Stins;
use framegate_stins_detector::{self as simulate, Simulation, Step};
use framegate_zmq_source::testing::TestHost;

/// Time limit for a condition to become true.
const LIMIT: Duration = Duration::from_secs(20);

fn header(number: u64) -> String {
    format!(r#"{{"htype": "header", "filename": "f{number}", "msg_number": {number}}}"#)
}
fn image(number: u64) -> String {
    format!(
        r#"{{"htype":"image","frame":{number},"shape":[1],"type":"u1","compression":"none","msg_number":{number}}}"#
    )
}
fn end(number: u64) -> String {
    format!(r#"{{"htype": "series_end", "msg_number": {number}}}"#)
}

fn source(url: &str, more: &str) -> Stins {
    let settings = serde_json::from_str(&format!(r#"{{"upstream_url": "{url}"{more}}}"#)).unwrap();
    Stins::create(settings, TestHost::new().1).unwrap()
}

/// Like `source`, and returns its host too.
fn source_and_host(url: &str, more: &str) -> (Stins, Arc<TestHost>) {
    let settings = serde_json::from_str(&format!(r#"{{"upstream_url": "{url}"{more}}}"#)).unwrap();
    let (host, context) = TestHost::new();
    (Stins::create(settings, context).unwrap(), host)
}

/// An address on which no socket listens yet.
fn free_url() -> String {
    Detector::on_any_port().url
}

fn skipped(run: &impl SourceRun, reason: &str) -> u64 {
    run.status().skipped_for(reason)
}

/// One call of `next`, of 50 ms at most.
fn step(run: &mut impl SourceRun, into: &mut Vec<Event>) -> Progress {
    let mut push = |event| into.push(event);
    run.next(&mut EventSink::new(&mut push, 64, 1 << 20), Deadline::after(Duration::from_millis(50))).unwrap()
}

/// Calls `next` until the run has ended.
fn to_the_end(run: &mut impl SourceRun) -> Vec<Event> {
    let mut events = Vec::new();
    let began = Instant::now();
    while step(run, &mut events) != Progress::End {
        assert!(began.elapsed() < LIMIT, "no end came; events so far: {}", events.len());
    }
    events
}

/// Calls `next` until there are `count` events.
fn until(run: &mut impl SourceRun, count: usize) -> Vec<Event> {
    let mut events = Vec::new();
    let began = Instant::now();
    while events.len() < count {
        step(run, &mut events);
        assert!(began.elapsed() < LIMIT, "{count} events expected, {} came", events.len());
    }
    events
}

fn first_parts(events: &[Event]) -> Vec<String> {
    events.iter().map(|event| String::from_utf8(event.frames[0].as_slice().to_vec()).unwrap()).collect()
}

struct Detector {
    socket: zmq::Socket,
    url: String,
}

impl Detector {
    fn bind(url: &str) -> Self {
        let socket = zmq::Context::new().socket(zmq::PUSH).unwrap();
        socket.set_linger(0).unwrap();
        socket.set_sndtimeo(i32::try_from(LIMIT.as_millis()).unwrap()).unwrap();
        let began = Instant::now();
        // A port may take a moment to become free again.
        while let Err(error) = socket.bind(url) {
            assert!(error == zmq::Error::EADDRINUSE && began.elapsed() < LIMIT, "{url}: {error}");
            thread::yield_now();
        }
        let url = socket.get_last_endpoint().unwrap().unwrap();
        Self { socket, url }
    }
    fn on_any_port() -> Self {
        Self::bind("tcp://127.0.0.1:*")
    }
    fn send(&self, parts: &[&[u8]]) {
        self.socket.send_multipart(parts, 0).unwrap();
    }
    fn say(&self, text: &str) {
        self.send(&[text.as_bytes()]);
    }
    /// Sends these on a thread of its own: without a connection it waits, and the source connects inside its calls.
    fn says(self, texts: Vec<String>) -> thread::JoinHandle<Self> {
        thread::spawn(move || {
            texts.iter().for_each(|text| self.say(text));
            self
        })
    }
}

#[test]
fn a_run_arrives_whole_with_large_and_small_parts() {
    let detector = Detector::on_any_port();
    let mut run = source(&detector.url, "").open().unwrap();
    let sizes = [0, 1, 64, 2047, 2048, 8192, 100_000, 5_000_000];
    detector.send(&[header(0).as_bytes(), b"{\"meta\": 1}"]);
    let images: Vec<Vec<u8>> = sizes.iter().map(|size| (0..*size).map(|place| (place % 251) as u8).collect()).collect();
    let sender = {
        let images = images.clone();
        thread::spawn(move || {
            for (number, image_bytes) in images.iter().enumerate() {
                detector.send(&[image(number as u64).as_bytes(), image_bytes, b""]);
            }
            detector.say(&end(99));
            detector
        })
    };
    let events = to_the_end(&mut run);
    let detector = sender.join().unwrap();
    assert_eq!(events.len(), sizes.len() + 2);
    assert_eq!((events[0].kind, events[0].frames.len()), (EventKind::Start, 2));
    for (event, bytes) in events[1..].iter().zip(&images) {
        assert_eq!(event.frames.len(), 3);
        assert!(event.frames[1].as_slice() == bytes.as_slice());
    }
    assert_eq!(events.last().unwrap().kind, EventKind::End);
    assert!(run.status().skipped.is_empty());
    // The frames outlive connection and detector.
    drop((run, detector));
    assert!(events[8].frames[1].as_slice() == images[7].as_slice());
}

#[test]
fn a_detector_that_binds_later_is_found() {
    let url = free_url();
    let (mut source, host) = source_and_host(&url, r#", "connect_wait": 20"#);
    let mut run = source.open().unwrap();
    assert!(host.lines().iter().any(|(_, line)| line.contains("nothing answers there yet")));
    assert_eq!(step(&mut run, &mut Vec::new()), Progress::Idle);
    let sender = Detector::bind(&url).says(vec![header(0), end(1)]);
    assert_eq!(first_parts(&to_the_end(&mut run)), [header(0), end(1)]);
    sender.join().unwrap();
}

#[test]
fn a_stop_ends_every_wait() {
    let (mut source, host) = source_and_host(&free_url(), r#", "connect_wait": "60 s""#);
    let stopper = thread::spawn(move || host.stop());
    let mut run = source.open().unwrap();
    stopper.join().unwrap();
    let mut nothing = |_| panic!("no event can come");
    let mut out = EventSink::new(&mut nothing, 1, 1);
    assert_eq!(run.next(&mut out, Deadline::after(Duration::from_secs(3600))).unwrap(), Progress::Idle);
}

#[test]
fn a_detector_that_restarts_in_the_middle_of_a_run_goes_on() {
    let detector = Detector::on_any_port();
    let mut run = source(&detector.url, "").open().unwrap();
    detector.say(&header(0));
    detector.say(&image(1));
    assert_eq!(until(&mut run, 2).len(), 2);
    let url = detector.url.clone();
    drop(detector);
    let sender = Detector::bind(&url).says(vec![image(2), end(3)]);
    assert_eq!(first_parts(&to_the_end(&mut run)), [image(2), end(3)]);
    sender.join().unwrap();
}

#[test]
fn what_is_sent_between_scans_is_read_and_counted_and_never_reaches_the_next() {
    let detector = Detector::on_any_port();
    let mut source = source(&detector.url, "");
    let mut run = source.open().unwrap();
    detector.say(&header(0));
    detector.say(&end(1));
    to_the_end(&mut run);
    // A complete stale run, far larger than any buffer: the detector must not block.
    detector.say(&header(100));
    for number in 0..5000 {
        detector
            .socket
            .send(image(number).as_str(), zmq::DONTWAIT)
            .or_else(|_| {
                step(&mut run, &mut Vec::new());
                detector.socket.send(image(number).as_str(), 0)
            })
            .unwrap();
    }
    detector.say(&end(101));
    let began = Instant::now();
    while skipped(&run, "after the end of the run") < 5002 {
        assert_eq!(step(&mut run, &mut Vec::new()), Progress::End);
        assert!(began.elapsed() < LIMIT);
    }
    drop(run);
    let mut run = source.open().unwrap();
    detector.say(&header(2));
    detector.say(&end(3));
    assert_eq!(first_parts(&to_the_end(&mut run)), [header(2), end(3)]);
}

#[test]
fn a_closed_connection_between_scans_leaves_the_messages_to_the_next() {
    let detector = Detector::on_any_port();
    let mut source = source(&detector.url, r#", "between_scans": "disconnect""#);
    let mut run = source.open().unwrap();
    detector.say(&header(0));
    detector.say(&end(1));
    to_the_end(&mut run);
    assert_eq!(step(&mut run, &mut Vec::new()), Progress::End);
    // The detector notices after a moment; from then on it keeps what it is to send.
    let began = Instant::now();
    let mut sent = Vec::new();
    while detector.socket.poll(zmq::POLLOUT, 0).unwrap() != 0 {
        assert!(began.elapsed() < LIMIT, "the connection stays open");
        thread::yield_now();
    }
    drop(run);
    let mut run = source.open().unwrap();
    for text in [header(2), end(3)] {
        detector.say(&text);
        sent.push(text);
    }
    assert_eq!(first_parts(&to_the_end(&mut run)), sent);
}

#[test]
fn of_a_hundred_scans_whose_header_comes_at_once_none_is_lost() {
    let detector = Detector::on_any_port();
    let mut source = source(&detector.url, "");
    for scan in 0..100 {
        // Tell the detector to start only after `open` has returned.
        let mut run = source.open().unwrap();
        detector.say(&header(scan * 10));
        detector.send(&[image(scan * 10 + 1).as_bytes(), b"pixels"]);
        detector.say(&end(scan * 10 + 2));
        let texts = first_parts(&to_the_end(&mut run));
        assert_eq!(texts, [header(scan * 10), image(scan * 10 + 1), end(scan * 10 + 2)], "scan {scan}");
    }
}

#[test]
fn hostile_messages_are_skipped_and_counted_and_the_next_good_one_is_served() {
    let detector = Detector::on_any_port();
    let mut run = source(&detector.url, r#", "max_header": "1 MiB""#).open().unwrap();
    let sender = thread::spawn(move || {
        detector.say(&header(0));
        detector.send(&vec![&b""[..]; 100_000]);
        detector.send(&[image(1).as_bytes(), b"x"].repeat(600));
        detector.send(&[format!(r#"{{"msg_number": 1, "x": "{}"}}"#, "y".repeat(2 << 20)).as_bytes(), b"x"]);
        detector.send(&[format!(r#"{{"msg_number": 1, "x": {}"#, "[".repeat(500_000)).as_bytes()]);
        detector.send(&[b"", b""]);
        detector.send(&[b"\xff\xfe"]);
        detector.say("not json");
        detector.send(&[image(1).as_bytes(), b""]);
        detector.say(&end(2));
        detector
    });
    let events = to_the_end(&mut run);
    assert_eq!(first_parts(&events), [header(0), image(1), end(2)]);
    assert_eq!(skipped(&run, "too many parts"), 2);
    assert_eq!(skipped(&run, "first part too long"), 1);
    assert_eq!(run.status().skipped.iter().map(|(_, count)| count).sum::<u64>(), 7);
    sender.join().unwrap();
}

#[test]
fn a_batch_ends_when_the_host_has_enough() {
    let detector = Detector::on_any_port();
    let mut run = source(&detector.url, "").open().unwrap();
    let sender = thread::spawn(move || {
        detector.say(&header(0));
        (1..1000).for_each(|number| detector.say(&image(number)));
        detector.say(&end(1000));
        detector
    });
    let mut all = Vec::new();
    let began = Instant::now();
    loop {
        let mut batch = Vec::new();
        let progress = step(&mut run, &mut batch);
        assert!(batch.len() <= 64);
        all.append(&mut batch);
        if progress == Progress::End {
            break;
        }
        assert!(began.elapsed() < LIMIT);
    }
    sender.join().unwrap();
    assert_eq!(all.len(), 1001);
}

/// A complete, small dranspose dump from a real beamline (`tests/data/dump_xrd.cbors` in its source distribution).
#[test]
fn a_capture_comes_out_byte_for_byte() {
    let messages: Vec<Vec<Vec<u8>>> = capture(include_bytes!("../fixtures/dump_xrd.cbors"));
    let detector = Detector::on_any_port();
    let mut run = source(&detector.url, "").open().unwrap();
    for message in &messages {
        let parts: Vec<&[u8]> = message.iter().map(Vec::as_slice).collect();
        detector.send(&parts);
    }
    let came: Vec<Vec<Vec<u8>>> = until(&mut run, messages.len())
        .iter()
        .map(|event| event.frames.iter().map(|frame| frame.as_slice().to_vec()).collect())
        .collect();
    assert!(came == messages);
}

/// The messages of a dranspose dump: a sequence of `55799([42877([number, {stream: 42878([typ, [part, …]])}])])`.
fn capture(mut bytes: &[u8]) -> Vec<Vec<Vec<u8>>> {
    use ciborium::Value;
    fn inside(value: &Value) -> &Value {
        if let Value::Tag(_, value) = value { inside(value) } else { value }
    }
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let item: Value = ciborium::from_reader(&mut bytes).unwrap();
        let streams = inside(&inside(&item).as_array().unwrap()[1]).as_map().unwrap();
        let event = inside(&streams[0].1).as_array().unwrap();
        assert_eq!(event[0].as_text(), Some("STINS"));
        let parts = event[1].as_array().unwrap();
        messages.push(parts.iter().map(|part| part.as_bytes().unwrap().clone()).collect());
    }
    messages
}

#[test]
fn the_simulated_detector_streams_whole_runs() {
    let simulation = Simulation {
        bind: "tcp://127.0.0.1:*".into(),
        scans: 2,
        frames: 5,
        bytes: 10_000,
        rate: Some(1000.0),
        pause: Duration::ZERO,
    };
    let detector = simulate::Detector::bind(simulation).unwrap();
    // Both runs use one connection here, so the second arrives after the first has ended and is only counted.
    let mut run = source(&detector.endpoint().unwrap(), "").open().unwrap();
    let streaming = thread::spawn(move || {
        let mut steps = Vec::new();
        detector
            .stream(|step| {
                steps.push(step);
                true
            })
            .map(|()| steps)
    });
    let events = to_the_end(&mut run);
    assert_eq!(events.len(), 7);
    for (frame, event) in events[1..6].iter().enumerate() {
        assert!(event.frames[1].as_slice() == simulate::image(0, frame as u32, 10_000));
    }
    let began = Instant::now();
    while skipped(&run, "after the end of the run") < 7 {
        step(&mut run, &mut Vec::new());
        assert!(began.elapsed() < LIMIT);
    }
    let steps = streaming.join().unwrap().unwrap();
    assert_eq!((steps.len(), steps.last()), (14, Some(&Step::Ended { scan: 1 })));
}
