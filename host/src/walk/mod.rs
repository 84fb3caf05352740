//! Tests the whole path without control and without plugin files: commands in, messages out on a real socket.

mod faults;
mod forwarding;
mod limits;
mod on_demand;
mod one_thread;
mod stock;
mod zero_copy;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, Weak},
    time::{Duration, Instant},
};

use framegate_plugin_api::{
    Deadline, ErrorKind, EventKind, EventSink, Frame, HostContext, Progress, Source, SourceError, SourceRun,
};
use serde_json::{Value, json};
use tokio::sync::watch;
use uuid::Uuid;

use crate::event::Event;
use crate::{
    control::CommandSender,
    events::News,
    host::{ReadySource, prepare},
    ingester::{
        command::{Assignment, Assignments, Command, Deal},
        report::Report,
    },
    names::{IngesterName, ScanId, StreamName, WorkerName},
    settings::{Control, IngesterSettings, Settings, StreamSettings, WhenFull},
    source::{
        Feed,
        factory::{Factory, linked},
        reader::Reader,
    },
};

/// The events of a test for one stream.
#[derive(Debug, Clone, Default)]
struct Fed(Arc<Mutex<VecDeque<Event>>>);

/// Those of the tests that run, by number.
static FEEDS: Mutex<Vec<Weak<Mutex<VecDeque<Event>>>>> = Mutex::new(Vec::new());

impl Fed {
    /// A stream's name, its settings, and its source, which gives these events.
    fn source(&self, name: &str) -> NamedSource {
        let mut feeds = FEEDS.lock().unwrap();
        feeds.push(Arc::downgrade(&self.0));
        (name.to_owned(), json!({ "number": feeds.len() - 1 }), linked::<FedSource>())
    }
}

#[derive(serde::Deserialize)]
struct FedSettings {
    number: usize,
}

/// Gives the events of a test.
struct FedSource {
    events: Weak<Mutex<VecDeque<Event>>>,
    host: HostContext,
}

struct FedRun {
    events: Arc<Mutex<VecDeque<Event>>>,
    host: HostContext,
}

impl Source for FedSource {
    type Settings = FedSettings;
    type Run = FedRun;
    const PROTOCOL: &'static str = "fed by a test";

    fn create(FedSettings { number }: FedSettings, host: HostContext) -> Result<Self, SourceError> {
        Ok(Self { events: FEEDS.lock().unwrap()[number].clone(), host })
    }
    fn open(&mut self) -> Result<FedRun, SourceError> {
        Ok(FedRun { events: self.events.upgrade().expect("the test is running"), host: self.host.clone() })
    }
}

