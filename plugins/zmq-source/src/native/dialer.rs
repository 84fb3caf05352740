//! Connects to an address, again and again, without waiting.
//!
//! ```text
//!   resting ── time is up ──> connecting ── connected ──> done ── the connection has ended ──> resting
//!      ^                          │
//!      └── refused, too slow ─────┘
//! ```

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs as _},
    os::fd::{AsFd as _, BorrowedFd},
    time::{Duration, Instant},
};

use framegate_plugin_api::Address;
use socket2::{SockAddr, Socket};

use super::stream;
use crate::{
    endpoint::Endpoint,
    names::{self, Answer},
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Dialer {
    target: Target,
    state: State,
    /// The address of a name to try next: all of them in turn, because a detector may be bound to one only.
    turn: usize,
    /// Why the last attempt could not even begin.
    trouble: Option<io::Error>,
}

#[derive(Debug)]
enum Target {
    Fixed(SockAddr, Option<SocketAddr>),
    Name(String, u16),
}

#[derive(Debug)]
enum State {
    Resting(Instant),
    Connecting { socket: Socket, peer: Option<SocketAddr>, until: Instant },
    Done,
}

/// How soon a detector that binds late is found. An attempt on a closed port costs a packet or two.
const AGAIN: Duration = Duration::from_millis(50);
/// The pause after a peer that is no such ZeroMQ socket: the next attempt is likely to find the same peer.
const AGAIN_AFTER_STRANGER: Duration = Duration::from_millis(500);
/// Time limit for an attempt: two packets more than the first, for a network that loses some. If a machine is off, the
/// kernel would try for two minutes, and the name would not be looked up again meanwhile.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How often the answer of a name server is looked at.
const LOOK: Duration = Duration::from_millis(1);

impl Dialer {
    /// Connects from now on.
    ///
    /// # Errors
    /// The address cannot be used.
    pub(crate) fn new(url: &Endpoint, now: Instant) -> io::Result<Self> {
        let target = match (url.path(), url.name()) {
            (Some(path), _) => Target::Fixed(stream::path_address(path)?, None),
            (None, name) => {
                let address = Address::tcp(url.as_str()).map_err(io::Error::other)?;
                match name {
                    Some(name) => Target::Name(name.to_owned(), address.port()),
                    None => {
                        // A number, perhaps with a zone: no name server is asked.
                        let mut found = (address.host(), address.port()).to_socket_addrs()?;
                        let found = found.next().ok_or_else(|| io::Error::other("there is no such address"))?;
                        Target::Fixed(found.into(), Some(found))
                    }
                }
            }
        };
        Ok(Self { target, state: State::Resting(now), turn: 0, trouble: None })
    }

    /// The socket to poll for writing, while it connects.
    pub(crate) fn connecting(&self) -> Option<BorrowedFd<'_>> {
        match &self.state {
            State::Connecting { socket, .. } => Some(socket.as_fd()),
            _ => None,
        }
    }

    /// The lookup state of the name that it waits for.
    pub(crate) fn name_answer(&self) -> Option<Answer> {
        match (&self.target, &self.state) {
            (Target::Name(name, _), State::Resting(_)) => Some(names::answer(name)),
            _ => None,
        }
    }

    /// The connecting socket is writable: returns it if it is connected.
    pub(crate) fn polled(&mut self, now: Instant) -> Option<(Socket, Option<SocketAddr>)> {
        let state = std::mem::replace(&mut self.state, State::Resting(now + AGAIN));
        let State::Connecting { socket, peer, .. } = state else {
            self.state = state;
            return None;
        };
        stream::outcome(&socket).ok()?;
        self.state = State::Done;
        Some((socket, peer))
    }

    /// The connection has ended; `as_stranger`: before it was of any use.
    pub(crate) fn ended(&mut self, as_stranger: bool, now: Instant) {
        self.state = State::Resting(now + if as_stranger { AGAIN_AFTER_STRANGER } else { AGAIN });
    }

    /// Why the last attempt could not even begin, unless that only means that nobody listens.
    pub(crate) fn take_trouble(&mut self) -> Option<io::Error> {
        use io::ErrorKind::{ConnectionRefused, NotFound, WouldBlock};
        self.trouble.take().filter(|problem| ![ConnectionRefused, NotFound, WouldBlock].contains(&problem.kind()))
    }

    /// Does what is due. Returns when it has to be called again.
    pub(crate) fn tick(&mut self, now: Instant) -> Option<Instant> {
        match &self.state {
            State::Done => return None,
            State::Connecting { until, .. } if now < *until => return Some(*until),
            State::Connecting { .. } => self.state = State::Resting(now),
            State::Resting(at) if now < *at => return Some(*at),
            State::Resting(_) => {}
        }
        let (address, peer) = match &self.target {
            Target::Fixed(address, peer) => (address.clone(), *peer),
            Target::Name(name, port) => {
                let Answer::Known(addresses) = names::answer(name) else { return Some(now + LOOK) };
                let mut address = addresses[self.turn % addresses.len()];
                self.turn += 1;
                address.set_port(*port);
                (address.into(), Some(address))
            }
        };
        let (state, at) = match stream::connect(&address) {
            Ok(socket) => (State::Connecting { socket, peer, until: now + CONNECT_LIMIT }, now + CONNECT_LIMIT),
            Err(problem) => {
                self.trouble = Some(problem);
                (State::Resting(now + AGAIN), now + AGAIN)
            }
        };
        self.state = state;
        Some(at)
    }
}
