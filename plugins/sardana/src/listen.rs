//! Binds the listening addresses. Knows nothing of HTTP.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs},
};

use framegate_plugin_api::SourceError;
use socket2::{Domain, Socket, Type};

/// Binds every address of the name, as uvicorn does, and for `*` all of IPv4 and of IPv6. An address that this machine
/// does not have is skipped if another works.
pub(crate) fn bind(host: &str, port: u16) -> Result<Vec<TcpListener>, SourceError> {
    let everywhere = host == "*";
    let addresses = if everywhere {
        vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))]
    } else {
        let addresses = (host, port).to_socket_addrs().map_err(|error| {
            SourceError::settings(format!("host: {host:?} is not an address or name of this machine: {error}"))
        })?;
        // A name may stand twice in /etc/hosts with the same address.
        addresses.fold(Vec::new(), |mut all, address| {
            if !all.contains(&address) {
                all.push(address);
            }
            all
        })
    };
    let mut listeners: Vec<TcpListener> = Vec::new();
    let mut failed = None;
    for mut address in addresses {
        // If any port will do, use the same one for all addresses.
        if port == 0
            && let Some(first) = listeners.first().and_then(|first| first.local_addr().ok())
        {
            address.set_port(first.port());
        }
        match listen(address, everywhere) {
            Ok(listener) => listeners.push(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                return Err(SourceError::connect(format!(
                    "{address} is in use by another program; stop it, or choose another port"
                )));
            }
            Err(error) => failed = Some((address, error)),
        }
    }
    match failed {
        _ if !listeners.is_empty() => Ok(listeners),
        Some((address, error)) => {
            Err(SourceError::connect(format!("cannot listen on {address}: {error}; check host and port")))
        }
        None => Err(SourceError::settings(format!("host: {host:?} has no address"))),
    }
}

/// `apart`: an IPv6 socket does not accept IPv4, which has its own listener.
fn listen(address: SocketAddr, apart: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if apart && address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // As std does: allows binding a port whose last connections have just ended.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(WAITING)?;
    Ok(socket.into())
}

/// Connections that wait to be accepted.
const WAITING: i32 = 128;
