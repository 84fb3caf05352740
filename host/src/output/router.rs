//! The ROUTER socket: options, pings in, messages out; the only sender.
//!
//! Runs on the forwarder thread, which owns it. Everything of ZeroMQ towards workers is behind this interface in our own
//! words (send, in flight, pings), so that another transport can stand beside it.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
    sync::Arc,
    time::{Duration, Instant},
};

use framegate_plugin_api::descriptors_left;

use super::{
    connections::Connections,
    in_flight::{InFlight, Lane},
    message::{BatchSize, Owner, Sent, send, set_batch_size},
};
use crate::{
    budget::Account,
    ingester::message::Message,
    names::WorkerName,
    recycle::{Pool, Pooled},
    wake::Wake,
};

/// See the module.
pub(crate) struct Router {
    socket: zmq::Socket,
    pub(crate) in_flight: InFlight,
    pub(crate) connections: Connections,
    /// Of messages that the network holds.
    owners: Pool<Owner>,
    /// Ends a wait from other threads.
    wake: Wake,
    /// Ends with the socket, and with it libzmq's I/O thread.
    _context: zmq::Context,
    /// The message that is being read, if it is not complete.
    begun: Option<Begun>,
}

/// A message of which some parts were read.
struct Begun {
    identity: zmq::Message,
    /// The first part.
    payload: zmq::Message,
    parts: usize,
}

/// What is heard from workers.
pub(crate) enum Heard<'a> {
    /// A message; one that has not exactly one part has no payload.
    Message { identity: &'a [u8], payload: &'a [u8] },
    /// The worker's connection is over, or another one has taken its place. What the network held for it is lost.
    Parted(WorkerName),
}

/// Why there is no socket for workers.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotBound {
    /// Somebody else has the port.
    #[error("Address already in use")]
    Taken,
    /// This machine does not have the address.
    #[error("Cannot assign requested address")]
    NoAddress,
    /// libzmq would end the process.
    #[error("it needs {DESCRIPTORS} descriptors: {0}")]
    Descriptors(io::Error),
    /// Something else.
    #[error("{0}")]
    Refused(zmq::Error),
}

impl From<zmq::Error> for NotBound {
    fn from(error: zmq::Error) -> Self {
        match error {
            zmq::Error::EADDRINUSE => Self::Taken,
            zmq::Error::EADDRNOTAVAIL => Self::NoAddress,
            other => Self::Refused(other),
        }
    }
}

/// Descriptors of a context with one socket, and some more. Without those for its threads libzmq ends the process.
const DESCRIPTORS: usize = 24;
/// Pings are 16 bytes. A worker introduces itself with some 50, and its name of up to 255: whoever sends more in one part is
/// disconnected by libzmq.
const LONGEST_PART: i64 = 512;
/// Messages of one connection that wait for us. A worker pings every two seconds.
const PINGS_WAITING: i32 = 64;
/// Who connects and does not introduce itself is disconnected by libzmq.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Connections that wait until libzmq accepts them: a storm of strangers does not keep workers out for a second.
const BACKLOG: i32 = 1024;
/// A small message pins the buffer that it was received in, so that is small too.
const IN_BATCH: i32 = 512;
/// CPU at 16 KiB frames halves against libzmq's 8 KiB (performance figures in ARCHITECTURE.md).
const OUT_BATCH: i32 = 64 * 1024;
/// Parts of messages taken in one go, so that a flood of junk does not keep the forwarder from its work.
const PARTS_AT_ONCE: usize = 512;

