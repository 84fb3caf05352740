//! Tests the source over HTTP, as Sardana sees it, with good and bad clients.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod limits;

use std::{
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use framegate_plugin_api::{
    Deadline, ErrorKind, Event, EventSink, Progress, Source, SourceRun,
    testing::{self, TestHost},
};
use framegate_sardana::Sardana;

const LIMIT: Duration = Duration::from_secs(20);
const DESCRIPTION: &str = r#"{"title": "ascan", "serialno": 1, "scandir": "/data"}"#;

fn source(more: &str) -> (Sardana, Arc<TestHost>) {
    let settings = serde_json::from_str(&format!(r#"{{"port": 0{more}}}"#)).unwrap();
    let (host, context) = TestHost::new();
    (Sardana::create(settings, context).unwrap(), host)
}

/// A client that keeps its connection open.
struct Client {
    agent: ureq::Agent,
    url: String,
}

impl Client {
    fn new(source: &Sardana) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(LIMIT)).build();
        Self { agent: config.into(), url: format!("http://{}/v1/", source.addresses()[0]) }
    }

    fn post(&self, path: &str, body: impl AsRef<[u8]>) -> (u16, String) {
        let post = self.agent.post(format!("{}{path}", self.url)).content_type("application/json");
        let mut answer = post.send(body.as_ref()).unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    }
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
fn scans_come_in_order_over_a_kept_connection() {
    let (mut source, _) = source("");
    let client = Client::new(&source);
    for scan in 0..3 {
        let mut run = source.open().unwrap();
        assert_eq!(client.post("data_desc", DESCRIPTION), (200, "null".to_owned()));
        for point in 0..100 {
            let record = format!(r#"{{"point_nb": {point}, "timestamp": {scan}}}"#);
            assert_eq!(client.post("record_data", record).0, 200);
        }
        assert_eq!(client.post("custom_data", r#"{"anything": 1}"#).0, 200);
        assert_eq!(client.post("record_end", "{}").0, 200);
        let events = until(&mut run, 102);
        assert_eq!(events[0], r#"{"type":"DataDescription","serialno":1,"scandir":"/data","title":"ascan"}"#);
        for point in 0..100 {
            let record = format!(r#"{{"type":"RecordData","timestamp":{scan}.0,"point_nb":{point}}}"#);
            assert_eq!(events[point + 1], record);
        }
        assert_eq!(events[101], r#"{"type":"RecordEnd"}"#);
        assert_eq!(step(&mut run, &mut Vec::new()), Progress::End);
        assert!(run.status().skipped.is_empty());
        assert_eq!(run.status().counters[0], ("messages", 102));
    }
}

#[test]
fn posts_while_no_scan_is_active_are_answered_counted_and_dropped() {
    let (mut source, host) = source("");
    let client = Client::new(&source);
    assert_eq!(client.post("data_desc", DESCRIPTION).0, 200);
    assert_eq!(client.post("record_data", r#"{"timestamp": 1}"#).0, 200);
    let mut run = source.open().unwrap();
    assert_eq!(skipped(&run, "while no scan was active"), 2);
    assert!(
        host.lines().iter().any(|(_, line)| line.starts_with("skipped 2 posts that came while no scan was active"))
    );
    // The next scan does not get them either: the end of a scan drops unread posts.
    assert_eq!(client.post("data_desc", DESCRIPTION).0, 200);
    assert_eq!(client.post("record_end", "{}").0, 200);
    assert_eq!(until(&mut run, 2).len(), 2);
    assert_eq!(client.post("record_end", "{}").0, 200);
    let began = Instant::now();
    while skipped(&run, "after the end of the run") == 0 {
        assert_eq!(step(&mut run, &mut Vec::new()), Progress::End);
        assert!(began.elapsed() < LIMIT);
    }
    assert_eq!(client.post("data_desc", DESCRIPTION).0, 200);
    drop(run);
    let mut run = source.open().unwrap();
    assert_eq!(skipped(&run, "while no scan was active"), 1);
    assert_eq!(step(&mut run, &mut Vec::new()), Progress::Idle);
}

#[test]
fn a_bad_body_is_refused_with_reasons_and_never_reaches_the_stream() {
    let (mut source, _) = source(r#", "max_body": 1000"#);
    let client = Client::new(&source);
    let mut run = source.open().unwrap();
    let (status, reasons) = client.post("data_desc", r#"{"serialno": "x", "title": "t"}"#);
    assert_eq!(status, 422);
    assert_eq!(
        reasons,
        r#"{"detail":[{"loc":["body","serialno"],"msg":"must be a whole number","type":"value_error"},{"loc":["body","scandir"],"msg":"is required","type":"value_error"}]}"#
    );
    for (path, body, status) in [
        ("data_desc", "", 422),
        ("data_desc", "[]", 422),
        ("record_data", "{", 422),
        ("record_data", r#"{"timestamp": "\ud800"}"#, 422),
        ("record_end", r#"{"type": "RecordData"}"#, 422),
        ("custom_data", "[]", 422),
        ("nothing", "{}", 404),
        ("record_end", &format!(r#"{{"x": "{}"}}"#, "y".repeat(1000)), 413),
    ] {
        let (answered, why) = client.post(path, body);
        assert_eq!(answered, status, "{path} {body}: {why}");
        assert!(why.contains("detail"), "{why}");
    }
    assert_eq!(client.agent.get(format!("{}record_end", client.url)).call().unwrap().status(), 405);
    let plain = client.agent.post(format!("{}record_end", client.url)).content_type("text/plain").send("{}");
    assert_eq!(plain.unwrap().status(), 422);
    assert_eq!(client.post("data_desc", DESCRIPTION).0, 200);
    assert_eq!(until(&mut run, 1).len(), 1);
    assert_eq!(skipped(&run, "a body that does not validate"), 8);
    assert!(
        run.status().last_invalid.unwrap().contains("content-type must be application/json"),
        "{:?}",
        run.status().last_invalid
    );
}

#[test]
fn the_port_is_bound_from_create_to_drop_and_one_in_use_is_an_error_that_names_it() {
    let (first, _) = source("");
    let port = first.addresses()[0].port();
    let settings = || serde_json::from_str(&format!(r#"{{"port": {port}}}"#)).unwrap();
    let error = Sardana::create(settings(), TestHost::new().1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert!(error.message().contains(&format!("127.0.0.1:{port} is in use")), "{error}");
    drop(first);
    // A drop frees the port before it returns, even with an open connection.
    for _ in 0..20 {
        let mut source = Sardana::create(settings(), TestHost::new().1).unwrap();
        let client = Client::new(&source);
        let _run = source.open().unwrap();
        assert_eq!(client.post("data_desc", DESCRIPTION).0, 200);
        drop(source);
    }
    let wrong = serde_json::from_str(r#"{"host": "no such host.invalid"}"#).unwrap();
    assert_eq!(Sardana::create(wrong, TestHost::new().1).unwrap_err().kind(), ErrorKind::Settings);
}

#[test]
fn a_full_queue_answers_late_and_loses_nothing() {
    let (mut source, _) = source(r#", "queue_limit": 512"#);
    let client = Client::new(&source);
    let mut run = source.open().unwrap();
    let (answered, answers) = mpsc::channel();
    let poster = thread::spawn(move || {
        for point in 0..50 {
            let path = if point == 0 { "data_desc" } else { "record_data" };
            let body = format!(r#"{{"serialno": 1, "scandir": "", "title": "", "timestamp": {point}}}"#);
            assert_eq!(client.post(path, body).0, 200);
            answered.send(point).unwrap();
        }
    });
    // Two posts fit, the third waits.
    assert_eq!(answers.recv_timeout(LIMIT), Ok(0));
    assert_eq!(answers.recv_timeout(LIMIT), Ok(1));
    assert!(answers.recv_timeout(Duration::from_millis(100)).is_err());
    assert_eq!(until(&mut run, 50).len(), 50);
    poster.join().unwrap();
}

#[test]
fn the_end_of_a_scan_answers_those_who_wait_for_room() {
    let (mut source, _) = source(r#", "queue_limit": 1"#);
    let client = Client::new(&source);
    let run = source.open().unwrap();
    let (answered, answers) = mpsc::channel();
    let poster = thread::spawn(move || {
        for _ in 0..2 {
            answered.send(client.post("data_desc", DESCRIPTION).0).unwrap();
        }
    });
    assert_eq!(answers.recv_timeout(LIMIT), Ok(200));
    drop(run);
    assert_eq!(answers.recv_timeout(LIMIT), Ok(200));
    poster.join().unwrap();
    let mut run = source.open().unwrap();
    assert_eq!(skipped(&run, "while no scan was active"), 2);
    assert_eq!(step(&mut run, &mut Vec::new()), Progress::Idle);
}

#[test]
fn a_stop_ends_every_wait() {
    let (mut source, host) = source("");
    let mut run = source.open().unwrap();
    let stopper = thread::spawn(move || host.stop());
    let mut nothing = |_| panic!("no event can come");
    let mut out = EventSink::new(&mut nothing, 1, 1);
    assert_eq!(run.next(&mut out, Deadline::after(Duration::from_secs(3600))).unwrap(), Progress::Idle);
    stopper.join().unwrap();
}
