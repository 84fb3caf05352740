//! Descriptors that are libzmq's: looking at what has a number now, without taking part in its life.
//!
//! Runs on the forwarder thread. A number may be closed and given anew by libzmq's thread between any two calls, so what has
//! it is first duplicated onto a descriptor of our own, then looked at. That descriptor is always the same one, because at
//! the limit of descriptors, when this is needed most, there is no other.
#![allow(unsafe_code)]

use std::{
    ffi::c_int,
    fs::File,
    io,
    net::TcpStream,
    os::fd::{AsRawFd, OwnedFd, RawFd},
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Grip {
    /// What is looked at, and nothing between two looks.
    own: TcpStream,
    nothing: File,
}

impl Grip {
    pub(crate) fn new() -> io::Result<Self> {
        let nothing = File::open("/dev/null")?;
        Ok(Self { own: TcpStream::from(OwnedFd::from(nothing.try_clone()?)), nothing })
    }

    /// Looks at what has this number now, if anything has. It stays open for as long as that takes.
    pub(crate) fn on<T>(&mut self, fd: RawFd, look: impl FnOnce(&TcpStream) -> T) -> Option<T> {
        let seen = self.take(fd).then(|| look(&self.own));
        self.take(self.nothing.as_raw_fd());
        seen
    }

    fn take(&self, fd: RawFd) -> bool {
        // SAFETY: whatever `fd` is, the call changes our own descriptor only, which stays open and owned by `own`.
        unsafe { libc::dup3(fd, self.own.as_raw_fd(), libc::O_CLOEXEC) >= 0 }
    }
}

/// What tells a socket from all others that this machine ever has (SO_COOKIE).
pub(crate) fn cookie(socket: &TcpStream) -> Option<u64> {
    option::<8>(socket, libc::SOL_SOCKET, libc::SO_COOKIE).map(u64::from_ne_bytes)
}

/// Bytes that a connection has received (`tcpi_bytes_received` of TCP_INFO; Linux 4.1 and later).
pub(crate) fn bytes_received(socket: &TcpStream) -> Option<u64> {
    let info = option::<136>(socket, libc::IPPROTO_TCP, libc::TCP_INFO)?;
    info.last_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
}

/// The first bytes of a socket's option; none if it has fewer.
fn option<const N: usize>(socket: &TcpStream, level: c_int, name: c_int) -> Option<[u8; N]> {
    let mut value = [0; N];
    let mut len = N as libc::socklen_t;
    // SAFETY: `value` has room for `len` bytes, and the call writes no more; the descriptor is open while `socket` is borrowed.
    let outcome = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &mut len) };
    (outcome == 0 && len as usize == N).then_some(value)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{Shutdown, TcpListener},
    };

    use super::*;

    #[test]
    fn what_is_looked_at_is_the_connection_itself_and_is_let_go_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(&[7; 1000]).unwrap();
        server.read_exact(&mut [0; 1000]).unwrap();
        let mut grip = Grip::new().unwrap();
        let fd = server.as_raw_fd();
        let of_server = grip.on(fd, |stream| (cookie(stream), bytes_received(stream))).unwrap();
        assert_eq!(of_server, (cookie(&server), Some(1000)));
        assert_ne!(of_server.0, cookie(&client));
        assert!(grip.on(-1, |_| ()).is_none());
        // Its end is seen: nothing holds it any more.
        drop(server);
        assert_eq!(client.read(&mut [0]).unwrap(), 0);

        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        grip.on(server.as_raw_fd(), |stream| stream.shutdown(Shutdown::Both)).unwrap().unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }
}