impl Router {
    /// Binds one address of this machine, or all.
    ///
    /// # Errors
    /// When the port is in use, among others.
    pub(crate) fn bind(address: Option<IpAddr>, port: u16, wake: Wake) -> Result<Self, NotBound> {
        descriptors_left(DESCRIPTORS).map_err(NotBound::Descriptors)?;
        let context = zmq::Context::new();
        let mut socket = context.socket(zmq::ROUTER)?;
        socket.set_router_mandatory(true)?;
        // A worker that restarts under its name takes over, even while its old connection is half open.
        socket.set_router_handover(true)?;
        socket.set_tcp_keepalive(1)?;
        socket.set_tcp_keepalive_idle(300)?;
        socket.set_tcp_keepalive_intvl(300)?;
        socket.set_linger(0)?;
        // No limit by count: credits bound what is in flight by bytes.
        socket.set_sndhwm(0)?;
        socket.set_rcvhwm(PINGS_WAITING)?;
        socket.set_maxmsgsize(LONGEST_PART)?;
        socket.set_backlog(BACKLOG)?;
        socket.set_handshake_ivl(HANDSHAKE.as_millis() as i32)?;
        let out = set_batch_size(&mut socket, BatchSize::Out, OUT_BATCH);
        if !out || !set_batch_size(&mut socket, BatchSize::In, IN_BATCH) {
            tracing::debug!("this libzmq has no batch sizes; small frames cost more");
        }
        let connections = Connections::watch(&context, &socket, port)?;
        bind(&socket, address, port)?;
        let in_flight = InFlight::new(wake.clone());
        Ok(Self { socket, in_flight, connections, owners: Pool::new(), wake, _context: context, begun: None })
    }

    /// Waits until a worker says something, somebody rings, or the time is up.
    pub(crate) fn wait(&self, limit: Duration) {
        let wake = zmq::PollItem::from_fd(self.wake.descriptor().as_raw_fd(), zmq::POLLIN);
        // An error here is EINTR; the caller looks for work in any case.
        let _ = zmq::poll(&mut [self.socket.as_poll_item(zmq::POLLIN), wake], limit.as_millis() as i64);
    }

    /// Hands a message to the network. See [`Lane::receipt`] for `more` and `memory`.
    pub(crate) fn send(
        &mut self,
        worker: &WorkerName,
        lane: &mut Lane,
        message: &Pooled<Message>,
        more: bool,
        memory: &Arc<Account>,
    ) -> Sent {
        let receipt = lane.receipt(message.bytes, message.is_small(), more, memory);
        send(&mut self.socket, worker.as_str(), message, receipt, &mut self.owners)
    }

    /// Takes what workers sent. `heard` returns the worker if it is served and the message is a ping. Returns whether there may be
    /// more.
    pub(crate) fn receive(&mut self, now: Instant, mut heard: impl FnMut(Heard<'_>) -> Option<WorkerName>) -> bool {
        self.connections.hear(now, |worker| _ = heard(Heard::Parted(worker)));
        for _ in 0..PARTS_AT_ONCE {
            let mut part = zmq::Message::new();
            if self.socket.recv(&mut part, zmq::DONTWAIT).is_err() {
                return false;
            }
            let more = part.get_more();
            let begun = match self.begun.take() {
                None => Begun { identity: part, payload: zmq::Message::new(), parts: 0 },
                Some(Begun { identity, parts: 0, .. }) => Begun { identity, payload: part, parts: 1 },
                Some(begun) => Begun { parts: begun.parts + 1, ..begun },
            };
            if more {
                self.begun = Some(begun);
                continue;
            }
            let Begun { identity, mut payload, parts } = begun;
            // A ping is one part. Anything else is junk, and an empty payload says so.
            let worker =
                heard(Heard::Message { identity: &identity, payload: if parts == 1 { &payload } else { &[] } });
            // What libzmq says of a message's connection; the same that zmq_msg_get(3) gives as ZMQ_SRCFD.
            let fd = payload.gets("__fd").and_then(|fd| fd.parse().ok());
            if fd.is_some_and(|fd| self.connections.heard(fd, worker.as_ref(), now))
                && let Some(worker) = worker
            {
                heard(Heard::Parted(worker));
            }
        }
        true
    }
}

/// Of all addresses, those of IPv6 are left out where the machine has none.
fn bind(socket: &zmq::Socket, address: Option<IpAddr>, port: u16) -> zmq::Result<()> {
    let endpoint = match address {
        Some(address) => format!("tcp://{}", SocketAddr::new(address, port)),
        None => format!("tcp://*:{port}"),
    };
    socket.set_ipv6(address.is_none_or(|address| address.is_ipv6()))?;
    match socket.bind(&endpoint) {
        Err(problem) if address.is_none() && problem != zmq::Error::EADDRINUSE => {
            socket.set_ipv6(false)?;
            socket.bind(&endpoint)
        }
        bound => bound,
    }
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Router").field("in_flight", &self.in_flight).finish_non_exhaustive()
    }
}
