//! A bound address to which detectors connect.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs as _},
    os::fd::{AsFd as _, BorrowedFd},
    path::PathBuf,
    time::{Duration, Instant},
};

use framegate_plugin_api::{Address, SourceError};
use socket2::Socket;

use super::stream;
use crate::endpoint::Endpoint;

/// See the module. When it is dropped, the address is free again.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: Socket,
    /// The file of a Unix socket.
    file: Option<PathBuf>,
    /// There are no descriptors until then, or so it seems.
    rests_until: Option<Instant>,
}

/// What accepting gave.
pub(crate) enum Accepted {
    Connection(Socket, Option<SocketAddr>),
    /// Nobody waits.
    Nobody,
    /// A connection was refused, because the machine lacks what it needs.
    Refused(io::Error),
}

/// The pause when there are no descriptors.
const REST: Duration = Duration::from_millis(500);

impl Listener {
    pub(crate) fn bind(url: &Endpoint) -> Result<Self, SourceError> {
        let bound = match url.path() {
            Some(path) => stream::listen_at_path(path),
            None => Address::tcp(url.as_str()).map_err(io::Error::other).and_then(|address| listen(&address)),
        };
        let socket = bound.map_err(|error| not_bound(url, &error))?;
        let file = url.path().filter(|path| !path.starts_with('@')).map(PathBuf::from);
        Ok(Self { socket, file, rests_until: None })
    }

    /// The socket to poll, unless it rests.
    pub(crate) fn waiting(&self) -> Option<BorrowedFd<'_>> {
        self.rests_until.is_none().then(|| self.socket.as_fd())
    }

    /// Accepts one connection, if one waits.
    pub(crate) fn accept(&mut self, now: Instant) -> Accepted {
        match stream::accept(&self.socket) {
            Ok((socket, peer)) => Accepted::Connection(socket, peer),
            Err(problem) if matches!(problem.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Accepted::Nobody
            }
            Err(problem) => {
                // Otherwise the next poll would find it at once.
                self.rests_until = Some(now + REST);
                Accepted::Refused(problem)
            }
        }
    }

    /// Returns when it has to be called again.
    pub(crate) fn tick(&mut self, now: Instant) -> Option<Instant> {
        self.rests_until = self.rests_until.filter(|until| now < *until);
        self.rests_until
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            // The next run, or another program, replaces it in any case.
            let _ = std::fs::remove_file(file);
        }
    }
}

fn listen(address: &Address) -> io::Result<Socket> {
    if address.host() == "*" {
        return stream::listen_at_all(address.port());
    }
    // A number, perhaps with a zone: no name server is asked.
    let found = (address.host(), address.port()).to_socket_addrs()?.next();
    stream::listen_at(&found.ok_or_else(|| io::Error::other("there is no such address"))?)
}

/// Why an address cannot be bound, and what to do about it.
fn not_bound(url: &Endpoint, error: &io::Error) -> SourceError {
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "the port is in use: another program, or another stream, has it (`ss -ltnp` tells who); give one of them another \
             port in upstream_url"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address (`ip address` lists those it has); correct upstream_url, tcp://*:PORT is all of them"
        }
        io::ErrorKind::PermissionDenied => {
            "this user may not bind it; ports below 1024 need a permission, correct upstream_url"
        }
        _ => "check upstream_url",
    };
    SourceError::connect(format!("{url:?} cannot be bound: {error}: {why}"))
}
