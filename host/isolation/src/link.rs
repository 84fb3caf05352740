//! The socket between host and child, at both ends: whole messages in, whole messages out, and no wait without an end.
#![forbid(unsafe_code)]

use std::{
    io::{self, IoSlice, Read as _, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{ControlMessage, MsgFlags, sendmsg},
};

use crate::wire::{self, Head, WireError};

/// One end, with what has come and was not taken.
#[derive(Debug)]
pub(crate) struct Link {
    socket: UnixStream,
    longest: usize,
    /// Received bytes; those before `taken` were taken.
    buffer: Vec<u8>,
    taken: usize,
    has_ended: bool,
    /// The last receive got all that it asked for, or the beginning of a message.
    may_have_more: bool,
}

/// Bytes that are asked for at a time.
const PIECE: usize = 64 << 10;
/// Most bytes that are received while a message is sent.
const MOST_UNREAD: usize = 32 << 20;

impl Link {
    /// An end that accepts bodies up to `longest`.
    pub(crate) fn new(socket: UnixStream, longest: usize) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket, longest, buffer: Vec::new(), taken: 0, has_ended: false, may_have_more: false })
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether the other side has ended, and everything of it was received.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Whether more has probably come already.
    pub(crate) fn may_have_more(&self) -> bool {
        self.may_have_more
    }

    /// The next whole message that was received; its body is read with [`Link::body`].
    pub(crate) fn next(&mut self) -> Result<Option<(Head, std::ops::Range<usize>)>, WireError> {
        let Some((head, body, len)) = wire::split(&self.buffer[self.taken..], self.longest)? else { return Ok(None) };
        let start = self.taken + Head::LEN;
        let range = start..start + body.len();
        self.taken += len;
        Ok(Some((head, range)))
    }

    /// The body of the last message.
    pub(crate) fn body(&self, range: std::ops::Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    /// Receives what has come, without waiting. Returns whether anything has, or the other side has ended.
    pub(crate) fn receive(&mut self) -> io::Result<bool> {
        if self.has_ended {
            return Ok(true);
        }
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let before = self.buffer.len();
        self.buffer.resize(before + PIECE, 0);
        let received = loop {
            match self.socket.read(&mut self.buffer[before..]) {
                Err(problem) if problem.kind() == io::ErrorKind::Interrupted => {}
                received => break received,
            }
        };
        let (len, outcome) = match received {
            Ok(0) => (0, Ok(true)),
            Ok(len) => (len, Ok(true)),
            Err(problem) if problem.kind() == io::ErrorKind::WouldBlock => (0, Ok(false)),
            // A child that was killed with data unread.
            Err(problem) if problem.kind() == io::ErrorKind::ConnectionReset => (0, Ok(true)),
            Err(problem) => (0, Err(problem)),
        };
        self.has_ended = len == 0 && matches!(outcome, Ok(true));
        self.may_have_more = len == PIECE;
        self.buffer.truncate(before + len);
        outcome
    }

    /// Whether something was received and not taken.
    pub(crate) fn has_unread(&self) -> bool {
        self.taken < self.buffer.len()
    }

    /// Sends a whole message. While the other side does not read, calls `meanwhile` now and then, which may give up by an
    /// error.
    pub(crate) fn send(&mut self, message: &[u8], meanwhile: impl FnMut() -> io::Result<()>) -> io::Result<()> {
        self.send_all(message, false, meanwhile)
    }

    /// As [`Link::send`], but receives meanwhile, because the other side may not read before its own message is through.
    /// One of both sides must do so, or both wait for each other.
    pub(crate) fn send_and_hear(
        &mut self,
        message: &[u8],
        meanwhile: impl FnMut() -> io::Result<()>,
    ) -> io::Result<()> {
        self.send_all(message, true, meanwhile)
    }

    fn send_all(
        &mut self,
        message: &[u8],
        hears: bool,
        mut meanwhile: impl FnMut() -> io::Result<()>,
    ) -> io::Result<()> {
        let mut rest = message;
        while !rest.is_empty() {
            match self.socket.write(rest) {
                Ok(sent) => rest = &rest[sent..],
                Err(problem) if problem.kind() == io::ErrorKind::Interrupted => {}
                Err(problem) if problem.kind() == io::ErrorKind::WouldBlock => {
                    let hears = hears && !self.has_ended && self.buffer.len() - self.taken < MOST_UNREAD;
                    let what = if hears { PollFlags::POLLOUT | PollFlags::POLLIN } else { PollFlags::POLLOUT };
                    let mut ends = [PollFd::new(self.socket.as_fd(), what)];
                    wait(&mut ends, NOW_AND_THEN)?;
                    let come = ends[0].revents().unwrap_or(PollFlags::empty());
                    if hears && come.contains(PollFlags::POLLIN) {
                        self.receive()?;
                    }
                    // A side that says much and hears nothing must not keep this from giving up.
                    if !come.contains(PollFlags::POLLOUT) {
                        meanwhile()?;
                    }
                }
                Err(problem) => return Err(problem),
            }
        }
        Ok(())
    }

    /// Sends a message with descriptors. It is the first one, so there is room for it.
    pub(crate) fn send_with(&mut self, message: &[u8], descriptors: [BorrowedFd<'_>; 3]) -> io::Result<()> {
        let descriptors = descriptors.map(|descriptor| descriptor.as_raw_fd());
        let parts = [ControlMessage::ScmRights(&descriptors)];
        let pieces = [IoSlice::new(message)];
        let sent = sendmsg::<()>(self.socket.as_raw_fd(), &pieces, &parts, MsgFlags::MSG_NOSIGNAL, None)?;
        if sent < message.len() { Err(io::Error::from(io::ErrorKind::WriteZero)) } else { Ok(()) }
    }
}

/// Waits for one of these, at most so long.
pub(crate) fn wait(ends: &mut [PollFd<'_>], most: Duration) -> io::Result<()> {
    // A millisecond more than to wake a moment too early, and wait again.
    let limit = i32::try_from(most.as_micros().div_ceil(1000)).ok().and_then(|limit| PollTimeout::try_from(limit).ok());
    let limit = limit.unwrap_or(PollTimeout::MAX);
    match poll(ends, limit) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(problem) => Err(problem.into()),
    }
}

/// How often something is looked at while a wait lasts.
pub(crate) const NOW_AND_THEN: Duration = Duration::from_millis(100);
