//! Walks through the whole house without control and without plugin files: commands in, messages out on a real socket.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use framegate_plugin_api::{
    Deadline, ErrorKind, Event, EventKind, Frame, HostContext, HostServices, Parameter, Progress, SourceError,
};
use serde_json::{Value, json};
use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    control::CommandSender,
    host::prepare,
    ingester::{
        command::{Assignment, Assignments, Command, Deal},
        report::Report,
    },
    names::{IngesterName, ScanId, StreamName, WorkerName},
    settings::{CaptureWhenFull, Control, IngesterSettings, Settings, StreamSettings, WhenFull},
    source::{Factory, Fault, Instance, reader::Reader},
};

/// A source whose events a test puts into it.
#[derive(Debug, Clone, Default)]
struct Fed(Arc<Mutex<VecDeque<Event>>>);

impl Factory for Fed {
    fn create(&self, _: &str, _: &Value, services: Arc<dyn HostServices>) -> Result<Box<dyn Instance>, Fault> {
        Ok(Box::new(FedInstance { events: self.clone(), host: HostContext::new("s", services), open: false }))
    }
    fn describe(&self) -> String {
        "fed by a test".to_owned()
    }
}

struct FedInstance {
    events: Fed,
    host: HostContext,
    open: bool,
}

impl Instance for FedInstance {
    fn on_demand(&self) -> bool {
        false
    }
    fn parameters(&mut self) -> Result<Vec<Parameter>, Fault> {
        Ok(Vec::new())
    }
    fn set_parameter(&mut self, _: &str, _: &[u8]) -> Result<(), Fault> {
        Ok(())
    }
    fn open(&mut self) -> Result<(), Fault> {
        self.open = true;
        Ok(())
    }
    fn next(&mut self, out: &mut Vec<Event>, deadline: Deadline) -> Result<Progress, Fault> {
        while !deadline.passed() && !self.host.stop_requested() {
            let mut events = self.events.0.lock().unwrap();
            if !events.is_empty() {
                let failed = events.iter().any(|event| event.typ == "fail");
                let ended = events.iter().any(|event| event.kind == EventKind::End);
                out.extend(events.drain(..).filter(|event| event.typ != "fail"));
                return match (failed, ended) {
                    (true, _) => Err(Fault::Source(SourceError::new(ErrorKind::Protocol, "as asked"))),
                    (_, true) => Ok(Progress::End),
                    _ => Ok(Progress::More),
                };
            }
            drop(events);
            std::thread::yield_now();
        }
        Ok(Progress::Idle)
    }
    fn trigger(&mut self, _: u64, _: &mut Vec<Event>) -> Result<(), Fault> {
        Ok(())
    }
    fn skipped(&mut self) -> Vec<(String, u64)> {
        Vec::new()
    }
    fn close(&mut self) {
        self.open = false;
    }
}

