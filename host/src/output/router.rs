//! The ROUTER: a port to which workers connect, with messages to each by its name, and pings from them.
//!
//! Part of the forwarder. It implements ZeroMQ's protocol ([`crate::zmtp`]) itself, on plain TCP. The interface
//! hides all sockets behind our own terms (send, receive, parted).

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::IpAddr,
    time::{Duration, Instant},
};

use mio::{Interest, Registry, Token, net::TcpListener};
use slab::Slab;

use super::{
    audit::{ConnectionFacts, Standing, audit},
    connection::{Connection, Read, SendProgress},
    limits::{ConnectionLimits, connection_limits},
    port,
    rivals::Rivals,
    watch::Watch,
};
use crate::{counter::Counter, ingester::message::Message, names::WorkerName, recycle::Pooled, zmtp::Fault};

/// See the module.
#[derive(Debug)]
pub(crate) struct Router {
    /// Where new connections are watched.
    registry: Registry,
    listener: TcpListener,
    /// Connections may be waiting to be accepted.
    acceptable: bool,
    connections: Slab<Connection>,
    /// The connection of each worker that has introduced itself.
    of_worker: HashMap<WorkerName, usize>,
    /// Connections that may have more to read.
    unread: Vec<usize>,
    /// Workers whose connections have ended, with the number of lost messages; not reported yet.
    parted: Vec<(WorkerName, u64)>,
    buffer: Box<[u8]>,
    /// Maximum numbers of connections.
    limits: ConnectionLimits,
    /// Number of connections accepted since the last audit.
    accepted: usize,
    rivals: Rivals,
    /// Numbers of connections that were refused or ended, by reason: see [`CONNECTIONS`].
    pub(crate) counts: BTreeMap<Counter, u64>,
    /// When accepting a connection last failed for lack of descriptors.
    no_descriptor: Option<Instant>,
}

/// All reasons: each is 0 from the start.
const CONNECTIONS: [Counter; 7] = [
    Counter::ConnectionsEndless,
    Counter::ConnectionsInvalid,
    Counter::ConnectionsNotAccepted,
    Counter::ConnectionsOfLostWorkers,
    Counter::ConnectionsOfRivals,
    Counter::ConnectionsWithoutWorker,
    Counter::ConnectionsWithoutZeroMq,
];

fn add(counts: &mut BTreeMap<Counter, u64>, counter: Counter, count: u64) {
    *counts.entry(counter).or_default() += count;
}

/// The result of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendOutcome {
    /// The network accepted something.
    Accepted(SendProgress),
    /// Not now.
    Busy,
    /// No such worker is connected.
    Unreachable,
}

/// Input from workers.
#[derive(Debug)]
pub(crate) enum WorkerInput<'a> {
    /// A message; the payload is empty unless the message has exactly one part.
    Message { identity: &'a [u8], payload: &'a [u8] },
    /// The worker's connection has ended, or was replaced. The number counts messages in transit.
    Parted(WorkerName, u64),
}

const LISTENER: Token = Token(usize::MAX);
/// Read buffer size. Pings are small.
const BUFFER: usize = 4096;
/// Maximum number of reads per connection, and of accepted connections, per turn, so that floods do not keep the
/// forwarder from its work.
const READS_AT_ONCE: usize = 4;
const ACCEPTS_AT_ONCE: usize = 64;
/// How long a failure to accept is shown as a fault.
const LACKS: Duration = Duration::from_secs(2);

