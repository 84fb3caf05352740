//! Detectors and strangers, played byte by byte; and the sources that they meet.
#![allow(dead_code, reason = "each test uses some of it")]

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use framegate_plugin_api::{
    Deadline, Event, EventSink, Progress, SourceRun,
    testing::{TestHost, until},
};
use framegate_zmq_source::{Pattern, PerMessage, Upstream, ZmqRun};

use crate::letters::Letters;

pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// ZMTP versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
    V3_0,
    V3_1,
}
use Version::{V1, V2, V3_0, V3_1};

pub(crate) const VERSIONS: [Version; 4] = [V1, V2, V3_0, V3_1];
pub(crate) const PATTERNS: [(Pattern, &str); 2] = [(Pattern::Pull, "PUSH"), (Pattern::SubscribeAll, "PUB")];

const SIGNATURE: &[u8] = b"\xff\0\0\0\0\0\0\0\x01\x7f";

pub(crate) fn greeting(minor: u8, mechanism: &str) -> Vec<u8> {
    let mut greeting = [SIGNATURE, &[3, minor], mechanism.as_bytes()].concat();
    greeting.resize(64, 0);
    greeting
}

pub(crate) fn command(name: &str, data: &[u8]) -> Vec<u8> {
    let body = [&[name.len() as u8], name.as_bytes(), data].concat();
    match u8::try_from(body.len()) {
        Ok(length) => [&[4, length], &body[..]].concat(),
        Err(_) => [&[6], &(body.len() as u64).to_be_bytes()[..], &body].concat(),
    }
}

pub(crate) fn ready(kind: &str) -> Vec<u8> {
    let kind = [&(kind.len() as u32).to_be_bytes(), kind.as_bytes()].concat();
    command("READY", &[b"\x0bSocket-Type", &kind[..]].concat())
}

fn number(kind: &str) -> u8 {
    ["PAIR", "PUB", "SUB", "REQ", "REP", "DEALER", "ROUTER", "PULL", "PUSH"].iter().position(|k| *k == kind).unwrap()
        as u8
}

/// All that a socket of this type sends before its first message.
pub(crate) fn introduction(version: Version, kind: &str) -> Vec<u8> {
    match version {
        V1 => b"\x01\0".to_vec(),
        V2 => [SIGNATURE, &[1, number(kind), 0, 0]].concat(),
        V3_0 => [greeting(0, "NULL"), ready(kind)].concat(),
        V3_1 => [greeting(1, "NULL"), ready(kind)].concat(),
    }
}

/// What the source sends to a detector of this version, subscriptions included.
pub(crate) fn answer(version: Version, pattern: Pattern, prefixes: &[&str]) -> Vec<u8> {
    let kind = if pattern == Pattern::Pull { "PULL" } else { "SUB" };
    let mut answer = match version {
        V1 => SIGNATURE.to_vec(),
        V2 => [SIGNATURE, &[3, number(kind), 0, 0]].concat(),
        V3_0 | V3_1 => [greeting(1, "NULL"), ready(kind)].concat(),
    };
    for prefix in prefixes {
        answer.extend(match version {
            V3_1 => command("SUBSCRIBE", prefix.as_bytes()),
            _ => part(version, &[b"\x01", prefix.as_bytes()].concat(), false),
        });
    }
    answer
}

pub(crate) fn head(version: Version, length: u64, more: bool) -> Vec<u8> {
    let flags = u8::from(more);
    match version {
        V1 if length < 254 => vec![length as u8 + 1, flags],
        V1 => [&[0xff], &(length + 1).to_be_bytes()[..], &[flags]].concat(),
        _ if length < 256 => vec![flags, length as u8],
        _ => [&[flags | 2], &length.to_be_bytes()[..]].concat(),
    }
}

pub(crate) fn part(version: Version, body: &[u8], more: bool) -> Vec<u8> {
    [&head(version, body.len() as u64, more), body].concat()
}

pub(crate) fn message<P: AsRef<[u8]>>(version: Version, parts: &[P]) -> Vec<u8> {
    let last = parts.len() - 1;
    parts.iter().enumerate().flat_map(|(place, body)| part(version, body.as_ref(), place < last)).collect()
}

pub(crate) type Run = ZmqRun<PerMessage<Letters>>;