struct House {
    feeds: Vec<Fed>,
    commands: CommandSender,
    report: watch::Receiver<Report>,
    runtime: tokio::runtime::Runtime,
    port: u16,
    thread: Option<std::thread::JoinHandle<()>>,
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn house(streams: &[&str], change: impl Fn(&mut IngesterSettings)) -> House {
    let port = free_port();
    let stream = |name: &&str| StreamSettings {
        name: StreamName::new(name).unwrap(),
        source: "fed".to_owned(),
        settings: json!({}),
        when_full: WhenFull::Block,
        parameters: Default::default(),
    };
    let mut ingester = IngesterSettings {
        name: IngesterName::new("test-ingester").unwrap(),
        host: "localhost".to_owned(),
        port,
        memory_limit: 1 << 30,
        capture_limit: 1 << 28,
        worker_inflight: 8 << 20,
        worker_timeout: Duration::from_secs(10),
        stall_timeout: None,
        dump_path: None,
        capture_when_full: CaptureWhenFull::Thin,
        streams: streams.iter().map(stream).collect(),
    };
    change(&mut ingester);
    let settings = Settings {
        control: Control::Standalone(Default::default()),
        ingesters: vec![],
        plugin_dirs: vec![],
        allow_writable_plugins: true,
        shutdown_grace: Duration::from_secs(1),
        source_timeout: Duration::from_secs(5),
        admin: None,
    };
    let feeds: Vec<Fed> = streams.iter().map(|_| Fed::default()).collect();
    let made = ingester
        .streams
        .iter()
        .zip(&feeds)
        .map(|(stream, fed)| {
            let (reader, outcome) =
                Reader::start(stream.name.clone(), Arc::new(fed.clone()), stream.settings.clone()).unwrap();
            (stream.name.clone(), reader, outcome.recv().unwrap().unwrap())
        })
        .collect();
    let (forwarder, line) = prepare(&ingester, made, &settings).unwrap();
    let thread = Some(std::thread::spawn(move || forwarder.run()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    House { feeds, commands: line.commands, report: line.report, runtime, port, thread }
}

impl House {
    fn command(&self, command: Command) {
        self.runtime.block_on(self.commands.command(command)).unwrap();
    }
    fn wait(&self, what: &str, until: impl Fn(&Report) -> bool) -> Report {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let report = self.report.borrow().clone();
            if until(&report) {
                return report;
            }
            assert!(Instant::now() < deadline, "waited for {what}: {report:#?}");
            std::thread::yield_now();
        }
    }
    fn start(&self, streams: &[&str]) -> ScanId {
        let scan = ScanId(Uuid::new_v4());
        let streams = streams.iter().map(|name| StreamName::new(name).unwrap()).collect();
        self.command(Command::StartScan { scan, streams, deal: Deal::Controller });
        self.wait("the scan to be ready", |report| report.ready == Some(scan));
        scan
    }
    fn assign(&self, scan: ScanId, events: &[(u64, &[(&str, &[&str])])]) {
        let events = events.iter().map(|(number, streams)| Assignment {
            number: *number,
            streams: streams
                .iter()
                .map(|(stream, workers)| {
                    let workers = workers.iter().map(|worker| WorkerName::new(worker).unwrap()).collect();
                    (StreamName::new(stream).unwrap(), workers)
                })
                .collect(),
        });
        self.runtime.block_on(self.commands.assign(Assignments { scan, events: events.collect() })).unwrap();
    }
    fn feed(&self, stream: usize, kind: EventKind, frames: &[&[u8]]) {
        let frames = frames.iter().map(|bytes| Frame::copy(bytes)).collect();
        self.feeds[stream].0.lock().unwrap().push_back(Event { typ: "T", kind, frames });
    }
    fn worker(&self, name: &str) -> zmq::Socket {
        let socket = zmq::Context::new().socket(zmq::DEALER).unwrap();
        socket.set_identity(name.as_bytes()).unwrap();
        socket.set_linger(0).unwrap();
        socket.set_rcvtimeo(10_000).unwrap();
        socket.connect(&format!("tcp://127.0.0.1:{}", self.port)).unwrap();
        socket.send(&Uuid::new_v4().as_bytes()[..], 0).unwrap();
        self.wait("the worker", |report| report.workers.iter().any(|w| w.name.as_str() == name && w.connected));
        socket
    }
    fn stop(mut self) {
        self.command(Command::Stop { grace: Duration::from_secs(1) });
        self.thread.take().unwrap().join().unwrap();
    }
}

fn receive(worker: &zmq::Socket) -> (Value, Vec<Vec<u8>>) {
    let mut parts = worker.recv_multipart(0).expect("a message within ten seconds");
    let header = serde_json::from_slice(&parts.remove(0)).unwrap();
    (header, parts)
}

#[test]
fn events_meet_their_assignments_and_arrive_in_order() {
    let house = house(&["a"], |_| ());
    let (w1, w2) = (house.worker("w1"), house.worker("w2"));
    let scan = house.start(&["a"]);
    house.feed(0, EventKind::Start, &[b"header", b""]);
    house.feed(0, EventKind::Data, &[b"one"]);
    house.feed(0, EventKind::Data, &[&[7; 100_000], b"small"]);
    house.feed(0, EventKind::End, &[b"end"]);
    house.assign(scan, &[(0, &[("a", &["w1", "w2"])]), (1, &[("a", &[])])]);
    house.assign(scan, &[(2, &[("a", &["w2"])]), (3, &[]), (4, &[("a", &["w1", "w2"])])]);
    for worker in [&w1, &w2] {
        let (header, frames) = receive(worker);
        assert_eq!((&header["event_number"], frames), (&json!(0), vec![b"header".to_vec(), vec![]]));
        assert_eq!(header["streams"], json!({"a": {"typ": "T", "length": 2}}));
    }
    let (header, frames) = receive(&w2);
    assert_eq!((&header["event_number"], frames), (&json!(2), vec![vec![7; 100_000], b"small".to_vec()]));
    assert_eq!(receive(&w1).0["event_number"], 4);
    assert_eq!(receive(&w2).0["event_number"], 4);
    house.command(Command::Finish { scan });
    let report = house.wait("the finish", |report| report.finished == Some(scan));
    let stream = &report.streams[&StreamName::new("a").unwrap()];
    assert_eq!((stream.read, stream.forwarded, stream.dropped, stream.discarded), (4, 3, 0, 1));
    house.stop();
}

#[test]
fn several_streams_of_a_worker_are_one_message() {
    let house = house(&["a", "b"], |_| ());
    let (w1, w2) = (house.worker("w1"), house.worker("w2"));
    let scan = house.start(&["a", "b"]);
    house.assign(scan, &[(0, &[("a", &["w1", "w2"]), ("b", &["w1"])])]);
    house.feed(0, EventKind::Data, &[b"from a"]);
    house.feed(1, EventKind::Data, &[b"from b", b"too"]);
    let (header, frames) = receive(&w1);
    assert_eq!(header["streams"], json!({"a": {"typ": "T", "length": 1}, "b": {"typ": "T", "length": 2}}));
    assert_eq!(frames, vec![b"from a".to_vec(), b"from b".to_vec(), b"too".to_vec()]);
    assert_eq!(receive(&w2).1, vec![b"from a".to_vec()]);
    house.stop();
}

#[test]
fn a_new_scan_gets_nothing_of_the_old() {
    let house = house(&["a"], |_| ());
    let w1 = house.worker("w1");
    let old = house.start(&["a"]);
    house.feed(0, EventKind::Data, &[b"old, never assigned"]);
    house.wait("the event", |report| report.streams.values().any(|stream| stream.read == 1));
    let new = house.start(&["a"]);
    house.assign(old, &[(0, &[("a", &["w1"])])]);
    house.assign(new, &[(0, &[("a", &["w1"])])]);
    house.feed(0, EventKind::Data, &[b"new"]);
    assert_eq!(receive(&w1).1, vec![b"new".to_vec()]);
    house.wait("the count", |report| report.counters.get("assignments of another scan") == Some(&1));
    house.stop();
}

#[test]
fn messages_wait_for_a_worker_that_connects_late() {
    let house = house(&["a"], |_| ());
    let scan = house.start(&["a"]);
    house.assign(scan, &[(0, &[("a", &["late"])]), (1, &[("a", &["late"])])]);
    house.feed(0, EventKind::Data, &[b"0"]);
    house.feed(0, EventKind::Data, &[b"1"]);
    house.wait("the messages", |report| report.workers.iter().any(|worker| worker.waiting == 2));
    let late = house.worker("late");
    assert_eq!(receive(&late).1, vec![b"0".to_vec()]);
    assert_eq!(receive(&late).1, vec![b"1".to_vec()]);
    house.stop();
}

#[test]
fn a_worker_that_never_connects_is_evicted_and_counted() {
    let house = house(&["a"], |settings| settings.worker_timeout = Duration::from_millis(200));
    let w1 = house.worker("w1");
    let scan = house.start(&["a"]);
    house.assign(scan, &[(0, &[("a", &["ghost", "w1"])])]);
    house.feed(0, EventKind::Data, &[b"0"]);
    assert_eq!(receive(&w1).1, vec![b"0".to_vec()]);
    house.wait("the eviction", |report| report.counters.get("messages dropped with evicted workers") == Some(&1));
    house.stop();
}

#[test]
fn junk_from_the_workers_side_is_counted_and_never_shown() {
    let house = house(&["a"], |_| ());
    let junk = zmq::Context::new().socket(zmq::DEALER).unwrap();
    junk.set_identity(b"bad:name").unwrap();
    junk.set_linger(0).unwrap();
    junk.connect(&format!("tcp://127.0.0.1:{}", house.port)).unwrap();
    junk.send(&Uuid::new_v4().as_bytes()[..], 0).unwrap();
    junk.send("sixteen bytes 16", 0).unwrap();
    junk.send("", 0).unwrap();
    junk.send_multipart([&Uuid::new_v4().as_bytes()[..], b"more"], 0).unwrap();
    let report = house.wait("the junk", |report| report.counters.get("junk messages from workers' side") == Some(&4));
    assert!(report.workers.is_empty());
    house.stop();
}

#[test]
fn a_source_that_fails_costs_its_own_stream_only() {
    let house = house(&["a", "b"], |_| ());
    let w1 = house.worker("w1");
    let scan = house.start(&["a", "b"]);
    house.feeds[0].0.lock().unwrap().push_back(Event {
        typ: "fail",
        kind: EventKind::Data,
        frames: Default::default(),
    });
    house.assign(scan, &[(0, &[("a", &["w1"]), ("b", &["w1"])])]);
    house.feed(1, EventKind::Data, &[b"from b"]);
    let (header, frames) = receive(&w1);
    assert_eq!((&header["streams"]["a"]["length"], frames), (&json!(0), vec![b"from b".to_vec()]));
    house.wait("the fault", |report| report.faults.iter().any(|fault| fault.contains("as asked")));
    house.stop();
}

#[test]
fn frames_are_handed_to_the_socket_where_they_are() {
    // An owner that is dropped only after the worker has everything shows that no copy stood in between.
    struct Watched(Vec<u8>, Arc<Mutex<bool>>);
    impl AsRef<[u8]> for Watched {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    impl Drop for Watched {
        fn drop(&mut self) {
            *self.1.lock().unwrap() = true;
        }
    }
    let house = house(&["a"], |_| ());
    let w1 = house.worker("w1");
    let scan = house.start(&["a"]);
    let dropped = Arc::new(Mutex::new(false));
    let frame = Frame::from_owner(Watched(vec![5; 1 << 20], dropped.clone()));
    let event = Event { typ: "T", kind: EventKind::Data, frames: [frame].into_iter().collect() };
    house.feeds[0].0.lock().unwrap().push_back(event);
    house.wait("the event", |report| report.streams.values().any(|stream| stream.queued == 1));
    assert!(!*dropped.lock().unwrap());
    house.assign(scan, &[(0, &[("a", &["w1"])])]);
    assert_eq!(receive(&w1).1, vec![vec![5; 1 << 20]]);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !*dropped.lock().unwrap() {
        assert!(Instant::now() < deadline, "the frame was never released");
        std::thread::yield_now();
    }
    house.stop();
}
