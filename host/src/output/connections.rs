//! The connections at the workers' port: whose they are, and the end of those that nobody needs.
//!
//! Runs on the forwarder thread. Hears from libzmq's monitor which connections come and go, and learns from pings whose they
//! are. It sends nothing and takes no message apart.
//!
//! Why it exists: libzmq limits neither the connections of a ROUTER nor a message that never ends, and keeps what it has for
//! a connection whose other end is gone until TCP gives up, which takes a quarter of an hour.
//!
//! A descriptor is libzmq's, which may close it at any time; its number may be another file's by now. So a connection is
//! known by its cookie (SO_COOKIE in socket(7): no other socket ever has it), and only what has the right one is ended
//! ([`super::descriptor`]).

use std::{
    collections::HashMap,
    net::{Shutdown, TcpStream},
    os::fd::RawFd,
    time::{Duration, Instant},
};

use super::descriptor::{Grip, bytes_received, cookie};
use crate::names::WorkerName;

/// See the module.
pub(crate) struct Connections {
    /// libzmq's news; never full, because its thread would wait.
    monitor: zmq::Socket,
    grip: Grip,
    port: u16,
    /// How many may be there of which no worker has pinged.
    strangers: usize,
    all: HashMap<RawFd, Connection>,
    /// The latest connection of each worker.
    of_worker: HashMap<WorkerName, RawFd>,
    pub(crate) counts: Counts,
    /// When a connection could last not be accepted, because there is no descriptor.
    no_descriptor: Option<Instant>,
}

struct Connection {
    cookie: u64,
    since: Instant,
    /// Who pinged on it.
    worker: Option<WorkerName>,
    /// A message was complete since the last look.
    completed: bool,
    /// Bytes that it had received when a message was last complete.
    mark: u64,
    /// It was ended; libzmq has not seen it yet.
    ended: bool,
}

/// What became of connections, since the start.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    /// Those that did not introduce themselves as ZeroMQ does, or not in time.
    pub(crate) no_handshake: u64,
    /// Those without a worker that were ended, because there were too many.
    pub(crate) strangers: u64,
    /// Those that were ended because they sent a message without an end.
    pub(crate) endless: u64,
    /// Those that were ended because their worker has another, or was given up.
    pub(crate) dead: u64,
    /// How often a connection could not be accepted.
    pub(crate) not_accepted: u64,
}

impl Counts {
    /// Each with the words that people see.
    pub(crate) fn named(&self) -> [(&'static str, u64); 5] {
        [
            ("connections that were no ZeroMQ", self.no_handshake),
            ("connections ended because too many had no worker", self.strangers),
            ("connections ended because of a message without an end", self.endless),
            ("connections ended because their worker has another, or was evicted", self.dead),
            ("connections that could not be accepted", self.not_accepted),
        ]
    }
}

impl Connections {
    /// Begins to watch a socket that will be bound to `port`.
    pub(crate) fn watch(context: &zmq::Context, socket: &zmq::Socket, port: u16) -> zmq::Result<Self> {
        let events = [
            zmq::SocketEvent::ACCEPTED,
            zmq::SocketEvent::ACCEPT_FAILED,
            zmq::SocketEvent::DISCONNECTED,
            zmq::SocketEvent::HANDSHAKE_FAILED_NO_DETAIL,
            zmq::SocketEvent::HANDSHAKE_FAILED_PROTOCOL,
        ];
        // In a context of its own, so the name is too.
        socket.monitor("inproc://connections", events.iter().map(|event| i32::from(event.to_raw())).sum())?;
        let monitor = context.socket(zmq::PAIR)?;
        monitor.set_rcvhwm(0)?;
        monitor.set_linger(0)?;
        monitor.connect("inproc://connections")?;
        Ok(Self {
            monitor,
            grip: Grip::new().map_err(|_| zmq::Error::EMFILE)?,
            port,
            strangers: places().strangers,
            all: HashMap::new(),
            of_worker: HashMap::new(),
            counts: Counts::default(),
            no_descriptor: None,
        })
    }

    /// Hears what is new. Tells the workers whose connections are over.
    pub(crate) fn hear(&mut self, now: Instant, mut over: impl FnMut(WorkerName)) {
        let mut news = zmq::Message::new();
        let mut endpoint = zmq::Message::new();
        while self.monitor.recv(&mut news, zmq::DONTWAIT).is_ok() {
            // The second part says where; that is our own address always.
            if !news.get_more() || self.monitor.recv(&mut endpoint, zmq::DONTWAIT).is_err() {
                continue;
            }
            // zmq_socket_monitor(3): 16 bits of event, 32 bits of value, in the machine's order.
            let Some((&event, &value)) =
                news.split_first_chunk().and_then(|(event, rest)| Some((event, rest.first_chunk()?)))
            else {
                continue;
            };
            let value = i32::from_ne_bytes(value);
            match zmq::SocketEvent::from_raw(u16::from_ne_bytes(event)) {
                zmq::SocketEvent::ACCEPTED => {
                    self.forget(value, &mut over);
                    self.accepted(value, now);
                }
                zmq::SocketEvent::DISCONNECTED => self.forget(value, &mut over),
                zmq::SocketEvent::ACCEPT_FAILED => {
                    self.counts.not_accepted += 1;
                    if [libc::EMFILE, libc::ENFILE].contains(&value) {
                        self.no_descriptor = Some(now);
                    }
                }
                _ => self.counts.no_handshake += 1,
            }
        }
    }

