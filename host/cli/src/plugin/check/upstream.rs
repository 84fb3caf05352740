//! A simulated detector that sends what a check wants, instead of the one that the settings name.
//!
//! Runs on the child's main thread, between two calls of the source. Every address and port in the settings is replaced by
//! a free one (`redirect`), so that no real detector is contacted. The kind of connection shows what a source expects: a
//! PUSH socket, a PUB socket, or plain TCP. If the source itself listens, the detector connects to it, or sends datagrams.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{process, verdict::Wrong};

/// The parts of a message.
pub(super) type Message = Vec<Vec<u8>>;

/// How a source takes its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// It connects a ZeroMQ PULL socket.
    Push,
    /// It connects a ZeroMQ SUB socket.
    Pub,
    /// It connects a TCP socket.
    Tcp,
    /// It listens on a TCP port.
    Listens,
    /// It receives datagrams on a UDP port.
    Datagrams,
    /// No known input.
    None,
}

impl Kind {
    pub(super) const fn about(self) -> &'static str {
        match self {
            Self::Push => "it connects to a ZeroMQ PUSH socket",
            Self::Pub => "it subscribes to a ZeroMQ PUB socket",
            Self::Tcp => "it connects to a TCP port",
            Self::Listens => "it listens on a TCP port",
            Self::Datagrams => "it receives UDP datagrams",
            Self::None => "it neither connects to an address of its settings nor listens",
        }
    }
}

/// The detector of one run.
pub(super) enum Upstream {
    /// Dropped with its context, which ends the connection. The flag: a subscriber has connected.
    Zmq {
        socket: zmq::Socket,
        subscribed: bool,
    },
    /// The connected peers.
    Tcp {
        listener: TcpListener,
        peers: Vec<TcpStream>,
    },
    /// Our own connections.
    Connects(Vec<TcpStream>),
    /// Our own socket, once the source has opened its own.
    Datagrams(Option<UdpSocket>),
    Nothing,
}

impl Upstream {
    /// Starts a detector at this port.
    pub(super) fn start(kind: Kind, ports: &[u16]) -> Result<Self, Wrong> {
        let ours = |problem: &dyn std::fmt::Display| Wrong::NotChecked(format!("cannot play a detector: {problem}"));
        match kind {
            Kind::Listens => return Ok(Self::Connects(Vec::new())),
            Kind::Datagrams => return Ok(Self::Datagrams(None)),
            _ => {}
        }
        let Some(port) = ports.first() else { return Ok(Self::Nothing) };
        match kind {
            Kind::Push | Kind::Pub => {
                let make = || -> zmq::Result<zmq::Socket> {
                    // A separate context without lingering: the port is free again when it is dropped.
                    let context = zmq::Context::new();
                    let socket = context.socket(if kind == Kind::Push { zmq::PUSH } else { zmq::XPUB })?;
                    socket.set_linger(0)?;
                    socket.bind(&format!("tcp://127.0.0.1:{port}"))?;
                    Ok(socket)
                };
                // An earlier one may not have released the port yet.
                let made = (0..100).find_map(|_| match make() {
                    Err(zmq::Error::EADDRINUSE) => {
                        std::thread::sleep(Duration::from_millis(5));
                        None
                    }
                    made => Some(made),
                });
                let socket = made.unwrap_or(Err(zmq::Error::EADDRINUSE)).map_err(|problem| ours(&problem))?;
                Ok(Self::Zmq { socket, subscribed: false })
            }
            Kind::Tcp => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).map_err(|problem| ours(&problem))?;
                listener.set_nonblocking(true).map_err(|problem| ours(&problem))?;
                Ok(Self::Tcp { listener, peers: Vec::new() })
            }
            Kind::Listens | Kind::Datagrams | Kind::None => Ok(Self::Nothing),
        }
    }

    /// Whether the source is connected.
    pub(super) fn is_met(&mut self) -> bool {
        match self {
            Self::Zmq { socket, subscribed } => {
                if socket.get_socket_type() == Ok(zmq::PUSH) {
                    return socket.poll(zmq::POLLOUT, 0).is_ok_and(|ready| ready > 0);
                }
                *subscribed |= socket.recv_msg(zmq::DONTWAIT).is_ok();
                *subscribed
            }
            Self::Tcp { listener, peers } => {
                while let Ok((peer, _)) = listener.accept() {
                    let _ = peer.set_write_timeout(Some(WRITE));
                    peers.push(peer);
                }
                !peers.is_empty()
            }
            Self::Connects(own) => {
                if own.is_empty() {
                    let connect = |address| TcpStream::connect_timeout(&address, WRITE).ok();
                    own.extend(process::listening().into_iter().filter_map(connect));
                    own.iter().for_each(|one| drop(one.set_write_timeout(Some(WRITE))));
                }
                !own.is_empty()
            }
            Self::Datagrams(own) => {
                let connected = |to| {
                    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
                    socket.connect(to).ok().map(|()| socket)
                };
                if own.is_none() {
                    // Not our own socket of an earlier run: that one is connected.
                    *own = process::receiving().into_iter().find_map(connected);
                }
                own.is_some()
            }
            Self::Nothing => false,
        }
    }

    /// Whether the TCP peer sends a ZeroMQ greeting (ZMTP 3.1: ten bytes, the first 0xFF and the last 0x7F).
    pub(super) fn speaks_zmq(&mut self) -> bool {
        let Self::Tcp { peers, .. } = self else { return false };
        peers.first_mut().is_some_and(|peer| {
            let mut greeting = [0; 10];
            let waits = peer.set_nonblocking(false).and_then(|()| peer.set_read_timeout(Some(GREETING)));
            waits.and_then(|()| peer.read_exact(&mut greeting)).is_ok() && greeting[0] == 0xff && greeting[9] == 0x7f
        })
    }

    /// Sends a message, if a peer accepts it now; over TCP and UDP part by part. Returns whether it was sent.
    pub(super) fn send(&mut self, message: &[Vec<u8>]) -> bool {
        match self {
            Self::Zmq { socket, .. } => socket.send_multipart(message, zmq::DONTWAIT).is_ok(),
            Self::Tcp { peers, .. } | Self::Connects(peers) => {
                peers.retain_mut(|peer| message.iter().all(|part| peer.write_all(part).is_ok()));
                !peers.is_empty()
            }
            Self::Datagrams(own) => own.as_ref().is_some_and(|own| message.iter().all(|part| own.send(part).is_ok())),
            Self::Nothing => false,
        }
    }

    /// Ends all connections.
    pub(super) fn hang_up(&mut self) {
        if let Self::Tcp { peers, .. } | Self::Connects(peers) = self {
            peers.clear();
        }
    }
}

/// ZeroMQ sends its greeting immediately.
const GREETING: Duration = Duration::from_millis(300);
/// A source that does not read must not delay the check.
const WRITE: Duration = Duration::from_millis(200);
