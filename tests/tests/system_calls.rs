//! System calls per event on the host's own threads: of many events, none for each, only for each batch; of an event that
//! comes alone, a wait, a read and a write.
//!
//! The real command runs under strace, which records each call of each thread. Where many events come, two measures make the
//! result independent of the machine's speed: the command is stopped while the detector
//! sends, so that all events have arrived when it continues; and its worker does not read, so that the network never
//! asks for more. Periodic calls are measured while no events arrive, and subtracted.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use framegate_tests::{
    framegate,
    host::{Host, write_configuration},
    process::{free_port, wait_for},
    protocols::{self, Protocol},
    standalone::{Wish, configuration},
    worker::Worker,
};
use nix::sys::signal::Signal;

/// Bytes of an image.
const BYTES: usize = 64;
/// Events until the worker's side of the network is full, and memory has grown.
const WARM_UP: u32 = 40_000;
/// Events to measure.
const EVENTS: u32 = 50_000;
const IDLE: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(120);

/// The threads on the events' path, by the beginnings of their names.
const THREADS: [&str; 2] = ["read ", "forward "];
/// Maximum calls per event on one of them: a batch of dozens of events needs some.
const MOST: f64 = 0.2;
/// Maximum share that waits for another thread's lock.
const MOST_LOCKS: f64 = 0.02;

/// Events that come alone, and the maximum calls for each on both threads together.
const ALONE: u32 = 300;
const MOST_ALONE: f64 = 4.0;

/// Number of calls, by thread and name.
type Calls = BTreeMap<(&'static str, String), f64>;

/// A command under strace, its worker, and its detector, which has sent its header.
struct Stage {
    host: Host,
    worker: Worker,
    detector: Stins,
    strace: Trace,
    _folder: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let (url, upstream) = (format!("tcp://127.0.0.1:{}", free_port()), format!("tcp://127.0.0.1:{port}"));
        let ingester = "worker_timeout = \"10 min\"";
        let wish = Wish { ingester, ..Wish::default() };
        let (file, admin) = write_configuration(folder.path(), &configuration(&url, &upstream, &wish));
        let trace = folder.path().join("trace");
        // As a grandchild, strace lets the test keep the command as its child.
        let strace = ["-D", "-f", "-qq", "-o", trace.to_str().unwrap()];
        let mut command =
            framegate::wrapped("strace", &strace, framegate::command().args(["run", "--config"]).arg(file));
        let mut host = Host::with(&mut command, folder.path(), admin);
        let worker = Worker::connect("w1", &url);
        host.wait_for("the worker", |ingester| ingester["workers"][0]["connected"] == true);
        let detector = Stins::bind(&upstream);
        detector.begin();
        let strace = Trace { file: trace, process: host.id() };
        Self { host, worker, detector, strace, _folder: folder }
    }

    /// Calls for each second in which nothing comes.
    fn idle(&self) -> Calls {
        let (before, began) = (self.strace.calls(), Instant::now());
        thread::sleep(IDLE);
        difference(&self.strace.calls(), &before, 1.0 / began.elapsed().as_secs_f64())
    }
}

/// The calls of a thread for each of so many events, without those that it makes by the clock.
fn for_each<'a>(thread: &str, calls: &'a Calls, idle: &Calls, seconds: f64, events: u32) -> BTreeMap<&'a str, f64> {
    let mut each = BTreeMap::new();
    for (key @ (_, name), count) in calls.iter().filter(|((of, _), count)| *of == thread && **count > 0.0) {
        let by_clock = idle.get(key).copied().unwrap_or_default() * seconds;
        each.insert(name.as_str(), (count - by_clock).max(0.0) / f64::from(events));
    }
    println!("calls of {thread:?} for each event, in {seconds:.1} s: {each:.4?}");
    each
}

#[test]
fn an_event_costs_no_system_calls_of_its_own() {
    let stage = Stage::new();
    let Stage { host, detector, strace, .. } = &stage;
    let mut sent = 1;
    let mut send = |images: u32| {
        detector.send(sent..sent + images);
        sent += images;
        u64::from(sent)
    };
    let all = send(WARM_UP);
    wait_until_sent(host, all);
    let idle = stage.idle();

    host.signal(Signal::SIGSTOP);
    let all = send(EVENTS);
    let (before, began) = (strace.calls(), Instant::now());
    host.signal(Signal::SIGCONT);
    wait_until_sent(host, all);
    let seconds = began.elapsed().as_secs_f64();
    let calls = difference(&strace.calls(), &before, 1.0);
    for thread in THREADS {
        let each = for_each(thread, &calls, &idle, seconds, EVENTS);
        let sum: f64 = each.values().sum();
        assert!((f64::MIN_POSITIVE..MOST).contains(&sum), "{thread:?} makes {sum:.4} for each event: {each:.4?}");
        let locks = each.get("futex").copied().unwrap_or_default();
        assert!(locks < MOST_LOCKS, "{thread:?} waits for a lock {locks:.4} times for each event: {each:.4?}");
    }
}

