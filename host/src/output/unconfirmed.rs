//! Data of a connection in the kernel that the other side has not confirmed.
#![allow(unsafe_code)]

use std::{
    ffi::c_int,
    os::fd::{AsFd, AsRawFd},
};

/// Number of bytes that were written and not acknowledged (SIOCOUTQ in tcp(7)); also for a closed connection.
pub(crate) fn unconfirmed(socket: &impl AsFd) -> usize {
    let mut bytes: c_int = 0;
    // SAFETY: the descriptor is open while `socket` is borrowed; the call writes one int, for which `bytes` has room.
    let outcome = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &mut bytes) };
    if outcome == 0 { usize::try_from(bytes).unwrap_or(0) } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{TcpListener, TcpStream},
        time::{Duration, Instant},
    };

    use super::*;

    #[test]
    fn what_the_other_side_does_not_take_is_unconfirmed_also_when_it_is_over() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (theirs, _) = listener.accept().unwrap();
        assert_eq!(unconfirmed(&ours), 0);
        ours.set_nonblocking(true).unwrap();
        while ours.write(&[0; 1 << 16]).is_ok() {}
        assert!(unconfirmed(&ours) > 0);
        // The peer has unread bytes, so its close is a reset.
        drop(theirs);
        let limit = Instant::now() + Duration::from_secs(10);
        while !matches!(ours.read(&mut [0]), Err(problem) if problem.kind() == std::io::ErrorKind::ConnectionReset) {
            assert!(Instant::now() < limit, "a reset arrives");
            std::thread::yield_now();
        }
        assert!(unconfirmed(&ours) > 0);
    }
}
