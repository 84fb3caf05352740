//! Sockets that never block: TCP and Unix sockets, to connect and to listen.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use socket2::{Domain, SockAddr, Socket, TcpKeepalive, Type};

/// A detector that loses power does not close the connection: it has ended after this time, and three more probes.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const KEEP_ALIVE_AGAIN: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TRIES: u32 = 3;
/// Number of connections that can wait to be accepted.
const BACKLOG: i32 = 256;

/// Begins to connect. The socket is writable when it is connected or has failed: see [`outcome`].
///
/// # Errors
/// It has failed at once.
pub(crate) fn connect(address: &SockAddr) -> io::Result<Socket> {
    let socket = Socket::new(address.domain(), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(address) {
        Err(problem) if problem.raw_os_error() == Some(nix::libc::EINPROGRESS) => Ok(socket),
        done => done.map(|()| socket),
    }
}

/// The outcome of [`connect`], once the socket is writable.
///
/// # Errors
/// Why it is not connected.
pub(crate) fn outcome(socket: &Socket) -> io::Result<()> {
    match socket.take_error()? {
        Some(problem) => Err(problem),
        None => prepare(socket),
    }
}

/// Options of a connection.
fn prepare(socket: &Socket) -> io::Result<()> {
    if socket.domain()? == Domain::UNIX {
        return Ok(());
    }
    // Our bytes are few, and a detector waits for them.
    socket.set_tcp_nodelay(true)?;
    let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(KEEP_ALIVE_AGAIN);
    socket.set_tcp_keepalive(&keep_alive.with_retries(KEEP_ALIVE_TRIES))
}

/// Listens at all addresses of this machine. IPv6 is left out if the machine has none.
///
/// # Errors
/// For example: the port is in use.
pub(crate) fn listen_at_all(port: u16) -> io::Result<Socket> {
    match listen_at(&(Ipv6Addr::UNSPECIFIED, port).into()) {
        Err(problem) if problem.kind() != io::ErrorKind::AddrInUse => listen_at(&(Ipv4Addr::UNSPECIFIED, port).into()),
        listens => listens,
    }
}

/// Listens at one address of this machine.
///
/// # Errors
/// For example: the port is in use, or the address does not belong to this machine.
pub(crate) fn listen_at(address: &SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(*address), Type::STREAM, None)?;
    // Connections of a run that has just ended must not block the port.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED))?;
    }
    bind(socket, &(*address).into())
}

/// Listens at a path. A file that nobody listens at any more is replaced.
///
/// # Errors
/// For example: somebody else listens there.
pub(crate) fn listen_at_path(path: &str) -> io::Result<Socket> {
    let address = path_address(path)?;
    let open = || Socket::new(Domain::UNIX, Type::STREAM, None);
    match bind(open()?, &address) {
        Err(problem) if problem.kind() == io::ErrorKind::AddrInUse => {
            let is_left = connect(&address).is_err_and(|problem| problem.kind() == io::ErrorKind::ConnectionRefused);
            if !is_left || path.starts_with('@') {
                return Err(problem);
            }
            std::fs::remove_file(path)?;
            bind(open()?, &address)
        }
        bound => bound,
    }
}

fn bind(socket: Socket, address: &SockAddr) -> io::Result<Socket> {
    socket.bind(address)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The address of a path; `@` in front means a name without a file, as for libzmq.
///
/// # Errors
/// The path is too long.
pub(crate) fn path_address(path: &str) -> io::Result<SockAddr> {
    match path.strip_prefix('@') {
        Some(name) => SockAddr::unix(format!("\0{name}")),
        None => SockAddr::unix(path),
    }
}

/// Accepts the next connection, with its peer's address; a Unix socket's has none.
///
/// # Errors
/// `WouldBlock`: there is none. Other errors concern this connection, or mean that there are no more descriptors.
pub(crate) fn accept(listener: &Socket) -> io::Result<(Socket, Option<SocketAddr>)> {
    let (socket, address) = listener.accept()?;
    socket.set_nonblocking(true)?;
    prepare(&socket)?;
    let mut peer = address.as_socket();
    if let Some(peer) = &mut peer {
        peer.set_ip(peer.ip().to_canonical());
    }
    Ok((socket, peer))
}
