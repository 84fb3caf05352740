//! The connection of one run: a ZeroMQ context, its socket, and a monitor until the handshake is seen.
//!
//! Runs on the reader thread. Owns the context, so that dropping the link ends the connection before the next run makes its own: a PUSH
//! detector could otherwise put the next header into the old one. It never looks into a message, and it never blocks
//! longer than it is asked to. What arrives is turned into frames here, without copying what is large.

use std::{fmt, mem, time::Duration};

use framegate_plugin_api::{Deadline, Frame, Frames, HostContext, LogLevel, SourceError};
use zmq::{Context, DONTWAIT, Message, POLLIN, PollItem, Socket, SocketEvent, SocketType};

use crate::{flow::Malformed, settings::ZmqSettings};

/// How the detector sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// The detector binds PUSH: it waits for us and loses nothing.
    Pull,
    /// The detector binds PUB: everything it publishes, from when we are connected.
    SubscribeAll,
}

/// One connection, for one run.
pub(crate) struct Link {
    // Dropped in this order: the context's drop waits until its sockets are closed.
    socket: Socket,
    /// Tells of the handshake; gone once it was seen.
    monitor: Option<Socket>,
    /// Only owned, never used again: its drop waits until libzmq has closed the connection (linger 0: at once).
    _context: Context,

    host: HostContext,
    max_parts: usize,
    max_header: usize,

    /// Spare message to receive into; a part that is kept takes it away.
    spare: Message,
    read_ahead: ReadAhead,
}

/// What [`Link::receive`] found.
pub(crate) enum Received {
    /// A whole message, at least one part.
    Message(Frames),
    /// A whole message was read and thrown away.
    Refused(Malformed),
    /// Nothing is waiting.
    Empty,
}

impl Link {
    /// Connects, and waits for the handshake within `connect_wait`. An absent detector is not an error.
    pub(crate) fn open(settings: &ZmqSettings, pattern: Pattern, host: &HostContext) -> Result<Self, SourceError> {
        let url = &settings.upstream_url;
        let failed = |what: &'static str| {
            let url = url.clone();
            move |error: zmq::Error| SourceError::connect(format!("{url:?}: {what}: {error}; check upstream_url"))
        };

        let context = Context::new();
        let kind = match pattern {
            Pattern::Pull => SocketType::PULL,
            Pattern::SubscribeAll => SocketType::SUB,
        };
        let socket = context.socket(kind).map_err(failed("no socket can be made"))?;
        let read_ahead = ReadAhead::new(settings.receive_budget.0);
        configure(&socket, settings, i32::try_from(READ_AHEAD_AT_FIRST).unwrap_or(2))
            .map_err(failed("an option was refused"))?;
        if pattern == Pattern::SubscribeAll {
            socket.set_subscribe(b"").map_err(failed("an option was refused"))?;
        }

        // The monitor listens before the connection begins, or the handshake could be missed.
        let monitor = watch(&context, &socket).map_err(failed("the connection cannot be watched"))?;
        socket.connect(url.as_str()).map_err(failed("cannot connect"))?;