    /// A message was complete. `pings`: the worker whose ping it was. Returns whether the worker had another connection, which
    /// is ended.
    pub(crate) fn heard(&mut self, fd: RawFd, pings: Option<&WorkerName>, now: Instant) -> bool {
        if !self.all.contains_key(&fd) {
            // Its news are not here yet.
            self.accepted(fd, now);
        }
        let Some(connection) = self.all.get_mut(&fd) else { return false };
        connection.completed = true;
        let Some(worker) = pings.filter(|_| connection.worker.is_none()) else { return false };
        connection.worker = Some(worker.clone());
        let other = self.of_worker.insert(worker.clone(), fd).filter(|other| *other != fd);
        other.is_some_and(|other| self.end(other, |counts| &mut counts.dead))
    }

    /// Ends a worker's connection, if one is known.
    pub(crate) fn end_of(&mut self, worker: &WorkerName) {
        if let Some(fd) = self.of_worker.get(worker) {
            self.end(*fd, |counts| &mut counts.dead);
        }
    }

    /// Looks at all: ends what never ends, and the oldest of too many strangers. Tells the workers whose connections are over.
    pub(crate) fn audit(&mut self, now: Instant, mut over: impl FnMut(WorkerName)) {
        let (mut gone, mut endless, mut strangers) = (Vec::new(), Vec::new(), Vec::new());
        for (fd, connection) in &mut self.all {
            let looked =
                self.grip.on(*fd, |stream| (cookie(stream) == Some(connection.cookie), bytes_received(stream)));
            let Some((true, received)) = looked else {
                gone.push(*fd);
                continue;
            };
            let received = received.unwrap_or(0);
            if std::mem::take(&mut connection.completed) {
                connection.mark = received;
            } else if received.saturating_sub(connection.mark) > LONGEST_MESSAGE {
                endless.push(*fd);
            }
            if connection.worker.is_none() && !connection.ended {
                strangers.push((connection.since, *fd));
            }
        }
        for fd in gone {
            self.forget(fd, &mut over);
        }
        for fd in endless {
            self.end(fd, |counts| &mut counts.endless);
        }
        let most = if self.lacks_descriptors(now) { self.strangers / 4 } else { self.strangers };
        strangers.sort_unstable();
        for (_, fd) in &strangers[..strangers.len().saturating_sub(most)] {
            self.end(*fd, |counts| &mut counts.strangers);
        }
    }

    /// Whether connections cannot be accepted, because the process has no descriptor for them.
    pub(crate) fn lacks_descriptors(&self, now: Instant) -> bool {
        self.no_descriptor.is_some_and(|at| now.duration_since(at) < LACKS)
    }

    fn accepted(&mut self, fd: RawFd, now: Instant) {
        // What has this number now may be something else already, or nothing.
        let port = self.port;
        let cookie = self.grip.on(fd, |stream| {
            let is_ours = stream.local_addr().is_ok_and(|here| here.port() == port) && stream.peer_addr().is_ok();
            is_ours.then(|| cookie(stream)).flatten()
        });
        if let Some(cookie) = cookie.flatten() {
            let connection = Connection { cookie, since: now, worker: None, completed: false, mark: 0, ended: false };
            self.all.insert(fd, connection);
        }
    }

    fn forget(&mut self, fd: RawFd, over: &mut impl FnMut(WorkerName)) {
        let Some(worker) = self.all.remove(&fd).and_then(|connection| connection.worker) else { return };
        // Of one that another has replaced this was told before.
        if self.of_worker.get(&worker) == Some(&fd) {
            self.of_worker.remove(&worker);
            over(worker);
        }
    }

    /// Ends a connection; libzmq takes it for the other side's end. Returns whether it was there.
    fn end(&mut self, fd: RawFd, reason: impl FnOnce(&mut Counts) -> &mut u64) -> bool {
        let Some(connection) = self.all.get_mut(&fd) else { return false };
        let known = connection.cookie;
        let end = |stream: &_| cookie(stream) == Some(known) && TcpStream::shutdown(stream, Shutdown::Both).is_ok();
        let is_there = self.grip.on(fd, end).unwrap_or(false);
        if is_there && !std::mem::replace(&mut connection.ended, true) {
            *reason(&mut self.counts) += 1;
        }
        is_there
    }
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let connections = self.all.len();
        f.debug_struct("Connections").field("connections", &connections).field("counts", &self.counts).finish()
    }
}

/// How many connections an ingester serves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places {
    /// Workers.
    pub(crate) workers: usize,
    /// Connections on which no worker has pinged yet.
    strangers: usize,
}

/// What the process may have open (RLIMIT_NOFILE) is shared out: 64 are its own; of the rest a half is for workers and a quarter for
/// strangers. What is left is for sources, files and Redis.
pub(crate) fn places() -> Places {
    use nix::sys::resource::{Resource, getrlimit};
    let (most, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    let most = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(OWN_DESCRIPTORS);
    Places { workers: (most / 2).clamp(1, MOST_WORKERS), strangers: (most / 4).clamp(1, MOST_STRANGERS) }
}

const OWN_DESCRIPTORS: usize = 64;
/// Each is published, and is six metrics.
const MOST_WORKERS: usize = 1000;
const MOST_STRANGERS: usize = 256;
/// Bytes that a connection may send without a message being complete: a ping and the introduction have 400.
const LONGEST_MESSAGE: u64 = 16 << 10;
/// After a connection could not be accepted: how long that is a fault.
const LACKS: Duration = Duration::from_secs(2);