impl Router {
    /// Binds one address of this machine, or all. `watch` waits for it.
    ///
    /// # Errors
    /// For example: the port is in use.
    pub(crate) fn bind(address: Option<IpAddr>, port: u16, watch: &Watch) -> io::Result<Self> {
        let registry = watch.registry().try_clone()?;
        let mut listener = port::listen(address, port)?;
        registry.register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            registry,
            listener,
            acceptable: true,
            connections: Slab::new(),
            of_worker: HashMap::new(),
            unread: Vec::new(),
            parted: Vec::new(),
            buffer: vec![0; BUFFER].into(),
            limits: connection_limits(),
            accepted: 0,
            rivals: Rivals::default(),
            counts: CONNECTIONS.map(|counter| (counter, 0)).into(),
            no_descriptor: None,
        })
    }

    /// The bound port.
    pub(crate) fn port(&self) -> Option<u16> {
        self.listener.local_addr().ok().map(|address| address.port())
    }

    /// Notes what a wait has found.
    pub(crate) fn note(&mut self, watch: &Watch) {
        for event in watch.events() {
            match event.token() {
                LISTENER => self.acceptable = true,
                Token(key) => {
                    let Some(connection) = self.connections.get_mut(key) else { continue };
                    if event.is_writable() {
                        connection.is_writable();
                    }
                    if event.is_readable() || event.is_error() {
                        connection.readable = true;
                        self.unread.push(key);
                    }
                }
            }
        }
    }

    /// Gives waiting messages to the network, as many as it accepts at once.
    pub(crate) fn send<'a>(
        &mut self,
        worker: &WorkerName,
        messages: impl Iterator<Item = &'a Pooled<Message>> + Clone,
    ) -> SendOutcome {
        let found = self.of_worker.get(worker).and_then(|key| Some((*key, self.connections.get_mut(*key)?)));
        let Some((key, connection)) = found else { return SendOutcome::Unreachable };
        let progress = connection.write(messages);
        if connection.readable {
            // The connection is broken, or has data to read anyway.
            self.unread.push(key);
        }
        progress.map_or(SendOutcome::Busy, SendOutcome::Accepted)
    }

    /// Processes input from workers. `handle` returns the worker if it is served and the message is a ping. Returns
    /// whether there may be more.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        mut handle: impl FnMut(WorkerInput<'_>) -> Option<WorkerName>,
    ) -> bool {
        self.accept(now);
        let mut unread = std::mem::take(&mut self.unread);
        // Each connection has one turn, however often it was noted.
        unread.sort_unstable();
        unread.dedup();
        unread.retain(|key| self.read(*key, now, &mut handle));
        let more = !unread.is_empty() || self.acceptable;
        unread.append(&mut self.unread);
        self.unread = unread;
        for (worker, lost) in self.parted.drain(..) {
            handle(WorkerInput::Parted(worker, lost));
        }
        more
    }

    /// Returns whether there may be more.
    fn read(
        &mut self,
        key: usize,
        now: Instant,
        handle: &mut impl FnMut(WorkerInput<'_>) -> Option<WorkerName>,
    ) -> bool {
        for _ in 0..READS_AT_ONCE {
            let Some(connection) = self.connections.get_mut(key) else { return false };
            if !connection.readable {
                return false;
            }
            let was_ready = connection.is_ready();
            let (mut pings, mut early) = (false, Vec::new());
            let read = connection.read(&mut self.buffer, |identity, payload| {
                if was_ready {
                    pings |= handle(WorkerInput::Message { identity, payload }).is_some();
                } else {
                    early.push(payload.to_vec());
                }
            });
            if read == Read::More {
                connection.heard = now;
            }
            if !was_ready && connection.is_ready() {
                if !self.introduced(key, now) {
                    return false;
                }
                // Messages in the same read are processed only now that the connection has its name.
                let Some(Connection { identity, .. }) = self.connections.get(key) else { return false };
                for payload in early {
                    pings |= handle(WorkerInput::Message { identity, payload: &payload }).is_some();
                }
            }
            if pings && let Some(connection) = self.connections.get_mut(key) {
                connection.has_pinged = true;
            }
            match read {
                Read::More => {}
                Read::Nothing => return false,
                Read::Over => {
                    add(&mut self.counts, Counter::ConnectionsWithoutZeroMq, u64::from(!was_ready));
                    self.end(key);
                }
                Read::Faulty(fault) => {
                    let counter = match fault {
                        Fault::Stranger => Counter::ConnectionsWithoutZeroMq,
                        Fault::Endless => Counter::ConnectionsEndless,
                        Fault::Nonsense => Counter::ConnectionsInvalid,
                    };
                    add(&mut self.counts, counter, 1);
                    self.end(key);
                }
            }
        }
        true
    }

    /// A worker that restarts under its name takes over, even while its old connection is half open. Returns whether
    /// this connection stays.
    fn introduced(&mut self, key: usize, now: Instant) -> bool {
        let Connection { worker, peer, .. } = &self.connections[key];
        let (Some(worker), peer) = (worker.clone(), *peer) else { return true };
        if let Some(key_before) = self.of_worker.get(&worker).copied()
            && let Some(before) = self.connections.get_mut(key_before)
        {
            if !before.takeovers.another(before.heard, now) {
                self.rivals.turned_away(&worker, (before.peer, &mut before.takeovers), peer, now);
                add(&mut self.counts, Counter::ConnectionsOfRivals, 1);
                self.end(key);
                return false;
            }
            let takeovers = before.takeovers;
            self.connections[key].takeovers = takeovers;
            add(&mut self.counts, Counter::ConnectionsOfLostWorkers, 1);
            self.end(key_before);
        }
        self.of_worker.insert(worker, key);
        true
    }

    /// Ends a worker's connection, if there is one.
    pub(crate) fn end_of(&mut self, worker: &WorkerName) {
        if let Some(key) = self.of_worker.get(worker).copied() {
            add(&mut self.counts, Counter::ConnectionsOfLostWorkers, 1);
            self.end(key);
        }
    }

    fn end(&mut self, key: usize) {
        let Some(connection) = self.connections.try_remove(key) else { return };
        let lost = connection.unconfirmed();
        if let Some(worker) = connection.worker
            && self.of_worker.get(&worker) == Some(&key)
        {
            self.of_worker.remove(&worker);
            self.parted.push((worker, lost));
        }
    }

    fn accept(&mut self, now: Instant) {
        for _ in 0..ACCEPTS_AT_ONCE {
            if !self.acceptable || self.is_crowded() {
                return;
            }
            match port::accept(&self.listener) {
                Ok((mut stream, peer)) => {
                    self.accepted += 1;
                    let place = self.connections.vacant_entry();
                    let (key, interest) = (place.key(), Interest::READABLE | Interest::WRITABLE);
                    if self.registry.register(&mut stream, Token(key), interest).is_err() {
                        add(&mut self.counts, Counter::ConnectionsNotAccepted, 1);
                        continue;
                    }
                    let connection = place.insert(Connection::new(stream, peer, now));
                    connection.write_control();
                    self.unread.push(key);
                }
                Err(problem) if problem.kind() == io::ErrorKind::WouldBlock => self.acceptable = false,
                Err(problem) => {
                    add(&mut self.counts, Counter::ConnectionsNotAccepted, 1);
                    if [Some(libc::EMFILE), Some(libc::ENFILE)].contains(&problem.raw_os_error()) {
                        // The audit tries again: it makes room if it can.
                        self.no_descriptor = Some(now);
                        self.acceptable = false;
                    }
                }
            }
        }
    }

    /// Whether the next audit should come early, because many have connected.
    pub(crate) fn is_crowded(&self) -> bool {
        self.accepted > self.limits.strangers / 2
    }

    /// Checks all connections, and ends those that keep others out. `has_place` says whether a worker is known.
    pub(crate) fn audit(&mut self, now: Instant, has_place: impl Fn(&WorkerName) -> bool) {
        self.accepted = 0;
        let scarce = self.lacks_descriptors(now);
        let facts = self.connections.iter().map(|(key, connection)| {
            let standing = match &connection.worker {
                Some(worker) if connection.has_pinged && has_place(worker) => Standing::Placed,
                _ if connection.has_pinged => Standing::Former,
                _ => Standing::Stranger,
            };
            let (since, heard, ready) = (connection.since, connection.heard, connection.is_ready());
            ConnectionFacts { key, since, heard, ready, standing }
        });
        let verdict = audit(facts, self.limits, scarce, now);
        add(&mut self.counts, Counter::ConnectionsWithoutZeroMq, verdict.silent.len() as u64);
        add(&mut self.counts, Counter::ConnectionsWithoutWorker, verdict.too_many.len() as u64);
        verdict.silent.into_iter().chain(verdict.too_many).for_each(|key| self.end(key));
        self.acceptable |= scarce;
    }

    /// New lines for the log.
    pub(crate) fn take_line(&mut self) -> Option<String> {
        self.rivals.take_line()
    }

    /// Whether connections cannot be accepted for lack of descriptors.
    pub(crate) fn lacks_descriptors(&self, now: Instant) -> bool {
        self.no_descriptor.is_some_and(|at| now.duration_since(at) < LACKS)
    }
}
