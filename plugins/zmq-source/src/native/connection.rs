//! One connection to a detector: its handshake, then its messages.

use std::{
    fmt,
    io::{self, IoSliceMut, Read as _},
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
    time::Instant,
};

use framegate_plugin_api::Frame;
use framegate_source_kit::Malformed;
use framegate_zmtp::{Fault, Handshake, Role, Version, ping, subscription};
use nix::poll::PollFlags;
use socket2::Socket;

use super::{
    buffers::Pool,
    input::Input,
    message::{Assembly, Limits, Unreadable},
};
use crate::transport::Received;

/// What all connections of a run have in common.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) role: Role,
    /// Of a SUB: the beginnings of the messages that it wants.
    pub(crate) prefixes: Vec<String>,
    pub(crate) limits: Limits,
    pub(crate) pool: Arc<Pool>,
}

impl Terms {
    /// Whether a message is wanted. A PUB socket of version 1.0 sends everything, and its subscribers choose.
    fn wants(&self, version: Version, frames: &[Frame]) -> bool {
        let first = frames.first().map_or(&[][..], Frame::as_slice);
        self.role != Role::Sub
            || version > Version::V1
            || self.prefixes.iter().any(|prefix| first.starts_with(prefix.as_bytes()))
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: Socket,
    /// `None` for a Unix socket.
    pub(crate) peer: Option<SocketAddr>,
    stage: Stage,
    input: Input,
    /// Bytes to send: of the handshake, subscriptions, answers to pings.
    out: Vec<u8>,
    /// There may be something to read.
    readable: bool,
    /// When something last came.
    pub(crate) heard: Instant,
    /// Whether it has sent a message.
    pub(crate) has_sent: bool,
    /// Whether it has sent a ping.
    has_pinged: bool,
}

#[derive(Debug)]
enum Stage {
    Handshake(Handshake),
    Open(Assembly),
}

/// Why a connection has ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The peer has closed it.
    Closed,
    /// The network has.
    Broken(io::Error),
    Fault(Fault),
    LongPart(u64),
    Endless,
    /// Another connection needs its place.
    Crowded,
}

/// A small message with the head of a large part behind it. More than this is not read ahead where large parts are
/// expected, because it would have to be copied.
const AHEAD_OF_LARGE: usize = 2048;
/// Reads until the caller is asked whether it has the time for more.
const READS_AT_ONCE: usize = 64;

impl Connection {
    /// Begins the handshake at a new connection.
    pub(crate) fn new(socket: Socket, peer: Option<SocketAddr>, role: Role) -> Self {
        let (now, mut out) = (Instant::now(), Vec::new());
        let stage = Stage::Handshake(Handshake::begin(role, now, &mut out));
        Self {
            socket,
            peer,
            stage,
            input: Input::new(),
            out,
            readable: true,
            heard: now,
            has_sent: false,
            has_pinged: false,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open(_))
    }