#[test]
fn an_event_that_comes_alone_costs_a_wait_a_read_and_a_write() {
    let stage = Stage::new();
    let Stage { worker, detector, strace, .. } = &stage;
    let header = worker.next();
    assert!(!header.frames.is_empty());
    let idle = stage.idle();
    let (before, began) = (strace.calls(), Instant::now());
    for number in 1..=ALONE {
        detector.send(number..number + 1);
        assert_eq!(worker.next().number(), u64::from(number));
    }
    let seconds = began.elapsed().as_secs_f64();
    let calls = difference(&strace.calls(), &before, 1.0);
    let each = THREADS.map(|thread| for_each(thread, &calls, &idle, seconds, ALONE));
    let sum: f64 = each.iter().flat_map(BTreeMap::values).sum();
    assert!((2.9..=MOST_ALONE).contains(&sum), "{sum:.4} for each event: {each:.4?}");
}

/// A detector whose unsent messages wait.
struct Stins {
    protocol: Protocol,
    socket: zmq::Socket,
}

impl Stins {
    fn bind(url: &str) -> Self {
        let protocol = protocols::ALL.into_iter().find(|protocol| protocol.name == "stins").unwrap();
        let socket = protocol.socket();
        socket.bind(url).unwrap();
        Self { protocol, socket }
    }

    fn begin(&self) {
        (self.protocol.start)(0).iter().for_each(|parts| self.socket.send_multipart(parts, 0).unwrap());
    }

    fn send(&self, images: std::ops::Range<u32>) {
        for number in images {
            let mut messages = (self.protocol.data)(number, r#""x": 1"#);
            messages[0][1] = vec![7; BYTES];
            messages.iter().for_each(|parts| self.socket.send_multipart(parts, 0).unwrap());
        }
    }
}

fn wait_until_sent(host: &Host, events: u64) {
    wait_for("all events to be sent", LIMIT, || {
        let ingester = host.ingester().ok()?;
        (ingester["workers"][0]["sent"] == events).then_some(())
    });
}

/// strace's record of a process.
struct Trace {
    file: PathBuf,
    process: u32,
}

impl Trace {
    /// All calls so far on the threads on the events' path.
    fn calls(&self) -> Calls {
        let mut threads = BTreeMap::new();
        let ids = fs::read_dir(format!("/proc/{}/task", self.process)).unwrap().map(|task| task.unwrap().file_name());
        let mut ids: Vec<u32> = ids.map(|id| id.to_str().unwrap().parse().unwrap()).collect();
        // libzmq's threads have the name of the thread that created the context, and higher ids.
        ids.sort_unstable_by(|one, other| other.cmp(one));
        for id in ids {
            let name = fs::read_to_string(format!("/proc/{}/task/{id}/comm", self.process)).unwrap();
            if let Some(thread) = THREADS.into_iter().find(|thread| name.starts_with(thread)) {
                threads.retain(|_, known| *known != thread);
                threads.insert(id.to_string(), thread);
            }
        }
        assert_eq!(threads.len(), THREADS.len(), "{threads:?}");
        let mut calls = Calls::new();
        // If other threads' calls interrupt a call's record, it has a second line.
        for line in fs::read_to_string(&self.file).unwrap().lines().filter(|line| !line.contains("resumed>")) {
            let (id, call) = line.split_once(' ').unwrap_or_default();
            if let (Some(thread), Some((call, _))) = (threads.get(id), call.trim_start().split_once('(')) {
                *calls.entry((*thread, call.to_owned())).or_default() += 1.0;
            }
        }
        calls
    }
}

fn difference(after: &Calls, before: &Calls, times: f64) -> Calls {
    let since = |(key, count): (&(&'static str, String), &f64)| {
        (key.clone(), (count - before.get(key).copied().unwrap_or_default()) * times)
    };
    after.iter().map(since).collect()
}
