//! Tests the source with real TCP servers, good and bad ones.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use framegate_pcap_raw::PcapRaw;
use framegate_plugin_api::{
    Deadline, Event, EventSink, Progress, Source, SourceRun,
    testing::{self, TestHost},
};

const LIMIT: Duration = Duration::from_secs(20);
const HEADER: &str = "arm_time: 2023-12-19T07:51:12.754Z\nmissed: 0\nfields:\n PCAP.BITS0 uint32 Value\n\n";

/// A server; each connection runs the next script.
fn serve(scripts: Vec<Box<dyn FnOnce(TcpStream) + Send>>) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    (url, thread::spawn(move || scripts.into_iter().for_each(|script| script(listener.accept().unwrap().0))))
}

/// Answers the greeting, as a PandABox does.
fn greet(stream: &mut TcpStream) {
    let mut greeting = [0; 1];
    stream.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"\n");
    stream.write_all(b"OK\n").unwrap();
}

/// Greets, sends the text, and waits until the other side closes.
fn saying(text: impl Into<String>) -> Box<dyn FnOnce(TcpStream) + Send> {
    let text = text.into();
    Box::new(move |mut stream| {
        greet(&mut stream);
        stream.write_all(text.as_bytes()).unwrap();
        let _ = stream.read(&mut [0; 1]);
    })
}

/// Greets, sends the text, and closes.
fn breaking(text: impl Into<String>) -> Box<dyn FnOnce(TcpStream) + Send> {
    let text = text.into();
    Box::new(move |mut stream| {
        greet(&mut stream);
        stream.write_all(text.as_bytes()).unwrap();
    })
}