        let mut link = Self {
            socket,
            monitor: Some(monitor),
            _context: context,
            host: host.clone(),
            max_parts: settings.max_parts,
            max_header: usize::try_from(settings.max_header.0).unwrap_or(usize::MAX),
            spare: Message::new(),
            read_ahead,
        };
        if link.wait_for_handshake(Deadline::after(settings.connect_wait.0)) {
            link.wait_for_stop(Deadline::after(match pattern {
                Pattern::Pull => RECONNECT_SETTLE,
                Pattern::SubscribeAll => settings.subscribe_settle.0,
            }));
        } else if !host.stop_requested() {
            host.log(LogLevel::Info, format!("{url:?} does not answer yet; connecting goes on in the background"));
        }
        Ok(link)
    }

    /// Takes one message if one is waiting; never waits.
    pub(crate) fn receive(&mut self) -> Result<Received, SourceError> {
        if !self.part()? {
            return Ok(Received::Empty);
        }
        let mut frames = Frames::new();
        let mut refused = (self.spare.len() > self.max_header).then_some(Malformed::new("first part too long"));
        let mut bytes = 0usize;
        loop {
            let more = self.spare.get_more();
            bytes = bytes.saturating_add(self.spare.len());
            if refused.is_none() && frames.len() == self.max_parts {
                refused = Some(Malformed::new("too many parts"));
                frames.clear();
            }
            if refused.is_none() {
                frames.push(self.keep());
            }
            if !more {
                break;
            }
            // libzmq hands out a message only when all its parts are there.
            if !self.part()? {
                refused = Some(Malformed::new("the message is not complete"));
                break;
            }
        }
        if let Some(messages) = self.read_ahead.seen(bytes) {
            // Not being able to read ahead less is no reason to end a run.
            let _ = self.socket.set_rcvhwm(messages);
        }
        Ok(refused.map_or(Received::Message(frames), Received::Refused))
    }

    /// Waits until a message may be there; false when the deadline has passed or a stop is requested.
    pub(crate) fn wait(&mut self, deadline: Deadline) -> Result<bool, SourceError> {
        loop {
            let stop = PollItem::from_fd(self.host.stop_descriptor(), POLLIN);
            let (arrived, stopped, told) = if let Some(monitor) = &self.monitor {
                let mut items = [self.socket.as_poll_item(POLLIN), stop, monitor.as_poll_item(POLLIN)];
                poll(&mut items, deadline)?;
                (items[0].is_readable(), items[1].is_readable(), items[2].is_readable())
            } else {
                let mut items = [self.socket.as_poll_item(POLLIN), stop];
                poll(&mut items, deadline)?;
                (items[0].is_readable(), items[1].is_readable(), false)
            };
            if told {
                self.handshake_seen();
            }
            if stopped || arrived || deadline.passed() {
                return Ok(arrived && !stopped);
            }
        }
    }

    fn wait_for_handshake(&mut self, deadline: Deadline) -> bool {
        while let Some(monitor) = &self.monitor {
            let mut items = [monitor.as_poll_item(POLLIN), PollItem::from_fd(self.host.stop_descriptor(), POLLIN)];
            if poll(&mut items, deadline).is_err() {
                return false;
            }
            let (told, stopped) = (items[0].is_readable(), items[1].is_readable());
            if told {
                self.handshake_seen();
            } else if stopped || deadline.passed() {
                return false;
            }
        }
        true
    }

    fn wait_for_stop(&self, deadline: Deadline) {
        let mut items = [PollItem::from_fd(self.host.stop_descriptor(), POLLIN)];
        while !deadline.passed() && poll(&mut items, deadline).is_ok() && !items[0].is_readable() {}
    }

    /// The first handshake was made: say so, and stop watching. An unread monitor would in the end block libzmq.
    fn handshake_seen(&mut self) {
        if self.monitor.take().is_some() {
            let _ = self.socket.monitor(SILENT, 0);
            self.host.log(LogLevel::Debug, "connected to the detector");
        }
    }

    /// Receives a part into the spare message; false if none is waiting.
    fn part(&mut self) -> Result<bool, SourceError> {
        loop {
            match self.socket.recv(&mut self.spare, DONTWAIT) {
                Ok(()) => return Ok(true),
                Err(zmq::Error::EAGAIN) => return Ok(false),
                Err(zmq::Error::EINTR) => {}
                Err(error) => return Err(SourceError::internal(format!("receiving failed: {error}"))),
            }
        }
    }

    /// The part in the spare message as a frame.
    fn keep(&mut self) -> Frame {
        if self.spare.len() < COPY_BELOW {
            Frame::copy(&self.spare)
        } else {
            Frame::from_owner(Part(mem::replace(&mut self.spare, Message::new())))
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("connected", &self.monitor.is_none()).finish_non_exhaustive()
    }
}

/// A message as the owner of a frame's bytes: they stay where libzmq received them.
struct Part(Message);

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// How many messages libzmq may hold: it counts messages, not bytes, so the number follows the sizes that are seen.
///
/// libzmq can change the number of a living connection, but it does not wake a side that waits by the old one, and both
/// could wait for each other for ever. The reader tells of what it has taken at multiples of half the number;
/// as long as the number is a power of two, changes by a factor of two, and does so only when that many messages were
/// taken since the last change, the next multiple is always within what the other side can still send, and what was not
/// yet told of is always less than the new number.
struct ReadAhead {
    budget: u64,
    largest: u64,
    /// Messages taken since `messages` changed.
    taken: u32,
    /// Invariant: a power of two, from 2 to 1024.
    messages: u32,
}