/// An address of this machine whose port was free a moment ago, below the range that Linux uses for outgoing connections.
pub(crate) fn free_address(host: &str) -> SocketAddr {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let ports = 20_000 + u16::try_from(std::process::id() % 8_000).unwrap()..32_000;
    let address = |port| SocketAddr::new(host.parse().unwrap(), port);
    let mut ports = ports.skip(usize::from(TAKEN.fetch_add(1, Ordering::Relaxed) * 7)).map(address);
    ports.find(|address| TcpListener::bind(address).is_ok()).unwrap()
}

/// A run at this address, which does not wait for its detector. `more` are further settings.
pub(crate) fn open(address: impl fmt::Display, attach: &str, more: &str, pattern: Pattern) -> (Run, Arc<TestHost>) {
    let settings = format!(r#"{{"upstream_url": "tcp://{address}", "attach": "{attach}", "connect_wait": 0{more}}}"#);
    let (host, context) = TestHost::new();
    let upstream = Upstream::new(serde_json::from_str(&settings).unwrap(), pattern, context).unwrap();
    (upstream.open(PerMessage::default()).unwrap(), host)
}

/// A bound run.
pub(crate) fn bound(more: &str, pattern: Pattern) -> (Run, Arc<TestHost>, SocketAddr) {
    let address = free_address("127.0.0.1");
    let (run, host) = open(address, "bind", more, pattern);
    (run, host, address)
}

/// A connection to an address, or from there.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    ready_to_use(TcpStream::connect_timeout(&address, LIMIT).unwrap())
}

fn ready_to_use(stream: TcpStream) -> TcpStream {
    stream.set_nonblocking(false).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    stream
}

/// The next connection that the run makes to a detector.
pub(crate) fn accept(listener: &TcpListener, run: &mut Run) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let began = Instant::now();
    loop {
        match listener.accept() {
            Ok((stream, _)) => return ready_to_use(stream),
            Err(problem) => assert_eq!(problem.kind(), io::ErrorKind::WouldBlock),
        }
        glance(run, &mut Vec::new());
        assert!(began.elapsed() < LIMIT, "the source does not connect");
    }
}

/// A run and its detector's connection, made by either side.
pub(crate) fn meet(attach: &str, host: &str, more: &str, pattern: Pattern) -> (Run, Arc<TestHost>, TcpStream) {
    if attach == "bind" {
        let address = free_address(host);
        let (run, host) = open(address, attach, more, pattern);
        return (run, host, connect(address));
    }
    let listener = TcpListener::bind((host, 0)).unwrap();
    let (mut run, host) = open(listener.local_addr().unwrap(), attach, more, pattern);
    let stream = accept(&listener, &mut run);
    (run, host, stream)
}

/// A call that takes what has come: what is sent over the loopback interface is there at once.
pub(crate) fn glance(run: &mut Run, into: &mut Vec<Event>) -> Progress {
    let mut push = |event| into.push(event);
    run.next(&mut EventSink::new(&mut push, 64, 4 << 20), Deadline::after(Duration::from_millis(1))).unwrap()
}

pub(crate) fn to_the_end(run: &mut Run) -> Vec<Event> {
    until(run, LIMIT, "the end", |_, progress| progress == Progress::End).unwrap()
}

/// A counter of the run, or how many messages were skipped for this reason.
pub(crate) fn count(run: &Run, name: &str) -> u64 {
    let status = run.status();
    let counts = [status.counters, status.skipped].concat();
    counts.iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| *count)
}

/// Receives until a counter has this value; more is an error. Returns the events.
pub(crate) fn wait_for(run: &mut Run, name: &str, value: u64) -> Vec<Event> {
    let mut events = Vec::new();
    let began = Instant::now();
    while count(run, name) < value {
        glance(run, &mut events);
        assert!(began.elapsed() < LIMIT, "{name} is not {value}: {:?}", run.status());
    }
    assert_eq!(count(run, name), value, "{name}: {:?}", run.status());
    events
}

/// A detector of libzmq.
pub(crate) fn push(context: &zmq::Context, address: SocketAddr) -> zmq::Socket {
    let socket = context.socket(zmq::PUSH).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_sndtimeo(20_000).unwrap();
    socket.set_ipv6(address.is_ipv6()).unwrap();
    socket.connect(&format!("tcp://{address}")).unwrap();
    socket
}

/// Readable once a connection of this detector has ended.
pub(crate) fn connection_ends(context: &zmq::Context, detector: &zmq::Socket, name: &str) -> zmq::Socket {
    let url = format!("inproc://ends-of-{name}");
    detector.monitor(&url, zmq::SocketEvent::DISCONNECTED as i32).unwrap();
    let ends = context.socket(zmq::PAIR).unwrap();
    ends.connect(&url).unwrap();
    ends
}