fn source(url: &str, more: &str) -> (PcapRaw, Arc<TestHost>) {
    let settings = serde_json::from_str(&format!(r#"{{"upstream_url": "{url}"{more}}}"#)).unwrap();
    let (host, context) = TestHost::new();
    (PcapRaw::create(settings, context).unwrap(), host)
}

/// One call of `next`.
fn step(run: &mut impl SourceRun, into: &mut Vec<Event>) -> Progress {
    testing::step(run, into).unwrap()
}

/// Collects the texts of the events until there are `count`.
fn until(run: &mut impl SourceRun, count: usize) -> Vec<String> {
    let events = testing::until(run, LIMIT, "all events", |events, _| events.len() >= count).unwrap();
    events.iter().map(|event| String::from_utf8(event.frames[0].as_slice().to_vec()).unwrap()).collect()
}

fn skipped(run: &impl SourceRun, reason: &str) -> u64 {
    run.status().skipped_for(reason)
}

#[test]
fn an_arm_of_many_lines_comes_whole_in_batches() {
    let lines: Vec<String> = (0..10_000).map(|number| format!(" {number} 0.5\n")).collect();
    let (url, server) = serve(vec![saying(format!("{HEADER}{}END 10000 Disarmed\n", lines.concat()))]);
    let (mut source, _) = source(&url, "");
    let mut run = source.open().unwrap();
    let mut events = Vec::new();
    let began = Instant::now();
    while events.len() < 10_002 {
        let before = events.len();
        step(&mut run, &mut events);
        assert!(events.len() - before <= 64);
        assert!(began.elapsed() < LIMIT);
    }
    assert!(events[1..10_001].iter().zip(&lines).all(|(event, line)| event.frames[0].as_slice() == line.as_bytes()));
    // The run does not end: another arm may follow.
    assert_eq!(step(&mut run, &mut events), Progress::Idle);
    assert_eq!(events.len(), 10_002);
    drop(run);
    server.join().unwrap();
}

#[test]
fn each_scan_has_a_connection_of_its_own() {
    let scripts = (0..20).map(|scan| saying(format!("{HEADER} {scan}\nEND 1 Ok\n"))).collect();
    let (url, server) = serve(scripts);
    let (mut source, _) = source(&url, "");
    for scan in 0..20 {
        let mut run = source.open().unwrap();
        assert_eq!(until(&mut run, 3)[1], format!(" {scan}\n"));
    }
    server.join().unwrap();
}

#[test]
fn a_broken_arm_is_counted_and_the_next_one_comes_over_a_new_connection() {
    let (url, server) = serve(vec![
        breaking(format!("{HEADER} 1\n 2\n 3.")),
        breaking("arm_time: 2\nmissed: 0\n"),
        breaking(""),
        saying(format!("junk\n{HEADER} 4\nEND 1 Ok\n")),
    ]);
    let (mut source, _) = source(&url, "");
    let mut run = source.open().unwrap();
    assert_eq!(until(&mut run, 6), [HEADER, " 1\n", " 2\n", HEADER, " 4\n", "END 1 Ok\n"]);
    assert_eq!(skipped(&run, "the connection broke inside an arm"), 1);
    assert_eq!(skipped(&run, "the connection broke inside a header"), 1);
    assert_eq!(skipped(&run, "a line that the connection's end cut"), 1);
    drop(run);
    server.join().unwrap();
}

#[test]
fn a_server_that_closes_between_two_arms_is_left_alone_for_a_while() {
    let arm = format!("{HEADER} 1\nEND 1 Ok\n");
    for (more, wait) in [("", None), (r#", "pause_after_end": 200"#, Some(Duration::from_millis(200)))] {
        let (came, next) = mpsc::channel();
        let again = Box::new(move |mut stream: TcpStream| {
            came.send(Instant::now()).unwrap();
            // The run may be dropped before or after the greeting.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let (url, server) = serve(vec![breaking(arm.clone()), again]);
        let (mut source, _) = source(&url, more);
        let mut run = source.open().unwrap();
        assert_eq!(until(&mut run, 3).len(), 3);
        let ended = Instant::now();
        let mut nothing = Vec::new();
        match wait {
            Some(pause) => {
                let again = loop {
                    step(&mut run, &mut nothing);
                    if let Ok(again) = next.try_recv() {
                        break again;
                    }
                    assert!(ended.elapsed() < LIMIT);
                };
                // The source sees the end of the arm slightly before the end of the connection.
                assert!(again - ended > pause / 2);
                drop(run);
            }
            None => {
                (0..10).for_each(|_| _ = step(&mut run, &mut nothing));
                assert!(next.try_recv().is_err());
                drop(run);
                let _next_scan = source.open().unwrap();
                assert!(next.recv_timeout(LIMIT).is_ok());
            }
        }
        assert!(nothing.is_empty());
        server.join().unwrap();
    }
}

#[test]
fn a_server_that_comes_late_is_found() {
    let reserved = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = reserved.local_addr().unwrap();
    drop(reserved);
    let (mut source, host) = source(&format!("tcp://{address}"), r#", "connect_wait": 20"#);
    let mut run = source.open().unwrap();
    assert!(host.lines().iter().any(|(_, line)| line.contains("nothing answers there yet")));
    assert_eq!(step(&mut run, &mut Vec::new()), Progress::Idle);
    let listener = TcpListener::bind(address).unwrap();
    let server = thread::spawn(move || saying(format!("{HEADER}END 0 Ok\n"))(listener.accept().unwrap().0));
    assert_eq!(until(&mut run, 2), [HEADER, "END 0 Ok\n"]);
    // One log line for all attempts.
    assert_eq!(host.lines().iter().filter(|(_, line)| line.contains("cannot connect")).count(), 1);
    drop(run);
    server.join().unwrap();
}

#[test]
fn a_server_that_accepts_and_says_nothing_is_left_for_another_try() {
    let silent = |stream: TcpStream| {
        // Until the other side closes.
        let mut received = Vec::new();
        (&stream).read_to_end(&mut received).unwrap();
        assert_eq!(received, b"\n");
    };
    let (url, server) = serve(vec![Box::new(silent), saying(format!("{HEADER}END 0 Ok\n"))]);
    let (mut source, host) = source(&url, r#", "handshake_timeout": 100"#);
    let mut run = source.open().unwrap();
    assert_eq!(until(&mut run, 2), [HEADER, "END 0 Ok\n"]);
    assert!(host.lines().iter().any(|(_, line)| line.contains("not answered within 100 ms")));
    drop(run);
    server.join().unwrap();
}

#[test]
fn a_server_that_is_no_pandabox_is_named_and_left() {
    let other = |mut stream: TcpStream| {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    };
    let (url, server) = serve(vec![Box::new(other), saying(format!("{HEADER}END 0 Ok\n"))]);
    let (mut source, host) = source(&url, "");
    let mut run = source.open().unwrap();
    assert_eq!(until(&mut run, 2), [HEADER, "END 0 Ok\n"]);
    assert!(host.lines().iter().any(|(_, line)| line.contains(r#"answers "HTT""#) && line.contains("8889")));
    drop(run);
    server.join().unwrap();
}

#[test]
fn a_server_that_talks_without_end_of_line_costs_neither_memory_nor_the_deadline() {
    let endless = |mut stream: TcpStream| {
        greet(&mut stream);
        stream.write_all(HEADER.as_bytes()).unwrap();
        let text = vec![b'x'; 1 << 20];
        for _ in 0..64 {
            stream.write_all(&text).unwrap();
        }
        stream.write_all(b"\n 1\nEND 1 Ok\n").unwrap();
        let _ = stream.read(&mut [0; 1]);
    };
    let (url, server) = serve(vec![Box::new(endless)]);
    let (mut source, _) = source(&url, "");
    let mut run = source.open().unwrap();
    assert_eq!(until(&mut run, 3), [HEADER, " 1\n", "END 1 Ok\n"]);
    assert_eq!(skipped(&run, "a line longer than max_line"), 1);
    drop(run);
    server.join().unwrap();
}

#[test]
fn a_stop_ends_every_wait() {
    let (url, server) = serve(vec![saying(HEADER)]);
    let (mut source, host) = source(&url, "");
    let mut run = source.open().unwrap();
    assert_eq!(until(&mut run, 1), [HEADER]);
    let stopper = thread::spawn(move || host.stop());
    let mut nothing = |_| panic!("no event can come");
    let mut out = EventSink::new(&mut nothing, 1, 1);
    assert_eq!(run.next(&mut out, Deadline::after(Duration::from_secs(3600))).unwrap(), Progress::Idle);
    stopper.join().unwrap();
    drop(run);
    server.join().unwrap();
}
