//! What one client can do to the others: limits on connections, headers, bodies, and times.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use framegate_plugin_api::{Progress, Source};
use framegate_sardana::Sardana;

use crate::{Client, DESCRIPTION, LIMIT, skipped, source, step, until};

/// Sends bytes on a new connection and returns the server's answer, up to the close.
fn raw(source: &Sardana, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(source.addresses()[0]).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    // The server may close before all is sent.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

#[test]
fn what_is_no_http_or_too_much_of_it_costs_only_its_own_connection() {
    let (mut source, _) = source(r#", "idle_timeout": 300"#);
    let mut run = source.open().unwrap();
    assert!(raw(&source, b"\x16\x03\x01 hello\r\n\r\n").starts_with("HTTP/1.1 400"));
    let headers = "x: y\r\n".repeat(1000);
    assert!(
        raw(&source, format!("POST /v1/record_end HTTP/1.1\r\n{headers}\r\n").as_bytes()).starts_with("HTTP/1.1 431")
    );
    let long = "y".repeat(1 << 20);
    assert!(
        raw(&source, format!("POST /v1/record_end HTTP/1.1\r\nx: {long}\r\n\r\n").as_bytes())
            .starts_with("HTTP/1.1 431")
    );
    let huge =
        b"POST /v1/record_end HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: 1099511627776\r\n\r\n{";
    assert!(raw(&source, huge).starts_with("HTTP/1.1 413"));
    // An incomplete header: the server closes at the time limit.
    raw(&source, b"POST /v1/record_end HTTP/1.1\r\nhost: ");
    raw(&source, b"");
    // An incomplete body.
    let mut cut = TcpStream::connect(source.addresses()[0]).unwrap();
    cut.write_all(
        b"POST /v1/data_desc HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{\"title",
    )
    .unwrap();
    drop(cut);
    assert_eq!(Client::new(&source).post("data_desc", DESCRIPTION).0, 200);
    assert_eq!(until(&mut run, 1).len(), 1);
}

/// A client that writes raw bytes and reads answers as they arrive.
struct Raw(TcpStream);

impl Raw {
    fn connect(source: &Sardana) -> Self {
        let stream = TcpStream::connect(source.addresses()[0]).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// Writes the head of a post with further header lines, and the part of its body in `body`.
    fn begin(&mut self, path: &str, more: &str, body: &str) {
        let head = format!("POST /v1/{path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{more}\r\n");
        self.0.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
    }

    fn post(&mut self, path: &str, body: &str) {
        self.begin(path, &format!("content-length: {}", body.len()), body);
    }

    /// The status and the complete body of the next answer, which must have a length.
    fn answer(&mut self) -> (u16, String) {
        let mut text = String::new();
        let whole = |text: &str| {
            let (head, body) = text.split_once("\r\n\r\n")?;
            let length = head.to_ascii_lowercase();
            let length = length.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse::<usize>();
            (body.len() == length.unwrap()).then_some(())
        };
        while whole(&text).is_none() {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error}, after {text:?}"));
            text.push(char::from(byte[0]));
        }
        (text[9..12].parse().unwrap(), text)
    }

    /// Whether nothing arrives for a while.
    fn is_silent(&mut self) -> bool {
        self.0.set_read_timeout(Some(Duration::from_millis(150))).unwrap();
        let silent = self.0.read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        self.0.set_read_timeout(Some(LIMIT)).unwrap();
        silent
    }

    fn is_closed(&mut self) -> bool {
        self.0.read(&mut [0]).is_ok_and(|bytes| bytes == 0)
    }
}

#[test]
fn one_connection_serves_post_after_post_until_its_client_has_enough() {
    let (mut source, _) = source("");
    let mut run = source.open().unwrap();
    let mut client = Raw::connect(&source);
    // An invalid body does not close the connection.
    for (path, body, status) in [
        ("data_desc", DESCRIPTION, 200),
        ("record_data", "{", 422),
        ("nothing", "{}", 404),
        ("record_data", r#"{"timestamp": 1}"#, 200),
    ] {
        client.post(path, body);
        assert_eq!(client.answer().0, status, "{path} {body}");
    }
    // Two requests written at once are answered in order.
    client.post("record_data", r#"{"timestamp": 2}"#);
    client.post("record_data/", "{}");
    assert_eq!(client.answer().0, 200);
    let (status, whole) = client.answer();
    assert_eq!(status, 307);
    assert!(whole.to_ascii_lowercase().contains("location: /v1/record_data\r\n"), "{whole}");
    // A client that waits for 100-continue, as curl does.
    client.begin("record_data", "expect: 100-continue\r\ncontent-length: 16", "");
    let mut go_on = [0; 25];
    client.0.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.0.write_all(br#"{"timestamp": 3}"#).unwrap();
    assert_eq!(client.answer().0, 200);
    client.begin("record_end", "connection: close\r\ncontent-length: 2", "{}");
    assert_eq!(client.answer().0, 200);
    assert!(client.is_closed());
    assert_eq!(until(&mut run, 5)[3], r#"{"type":"RecordData","timestamp":3.0}"#);
}

#[test]
fn a_post_that_is_refused_whatever_its_body_says_leaves_its_connection_of_use() {
    let (mut source, _) = source(r#", "max_body": 1000, "body_timeout": 400"#);
    let mut run = source.open().unwrap();
    let mut client = Raw::connect(&source);
    for (head, status) in [
        ("POST /v1/nothing", 404),
        ("POST /v1/record_data/", 307),
        ("PUT /v1/record_data", 405),
        ("POST /v1/record_data", 422),
    ] {
        client
            .0
            .write_all(format!("{head} HTTP/1.1\r\nhost: x\r\ncontent-length: 20\r\n\r\n0123456789").as_bytes())
            .unwrap();
        // No answer before the body is complete.
        assert!(client.is_silent(), "{head}");
        client.0.write_all(b"0123456789").unwrap();
        assert_eq!(client.answer().0, status, "{head}");
    }
    client.post("data_desc", DESCRIPTION);
    assert_eq!(client.answer().0, 200);
    assert_eq!(until(&mut run, 1).len(), 1);
    // Neither a body that is too long nor one that never arrives keeps the permit.
    for (length, body) in [(2000, "x".repeat(1500)), (1000, String::new())] {
        let mut client = Raw::connect(&source);
        client.begin("nothing", &format!("content-length: {length}"), &body);
        assert_eq!(client.answer().0, 404);
        assert!(client.is_closed());
    }
}

#[test]
fn a_body_that_does_not_come_in_time_is_refused_and_others_are_served_meanwhile() {
    let (mut source, _) = source(r#", "body_timeout": 400"#);
    let mut run = source.open().unwrap();
    let mut slow = Raw::connect(&source);
    slow.begin("data_desc", &format!("content-length: {}", DESCRIPTION.len()), "");
    let began = Instant::now();
    // Byte by byte and never complete: progress does not extend the time limit.
    let mut writer = slow.0.try_clone().unwrap();
    let trickle = thread::spawn(move || {
        for byte in DESCRIPTION.as_bytes() {
            if writer.write_all(&[*byte]).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
    });
    assert_eq!(Client::new(&source).post("data_desc", DESCRIPTION).0, 200);
    assert_eq!(until(&mut run, 1).len(), 1);
    let (status, whole) = slow.answer();
    assert_eq!(status, 408);
    assert!(whole.contains("400ms (body_timeout)"), "{whole}");
    assert!(began.elapsed() >= Duration::from_millis(400));
    trickle.join().unwrap();
    assert!(step(&mut run, &mut Vec::new()) == Progress::Idle, "nothing of it has reached the stream");
    assert_eq!(skipped(&run, "a body that does not validate"), 1);
}

#[test]
fn a_body_without_a_length_is_limited_too() {
    let (mut source, _) = source(r#", "max_body": 1000"#);
    let mut run = source.open().unwrap();
    let chunk = |bytes: usize| format!("{bytes:x}\r\n{}\r\n", " ".repeat(bytes));
    let mut client = Raw::connect(&source);
    client.begin("record_end", "transfer-encoding: chunked", &format!("2\r\n{{}}\r\n{}0\r\n\r\n", chunk(900)));
    assert_eq!(client.answer().0, 200);
    client.begin("record_end", "transfer-encoding: chunked", &(chunk(600) + &chunk(600)));
    assert_eq!(client.answer().0, 413);
    let mut client = Raw::connect(&source);
    client.begin("record_end", "transfer-encoding: chunked", "x\r\n");
    let (status, whole) = client.answer();
    assert_eq!(status, 400);
    assert!(whole.contains("breaks off"), "{whole}");
    assert_eq!(step(&mut run, &mut Vec::new()), Progress::Idle);
}

#[test]
fn more_connections_than_allowed_wait_for_a_place() {
    let (source, _) = source(r#", "max_connections": 2"#);
    let mut inside = [Raw::connect(&source), Raw::connect(&source)];
    for client in &mut inside {
        client.post("record_end", "{}");
        assert_eq!(client.answer().0, 200);
    }
    let mut waiting = Raw::connect(&source);
    waiting.post("record_end", "{}");
    assert!(waiting.is_silent());
    // Open connections are served as before.
    inside[1].post("record_end", "{}");
    assert_eq!(inside[1].answer().0, 200);
    drop(inside);
    assert_eq!(waiting.answer().0, 200);
}

#[test]
fn no_more_than_four_large_posts_are_in_memory_while_the_queue_is_full() {
    let (mut source, _) = source(r#", "queue_limit": 1"#);
    let mut run = source.open().unwrap();
    assert_eq!(Client::new(&source).post("data_desc", DESCRIPTION).0, 200);
    let (sent, all_sent) = mpsc::channel();
    let begin = |_| {
        let (mut client, sent) = (Raw::connect(&source), sent.clone());
        thread::spawn(move || {
            client.post("record_data", &format!(r#"{{"timestamp": 1, "x": "{}"}}"#, "y".repeat(15 << 20)));
            sent.send(()).unwrap();
            client.answer().0
        })
    };
    let clients: Vec<_> = (0..6).map(begin).collect();
    (0..4).for_each(|_| all_sent.recv_timeout(LIMIT).unwrap());
    assert!(all_sent.recv_timeout(Duration::from_millis(300)).is_err(), "a fifth was received");
    until(&mut run, 7);
    assert!(clients.into_iter().all(|client| client.join().unwrap() == 200));
}
