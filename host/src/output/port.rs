//! The workers' port: bound, and its connections accepted.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};

/// Connections that wait until we accept them: a storm of strangers does not keep workers out for a second.
const BACKLOG: i32 = 1024;
/// A connection on which nothing is under way is tried after so long, then so often, so many times: one whose machine has vanished is over after
/// 30 s. A worker need not do anything for it; its kernel answers.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const KEEP_ALIVE_AGAIN: Duration = Duration::from_secs(5);
const KEEP_ALIVE_TRIES: u32 = 3;

/// Listens at one address of this machine, or at all.
///
/// # Errors
/// The port is in use, or the address is no address of this machine, among others.
pub(crate) fn listen(address: Option<IpAddr>, port: u16) -> io::Result<TcpListener> {
    match address {
        Some(address) => listen_at((address, port).into()),
        // Of all addresses, those of IPv6 are left out where the machine has none.
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
    // Connections of an ingester that has just ended do not hold the port.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED))?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// The next connection, and where it is from.
///
/// # Errors
/// `WouldBlock`: there is none. Others are about this connection, or say that there are no more descriptors.
pub(crate) fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, mut peer) = listener.accept()?;
    stream.set_nodelay(true)?;
    let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(KEEP_ALIVE_AGAIN);
    SockRef::from(&stream).set_tcp_keepalive(&keep_alive.with_retries(KEEP_ALIVE_TRIES))?;
    peer.set_ip(peer.ip().to_canonical());
    Ok((stream, peer))
}
