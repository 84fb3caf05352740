//! One connection at the workers' port: parses what it receives, and tracks how much was sent.

use std::{
    collections::VecDeque,
    io::{self, IoSlice, Read as _, Write as _},
    net::SocketAddr,
    time::Instant,
};

use mio::net::TcpStream;
use smallvec::SmallVec;

use super::{rivals::Takeovers, unconfirmed::unconfirmed};
use crate::{
    ingester::message::Message,
    names::WorkerName,
    recycle::Pooled,
    zmtp::{self, Fault, Parser, PeerItem},
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) since: Instant,
    /// Time of its last data.
    pub(crate) heard: Instant,
    /// How often its worker's name was taken over, up to this connection.
    pub(super) takeovers: Takeovers,
    parser: Parser,
    pub(super) identity: Vec<u8>,
    /// The worker that introduced itself, if its identity is a valid name.
    pub(crate) worker: Option<WorkerName>,
    /// The worker has pinged, and is served.
    pub(crate) has_pinged: bool,
    /// There may be data to read.
    pub(crate) readable: bool,
    /// The kernel may accept data.
    writable: bool,
    /// Protocol frames to send between two messages.
    control: Vec<u8>,
    /// Number of bytes of a partly sent message that the kernel has.
    begun: usize,
    recent: Recent,
}

/// The result of a read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// There may be more.
    More,
    Nothing,
    /// The other side has closed it.
    Over,
    Faulty(Fault),
}

/// What the kernel accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SendProgress {
    /// Messages that it now has completely.
    pub(crate) messages: usize,
    /// Bytes of the next message.
    pub(crate) begun: usize,
}

/// Maximum number of pieces in one system call.
const SLICES: usize = 256;
/// Maximum number of bytes in one system call. With this size, data for several workers is still in the processor's
/// cache for the next one, and the cost of the call is small. With 64 KiB, 4 MiB to eight workers cost 1.9 times the
/// bare relay's CPU, with 256 KiB 1.4, with this or more 1.05.
///
/// A bit more than a frame of 1 MiB, so that it and its header go out together: otherwise the rest is a call and a small
/// segment of its own, which wakes the worker a second time.
const BYTES: usize = (1 << 20) + (64 << 10);
/// Maximum number of waiting bytes of protocol answers: a client that asks faster than it reads gets no answer.
const CONTROL: usize = 256;

impl Connection {
    pub(crate) fn new(stream: TcpStream, peer: SocketAddr, now: Instant) -> Self {
        let mut control = Vec::new();
        let parser = Parser::begin(now, &mut control);
        Self {
            stream,
            peer,
            since: now,
            heard: now,
            takeovers: Takeovers::default(),
            parser,
            identity: Vec::new(),
            worker: None,
            has_pinged: false,
            readable: true,
            writable: true,
            control,
            begun: 0,
            recent: Recent::default(),
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.parser.is_ready()
    }

    /// The kernel may accept data again.
    pub(crate) fn is_writable(&mut self) {
        self.writable = true;
        self.write_control();
    }

    /// Reads once. `message` gets the identity and a message of one part; for more parts, the message is empty.
    pub(crate) fn read(&mut self, buffer: &mut [u8], mut message: impl FnMut(&[u8], &[u8])) -> Read {
        let bytes = match self.stream.read(buffer) {
            Ok(0) => return Read::Over,
            Ok(bytes) => &buffer[..bytes],
            Err(problem) if problem.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                return Read::Nothing;
            }
            Err(problem) if problem.kind() == io::ErrorKind::Interrupted => return Read::More,
            Err(_) => return Read::Over,
        };
        let Self { parser, identity, worker, control, .. } = self;
        let handle = |item: PeerItem<'_>, control: &mut Vec<u8>| match item {
            PeerItem::Ready(own) => {
                *identity = own.to_vec();
                *worker = WorkerName::from_identity(own).ok();
            }
            PeerItem::Message(payload) => message(identity, payload),
            PeerItem::Parts => message(identity, &[]),
            PeerItem::Ping(context) if control.len() < CONTROL => zmtp::pong(context, control),
            PeerItem::Ping(_) => {}
        };
        let fed = parser.feed(bytes, control, handle);
        // Also in case of a fault: the peer sees what it talks to.
        self.write_control();
        fed.map_or_else(Read::Faulty, |()| Read::More)
    }

    /// Sends protocol frames, between two messages.
    pub(crate) fn write_control(&mut self) {
        while self.begun == 0 && self.writable && !self.control.is_empty() {
            match self.stream.write(&self.control) {
                Ok(bytes) => drop(self.control.drain(..bytes)),
                Err(problem) => self.refused(&problem),
            }
        }
    }

    /// Gives the kernel as many of these messages as it accepts at once; it may already have a part of the first.
    /// `None`: nothing now.
    pub(crate) fn write<'a>(
        &mut self,
        messages: impl Iterator<Item = &'a Pooled<Message>> + Clone,
    ) -> Option<SendProgress> {
        self.write_control();
        if !self.writable {
            return None;
        }
        let mut slices = SmallVec::<[IoSlice<'_>; SLICES]>::new();
        let (mut skip, mut room) = (self.begun, BYTES);
        for piece in messages.clone().flat_map(|message| message.pieces()) {
            let skipped = skip.min(piece.len());
            skip -= skipped;
            let piece = &piece[skipped..];
            let piece = &piece[..piece.len().min(room)];
            if piece.is_empty() {
                continue;
            }
            room -= piece.len();
            #[cfg(test)]
            HANDED.lock().expect("nothing panics that holds it").push((piece.as_ptr() as usize, piece.len()));
            slices.push(IoSlice::new(piece));
            if room == 0 || slices.len() == SLICES {
                break;
            }
        }
        let mut bytes = match self.stream.write_vectored(&slices) {
            Ok(bytes) => self.begun + bytes,
            Err(problem) => {
                self.refused(&problem);
                return None;
            }
        };
        let mut whole = 0;
        for message in messages {
            if bytes < message.bytes {
                break;
            }
            bytes -= message.bytes;
            self.recent.push(message.bytes);
            whole += 1;
        }
        self.begun = bytes;
        Some(SendProgress { messages: whole, begun: bytes })
    }

    /// If the kernel's buffer is full, an event reports when it has room again; any other problem shows at the next read.
    fn refused(&mut self, problem: &io::Error) {
        match problem.kind() {
            io::ErrorKind::Interrupted => {}
            io::ErrorKind::WouldBlock => self.writable = false,
            _ => (self.writable, self.readable) = (false, true),
        }
    }

    /// Messages that the kernel has completely, and that the other side has not confirmed.
    pub(crate) fn unconfirmed(&self) -> u64 {
        self.recent.in_last(unconfirmed(&self.stream).saturating_sub(self.begun))
    }
}