    /// When its handshake must be complete.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Handshake(handshake) => Some(handshake.deadline()),
            Stage::Open(_) => None,
        }
    }

    /// Bytes of an unfinished message in memory.
    pub(crate) fn held(&self) -> u64 {
        if let Stage::Open(assembly) = &self.stage { assembly.held() } else { 0 }
    }

    /// Skips the message that has begun.
    pub(crate) fn refuse(&mut self, why: Malformed) {
        if let Stage::Open(assembly) = &mut self.stage {
            assembly.refuse(why);
        }
    }

    /// Whether there may be something to read.
    pub(crate) fn is_readable(&self) -> bool {
        self.readable
    }

    /// Whether there may be something to take.
    pub(crate) fn may_have_more(&self) -> bool {
        self.readable || !self.input.bytes().is_empty()
    }

    /// A sign of life while nothing is read, for a peer that ends connections without one. Its own pings wait behind its
    /// messages, but libzmq is content with any command (stream_engine_base.cpp, `decode_and_push`). Peers that do not know
    /// pings get none.
    pub(crate) fn show_life(&mut self) {
        let Stage::Open(assembly) = &self.stage else { return };
        if (self.has_pinged || assembly.version() >= Version::V3_1) && self.out.is_empty() {
            ping(&mut self.out);
            self.flush();
        }
    }

    /// Whether a message has come in part.
    pub(crate) fn is_amid(&self) -> bool {
        if let Stage::Open(assembly) = &self.stage { assembly.has_begun(self.input.bytes()) } else { false }
    }

    /// How many bytes may have come and were not taken yet: what is here, and what the kernel may hold.
    pub(crate) fn unread(&self) -> usize {
        self.input.bytes().len() + self.socket.recv_buffer_size().unwrap_or(0)
    }

    /// What to poll it for.
    pub(crate) fn interest(&self) -> PollFlags {
        if self.out.is_empty() { PollFlags::POLLIN } else { PollFlags::POLLIN | PollFlags::POLLOUT }
    }

    /// What a poll has found. Returns whether the handshake is complete since this call.
    ///
    /// # Errors
    /// Why it has ended.
    pub(crate) fn polled(&mut self, found: PollFlags, terms: &Terms) -> Result<bool, End> {
        self.readable |= found.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR);
        self.flush();
        let Stage::Handshake(_) = self.stage else { return Ok(false) };
        self.shake_hands(terms)
    }

    fn shake_hands(&mut self, terms: &Terms) -> Result<bool, End> {
        loop {
            let Stage::Handshake(handshake) = &mut self.stage else { return Ok(false) };
            let taken = handshake.take(self.input.bytes(), &mut self.out);
            if let Ok((used, Some(peer))) = &taken {
                self.input.used(*used);
                if terms.role == Role::Sub {
                    terms
                        .prefixes
                        .iter()
                        .for_each(|prefix| subscription(peer.version, prefix.as_bytes(), &mut self.out));
                }
                self.stage = Stage::Open(Assembly::new(peer.version));
                self.readable = true;
            }
            // Also in case of an error: it tells the peer who we are.
            self.flush();
            match taken.map_err(End::Fault)? {
                (_, Some(_)) => return Ok(true),
                (used, None) => self.input.used(used),
            }
            if !self.readable {
                return Ok(false);
            }
            self.read()?;
        }
    }

    /// Takes one message if one has come; never waits. After [`READS_AT_ONCE`] it is `Empty` although more may have come.
    ///
    /// # Errors
    /// Why the connection has ended; all messages before were taken.
    pub(crate) fn receive(&mut self, terms: &Terms) -> Result<Received, End> {
        for _ in 0..READS_AT_ONCE {
            let Stage::Open(assembly) = &mut self.stage else { return Ok(Received::Empty) };
            let (asked, version) = (self.out.len(), assembly.version());
            let found = assembly.take(&mut self.input, &terms.limits, &terms.pool, &mut self.out);
            if self.out.len() > asked {
                self.has_pinged = true;
                self.flush();
            }
            match found.map_err(End::from)? {
                Some(Received::Message(frames, _)) if !terms.wants(version, &frames) => continue,
                Some(found) => {
                    self.has_sent = true;
                    return Ok(found);
                }
                None => {}
            }
            if !self.readable {
                return Ok(Received::Empty);
            }
            self.read()?;
        }
        Ok(Received::Empty)
    }

    /// Reads once.
    fn read(&mut self) -> Result<(), End> {
        let mut most = usize::MAX;
        let mut room = None;
        if let Stage::Open(assembly) = &mut self.stage {
            if assembly.expects_large() {
                most = AHEAD_OF_LARGE;
            }
            room = assembly.room();
        }
        let behind = self.input.room(most);
        let (large, asked) = match &room {
            Some(room) => (room.len(), room.len() + behind.len()),
            None => (0, behind.len()),
        };
        let read = match room {
            Some(room) => (&self.socket).read_vectored(&mut [IoSliceMut::new(room), IoSliceMut::new(behind)]),
            None => (&self.socket).read(behind),
        };
        match read {
            Ok(0) => Err(End::Closed),
            Ok(bytes) => {
                // A short read has emptied the socket; the next poll finds what comes later.
                self.readable = bytes == asked;
                self.heard = Instant::now();
                if let Stage::Open(assembly) = &mut self.stage {
                    assembly.advance(bytes.min(large));
                }
                self.input.added(bytes.saturating_sub(large));
                Ok(())
            }
            Err(problem) if problem.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(())
            }
            Err(problem) if problem.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(problem) if problem.kind() == io::ErrorKind::ConnectionReset => Err(End::Closed),
            Err(problem) => Err(End::Broken(problem)),
        }
    }

    /// Sends what the kernel takes. A failure shows at the next read.
    fn flush(&mut self) {
        while !self.out.is_empty() {
            // A peer that has gone is found by the next read, not by a signal to the process.
            match self.socket.send_with_flags(&self.out, nix::libc::MSG_NOSIGNAL) {
                Ok(bytes) => drop(self.out.drain(..bytes)),
                Err(problem) if problem.kind() == io::ErrorKind::Interrupted => {}
                Err(problem) if problem.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.out.clear(),
            }
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl From<Unreadable> for End {
    fn from(why: Unreadable) -> Self {
        match why {
            Unreadable::Fault(fault) => Self::Fault(fault),
            Unreadable::LongPart(length) => Self::LongPart(length),
            Unreadable::Endless => Self::Endless,
        }
    }
}

impl End {
    /// If an established connection ends like this, a message was invalid. `amid`: in the middle of one.
    pub(crate) fn malformed(&self, amid: bool) -> Option<Malformed> {
        match self {
            Self::Closed | Self::Broken(_) | Self::Crowded => {
                amid.then_some(Malformed::new("the connection ended in the middle of a message"))
            }
            Self::Fault(_) => Some(Malformed::new("not ZeroMQ's protocol; the connection was ended")),
            Self::LongPart(_) => Some(Malformed::new("a part longer than max_part; the connection was ended")),
            Self::Endless => Some(Malformed::new("a message without an end; the connection was ended")),
        }
    }
}

/// As the end of "the detector …".
impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("has closed the connection"),
            Self::Broken(problem) => write!(f, "cannot be reached any more ({problem})"),
            Self::Fault(fault) => fault.fmt(f),
            Self::LongPart(length) => write!(f, "announced a part of {length} bytes, which is longer than max_part"),
            Self::Endless => f.write_str("sends a message without an end"),
            Self::Crowded => f.write_str("had to make room: there are too many connections"),
        }
    }
}