impl ReadAhead {
    fn new(budget: u64) -> Self {
        Self { budget, largest: 1, taken: 0, messages: READ_AHEAD_AT_FIRST }
    }

    /// Takes note of a message; the new number if it has to change.
    fn seen(&mut self, bytes: usize) -> Option<i32> {
        self.taken = self.taken.saturating_add(1);
        self.largest = self.largest.max(bytes as u64);
        if self.taken < self.messages {
            return None;
        }
        let room = self.budget / self.largest;
        let wanted = if room >= u64::from(self.messages) * 2 {
            (self.messages * 2).min(1024)
        } else if room < u64::from(self.messages) {
            (self.messages / 2).max(2)
        } else {
            self.messages
        };
        if wanted == self.messages {
            return None;
        }
        self.taken = 0;
        self.messages = wanted;
        i32::try_from(wanted).ok()
    }
}

fn configure(socket: &Socket, settings: &ZmqSettings, read_ahead: i32) -> zmq::Result<()> {
    socket.set_linger(0)?;
    socket.set_rcvhwm(read_ahead)?;
    socket.set_maxmsgsize(i64::try_from(settings.max_part.0).unwrap_or(i64::MAX))?;
    socket.set_reconnect_ivl(RECONNECT_MS)?;
    socket.set_ipv6(settings.upstream_url.is_ipv6())?;
    // A detector that lost its power never says goodbye: find out, and connect anew.
    socket.set_tcp_keepalive(1)?;
    socket.set_tcp_keepalive_idle(30)?;
    socket.set_tcp_keepalive_intvl(10)?;
    socket.set_tcp_keepalive_cnt(3)
}

fn watch(context: &Context, socket: &Socket) -> zmq::Result<Socket> {
    socket.monitor(EVENTS, i32::from(SocketEvent::HANDSHAKE_SUCCEEDED.to_raw()))?;
    let monitor = context.socket(SocketType::PAIR)?;
    monitor.set_linger(0)?;
    monitor.connect(EVENTS)?;
    Ok(monitor)
}

/// Polls once; a signal counts as a wake-up without a reason.
fn poll(items: &mut [PollItem<'_>], deadline: Deadline) -> Result<(), SourceError> {
    match zmq::poll(items, deadline.left_ms()) {
        Ok(_) | Err(zmq::Error::EINTR) => Ok(()),
        Err(error) => Err(SourceError::internal(format!("waiting for messages failed: {error}"))),
    }
}

/// Below, a copy is cheaper in memory than a small frame that holds on to libzmq's receive buffer of 8 KiB: a stalled
/// worker was measured to pin 139 MiB instead of 15.
pub(crate) const COPY_BELOW: usize = 2048;

/// Before any size is known: 64 MiB of 4 MiB images. Small messages reach the largest number after about 1000.
const READ_AHEAD_AT_FIRST: u32 = 16;

/// libzmq's PUSH side looks for news of its connections only every 3 million clock ticks while it sends. Until then it may
/// still use the connection of the run before, and what it puts there is lost.
const RECONNECT_SETTLE: Duration = Duration::from_millis(3);

/// How soon a detector that binds late is found. On an empty port a try costs a packet or two.
const RECONNECT_MS: i32 = 50;

/// The monitor's address; the context is the run's own, so it cannot collide.
const EVENTS: &str = "inproc://handshakes";

/// Where the monitor speaks to nobody once the handshake was seen. (libzmq's own way to end it needs a null pointer.)
const SILENT: &str = "inproc://silence";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_ahead_follows_the_largest_message_in_steps_of_two() {
        let changes = |sizes: &mut dyn Iterator<Item = usize>| {
            let mut ahead = ReadAhead::new(64 << 20);
            sizes.filter_map(|bytes| ahead.seen(bytes)).collect::<Vec<_>>()
        };
        assert_eq!(changes(&mut std::iter::repeat_n(64, 5000)), [32, 64, 128, 256, 512, 1024]);
        assert_eq!(changes(&mut std::iter::repeat_n(4 << 20, 5000)), [0i32; 0]);
        assert_eq!(changes(&mut std::iter::repeat_n(1 << 20, 5000)), [32, 64]);
        assert_eq!(changes(&mut std::iter::repeat_n(100 << 20, 5000)), [8, 4, 2]);
        assert_eq!(changes(&mut (0..5000).map(|n| if n < 100 { 64 } else { 8 << 20 })), [32, 64, 32, 16, 8]);
    }
}