/// The latest messages, as many as a kernel may hold.
#[derive(Debug, Default)]
struct Recent {
    /// Bytes and messages; small messages are grouped.
    groups: VecDeque<(usize, u64)>,
    bytes: usize,
}

/// Messages further back than this many bytes are confirmed: Linux buffers less for a connection (`tcp_wmem`, 4 MiB;
/// more if somebody has configured it).
const RECENT: usize = 8 << 20;
/// Size in bytes of a group of small messages, so that there are 1,000 groups at most.
const GROUP: usize = 16 << 10;

impl Recent {
    fn push(&mut self, bytes: usize) {
        self.bytes += bytes;
        match self.groups.back_mut() {
            Some((group, messages)) if *group + bytes <= GROUP => {
                *group += bytes;
                *messages += 1;
            }
            _ => self.groups.push_back((bytes, 1)),
        }
        while self.bytes > RECENT
            && self.groups.len() > 1
            && let Some((oldest, _)) = self.groups.pop_front()
        {
            self.bytes -= oldest;
        }
    }

    /// How many messages are in the last bytes, wholly or in part; for small ones it may be a few too many.
    fn in_last(&self, mut bytes: usize) -> u64 {
        let is_in = |(group, _): &&(usize, u64)| {
            let is_in = bytes > 0;
            bytes = bytes.saturating_sub(*group);
            is_in
        };
        self.groups.iter().rev().take_while(is_in).map(|(_, messages)| messages).sum()
    }
}

/// The addresses of the pieces that the kernel was given: for the test that follows a frame.
#[cfg(test)]
pub(crate) static HANDED: std::sync::Mutex<Vec<(usize, usize)>> = std::sync::Mutex::new(Vec::new());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_messages_are_counted_by_their_bytes() {
        let mut recent = Recent::default();
        for size in [GROUP, GROUP + 1, 10, 20, GROUP] {
            recent.push(size);
        }
        // The two small messages are in one group.
        let counts =
            [0, 1, GROUP, GROUP + 1, GROUP + 30, GROUP + 31, 3 * GROUP, usize::MAX].map(|bytes| recent.in_last(bytes));
        assert_eq!(counts, [0, 1, 1, 3, 3, 4, 5, 5]);
        recent.push(2 * RECENT);
        assert_eq!(recent.groups, [(2 * RECENT, 1)]);
    }

    #[test]
    fn however_many_small_messages_there_were_little_is_kept_of_them() {
        let mut recent = Recent::default();
        (0..RECENT).for_each(|number| recent.push(1 + number % 700));
        assert!(recent.groups.len() <= 1024, "{}", recent.groups.len());
        assert!((RECENT - GROUP..=RECENT).contains(&recent.bytes));
    }
}