impl FedRun {
    /// Does not return until the test is over, even if a stop is requested.
    fn hang(&self) -> Result<Progress, SourceError> {
        while Arc::strong_count(&self.events) > 1 {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        Ok(Progress::Idle)
    }
}

impl SourceRun for FedRun {
    fn next(&mut self, out: &mut EventSink<'_>, deadline: Deadline) -> Result<Progress, SourceError> {
        while !deadline.passed() && !self.host.stop_requested() {
            let mut events = self.events.lock().unwrap();
            if !events.is_empty() {
                if events.iter().any(|event| event.typ == "hang") {
                    drop(events);
                    return self.hang();
                }
                let failed = events.iter().any(|event| event.typ == "fail");
                let ended = events.iter().any(|event| event.kind == EventKind::End);
                let given = events.drain(..).filter(|event| event.typ != "fail");
                given.for_each(|event| out.push(event.typ, event.kind, event.frames));
                return match (failed, ended) {
                    (true, _) => Err(SourceError::new(ErrorKind::Protocol, "as asked")),
                    (_, true) => Ok(Progress::End),
                    _ => Ok(Progress::More),
                };
            }
            drop(events);
            std::thread::park_timeout(Duration::from_millis(1));
        }
        Ok(Progress::Idle)
    }
}

/// An event's streams, each with its workers.
type Streams<'a> = &'a [(&'a str, &'a [&'a str])];

struct House {
    feeds: Vec<Fed>,
    streams: Vec<StreamName>,
    commands: CommandSender,
    report: watch::Receiver<Report>,
    runtime: tokio::runtime::Runtime,
    port: u16,
    thread: std::thread::JoinHandle<()>,
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn house(streams: &[&str], change: impl Fn(&mut IngesterSettings)) -> House {
    let feeds: Vec<Fed> = streams.iter().map(|_| Fed::default()).collect();
    let sources = streams.iter().zip(&feeds).map(|(name, fed)| fed.source(name)).collect();
    House { feeds, ..house_of(sources, change) }
}

/// The name of a stream, its settings, and its source.
type NamedSource = (String, Value, Arc<Factory>);

/// A house with any sources.
fn house_of(sources: Vec<NamedSource>, change: impl Fn(&mut IngesterSettings)) -> House {
    let port = free_port();
    let stream = |(name, settings, _): &NamedSource| StreamSettings {
        when_full: WhenFull::Block,
        ..StreamSettings::new(StreamName::new(name).unwrap(), "fed", settings.clone())
    };
    let name = IngesterName::new("test-ingester").unwrap();
    let mut ingester = IngesterSettings::new(name, "localhost", port, sources.iter().map(stream).collect());
    change(&mut ingester);
    let settings = Settings {
        control: Control::Standalone(Default::default()),
        ingesters: vec![],
        plugin_dirs: vec![],
        allow_writable_plugins: true,
        probe: None,
        shutdown_grace: Duration::from_secs(1),
        source_timeout: Duration::from_secs(1),
        max_generations: 500,
        capture_root: None,
        admin_swap: Default::default(),
        admin: None,
        admin_search: false,
    };
    let made = ingester
        .streams
        .iter()
        .zip(sources)
        .map(|(stream, (.., factory))| {
            let (reader, outcome) = Reader::start(Feed { settings: stream.clone(), factory }, Vec::new()).unwrap();
            let parameters = outcome.recv().unwrap().unwrap();
            ReadySource { reader, parameters }
        })
        .collect();
    let (notices, _) = tokio::sync::mpsc::unbounded_channel();
    let (forwarder, line, _) = prepare(&ingester, made, &settings, notices, News::new()).unwrap();
    let thread = std::thread::spawn(move || forwarder.run());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let streams = line.streams;
    House { feeds: Vec::new(), streams, commands: line.commands, report: line.report, runtime, port, thread }
}

impl House {
    fn command(&self, command: Command) {
        self.runtime.block_on(self.commands.command(command)).unwrap();
    }
    fn wait(&self, what: &str, until: impl Fn(&Report) -> bool) -> Report {
        let mut report = self.report.clone();
        let found = self.runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(10), report.wait_for(until))
                .await
                .map(|found| found.map(|one| one.clone()))
        });
        found.unwrap_or_else(|_| panic!("waited for {what}: {:#?}", self.report.borrow())).expect("the ingester runs")
    }
    fn start(&self, streams: &[&str]) -> ScanId {
        let scan = ScanId(Uuid::new_v4());
        let streams = streams.iter().map(|name| StreamName::new(name).unwrap()).collect();
        self.command(Command::StartScan { scan, streams, deal: Deal::Controller });
        self.wait("the scan to be ready", |report| report.ready == Some(scan));
        scan
    }
    fn assign(&self, scan: ScanId, events: &[(u64, Streams<'_>)]) {
        let named = events.iter().flat_map(|(_, streams)| streams.iter()).flat_map(|(_, workers)| workers.iter());
        let names: Vec<_> = named.copied().collect::<BTreeSet<_>>().into_iter().collect();
        let events = events.iter().map(|(number, streams)| Assignment {
            number: *number,
            streams: streams
                .iter()
                .map(|(stream, workers)| {
                    let stream = self.streams.iter().position(|own| own.as_str() == *stream).unwrap();
                    (stream, workers.iter().map(|worker| names.binary_search(worker).unwrap()).collect())
                })
                .collect(),
        });
        let workers = Arc::new(names.iter().map(|name| WorkerName::new(name).unwrap()).collect());
        let assignments = Assignments { scan, workers, events: events.collect() };
        self.runtime.block_on(self.commands.place()).unwrap().assign(assignments);
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
    fn stop(self) {
        self.command(Command::Stop { grace: Duration::from_secs(1) });
        // Control has ended: the forwarder does not wait for it to remove published state.
        drop(self.commands);
        self.thread.join().unwrap();
    }
}

fn receive(worker: &zmq::Socket) -> (Value, Vec<Vec<u8>>) {
    let mut parts = worker.recv_multipart(0).expect("a message within ten seconds");
    let header = serde_json::from_slice(&parts.remove(0)).unwrap();
    (header, parts)
}
