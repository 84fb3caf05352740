//! The workers' port: binds it and accepts connections.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};

/// Number of connections that can wait to be accepted: a flood of strangers must not keep workers out for a second.
const BACKLOG: i32 = 1024;
/// TCP keep-alive: time until the first probe, then interval and number of probes. A connection to a vanished machine
/// ends after 30 s. A worker need not do anything; its kernel answers.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const KEEP_ALIVE_AGAIN: Duration = Duration::from_secs(5);
const KEEP_ALIVE_TRIES: u32 = 3;

/// Listens at one address of this machine, or at all.
///
/// # Errors
/// For example: the port is in use, or the address does not belong to this machine.
pub(crate) fn listen(address: Option<IpAddr>, port: u16) -> io::Result<TcpListener> {
    match address {
        Some(address) => listen_at((address, port).into()),
        // For all addresses, IPv6 is left out if the machine has none.
        None => match listen_at((Ipv6Addr::UNSPECIFIED, port).into()) {
            Err(problem) if problem.kind() != io::ErrorKind::AddrInUse => {
                listen_at((Ipv4Addr::UNSPECIFIED, port).into())
            }
            listens => listens,
        },
    }
}

fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Connections of an ingester that has just ended must not block the port.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED))?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// Accepts the next connection; returns it and its peer's address.
///
/// # Errors
/// `WouldBlock`: there is none. Other errors concern this connection, or mean that there are no more descriptors.
pub(crate) fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, mut peer) = listener.accept()?;
    stream.set_nodelay(true)?;
    let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(KEEP_ALIVE_AGAIN);
    SockRef::from(&stream).set_tcp_keepalive(&keep_alive.with_retries(KEEP_ALIVE_TRIES))?;
    peer.set_ip(peer.ip().to_canonical());
    Ok((stream, peer))
}
