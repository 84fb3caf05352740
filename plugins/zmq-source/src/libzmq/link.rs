//! One connection of a run: a ZeroMQ context, its socket, and its monitor.
//!
//! Runs on the reader thread. Owns the context, so that dropping the link closes the connection (for a bound socket:
//! all of them) before the next run makes its own: otherwise a PUSH detector could send the next header over the old
//! one. Does not inspect messages, and does not block longer than the caller asks. Turns received parts into frames
//! without copying large ones.

use std::{fmt, mem, net::SocketAddr};

use framegate_plugin_api::{Frame, SourceError, descriptors_left};
use framegate_source_kit::{Frames, Malformed};
use zmq::{Context, DONTWAIT, Message, Socket, SocketType};

use super::{
    closing::{self, Closing},
    handshake::Handshake,
    keys::Keys,
    read_ahead::{READ_AHEAD_AT_FIRST, ReadAhead},
};
use crate::{
    endpoint::{Attach, Endpoint},
    names::{self, Answer},
    settings::{Pattern, ZmqSettings},
    transport::Received,
};

/// One connection, for one run.
pub(crate) struct Link {
    // Dropped in this order: the context's drop waits until its sockets are closed.
    socket: Socket,
    handshake: Handshake,
    /// Only owned, not used again: its drop waits until libzmq has closed the connection (linger 0: at once, unless it
    /// is looking up a name).
    context: Context,

    url: Endpoint,
    /// Whether the link is connecting or bound. A link to a name starts to connect when the name was looked up.
    begun: bool,
    only_ipv6: bool,
    max_parts: usize,
    max_header: usize,

    /// The address of a peer that has sent a message since a connection last began or ended; empty if libzmq does not
    /// know it.
    peer: Option<String>,

    /// Spare message to receive into; keeping a part takes it.
    spare: Message,
    /// `None`: the settings give a fixed number.
    read_ahead: Option<ReadAhead>,
    /// How many messages libzmq may hold of each detector.
    messages: i32,
}

impl Link {
    /// Connects in the background, or binds. If the address has a name that was not looked up yet, [`Link::begin`]
    /// connects later.
    pub(crate) fn make(
        url: &Endpoint,
        settings: &ZmqSettings,
        pattern: Pattern,
        keys: Option<&Keys>,
    ) -> Result<Self, SourceError> {
        let failed = |what: &'static str| {
            let url = url.clone();
            move |error: zmq::Error| SourceError::connect(format!("{url:?}: {what}: {error}; check upstream_url"))
        };

        descriptors_left(DESCRIPTORS).map_err(|problem| {
            SourceError::connect(format!(
                "{url:?}: a connection needs {DESCRIPTORS} descriptors: {problem}; raise RLIMIT_NOFILE (LimitNOFILE= of a service, \
                 ulimit -n of a shell), or see who has so many connections"
            ))
        })?;
        if closing::are_too_many() {
            let most = closing::MOST;
            return Err(SourceError::connect(format!(
                "{url:?}: {most} connections of earlier scans cannot be closed, because the name server does not \
                 answer them; check it (resolv.conf), or use the detector's IP address"
            )));
        }
        let context = Context::new();
        let kind = match pattern {
            Pattern::Pull => SocketType::PULL,
            Pattern::SubscribeAll => SocketType::SUB,
        };
        let socket = context.socket(kind).map_err(failed("no socket can be made"))?;
        let (read_ahead, messages) = match settings.receive_high_water_mark {
            Some(messages) => (None, i32::from(messages.get())),
            None => {
                let read_ahead = ReadAhead::new(settings.receive_budget.0, settings.attach == Attach::Bind);
                (Some(read_ahead), i32::try_from(READ_AHEAD_AT_FIRST).unwrap_or(2))
            }
        };
        configure(&socket, url, settings, messages, keys).map_err(failed("an option was refused"))?;
        if pattern == Pattern::SubscribeAll {
            for prefix in &settings.subscribe {
                socket.set_subscribe(prefix.as_bytes()).map_err(failed("an option was refused"))?;
            }
        }

        // The monitor must start before the connection, or the handshake could be missed.
        let handshake =
            Handshake::watch(&context, &socket, settings.attach).map_err(failed("the connection cannot be watched"))?;
        let bound = settings.attach == Attach::Bind;
        if bound {
            socket.bind(url.as_str()).map_err(|error| not_bound(url, error))?;
        }
        let mut link = Self {
            socket,
            handshake,
            context,
            url: url.clone(),
            begun: bound,
            only_ipv6: url.is_ipv6(),
            max_parts: settings.max_parts,
            max_header: usize::try_from(settings.max_header.0).unwrap_or(usize::MAX),
            peer: None,
            spare: Message::new(),
            read_ahead,
            messages,
        };
        link.begin()?;
        Ok(link)
    }

    /// Starts to connect, unless that is done or the name was not looked up yet.
    pub(crate) fn begin(&mut self) -> Result<(), SourceError> {
        if self.begun {
            return Ok(());
        }
        if let Some(name) = self.url.name() {
            let Answer::Known(addresses) = names::answer(name) else { return Ok(()) };
            self.only_ipv6 = addresses.iter().all(SocketAddr::is_ipv6);
        }
        let connect = || {
            // An IPv4 address is tried with IPv4 only: if a name has both, a detector may be bound to one of them only.
            self.socket.set_ipv6(self.only_ipv6)?;
            self.socket.connect(self.url.as_str())
        };
        connect().map_err(|error| {
            SourceError::connect(format!("{:?}: cannot connect: {error}; check upstream_url", self.url))
        })?;
        self.begun = true;
        Ok(())
    }

    /// Whether the link is connecting or bound.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    /// The lookup state of the name that the link waits for; `None` if it is connecting already.
    pub(crate) fn name_answer(&self) -> Option<Answer> {
        self.url.name().filter(|_| !self.begun).map(names::answer)
    }

    /// Whether the name's address has changed from IPv4 to IPv6 or back, so that this link tries the wrong one.
    pub(crate) fn looks_elsewhere(&self) -> bool {
        let name = self.url.name().filter(|_| self.begun && !self.handshake.is_made());
        name.is_some_and(
            |name| matches!(names::answer(name), Answer::Known(all) if all.iter().all(SocketAddr::is_ipv6) != self.only_ipv6),
        )
    }

    /// Closes the connection; for a bound socket, all connections.
    pub(crate) fn close(self) -> Closing {
        let Self { socket, handshake, context, .. } = self;
        drop((socket, handshake));
        closing::close(context)
    }

    /// Takes one message if one is waiting; never waits.
    pub(crate) fn receive(&mut self) -> Result<Received, SourceError> {
        if !self.part()? {
            return Ok(Received::Empty);
        }
        if self.peer.is_none() {
            self.peer = Some(self.spare.gets("Peer-Address").unwrap_or_default().to_owned());
        }
        let mut frames = Frames::new();
        // The only part of a message is its data, so only `max_part` limits it, which libzmq enforces.
        let mut refused = (self.spare.get_more() && self.spare.len() > self.max_header)
            .then_some(Malformed::new("first part too long"));
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
            // libzmq hands out a message only when all its parts have arrived.
            if !self.part()? {
                refused = Some(Malformed::new("the message is not complete"));
                break;
            }
        }
        if let Some(messages) = self.read_ahead.as_mut().and_then(|read_ahead| read_ahead.seen(bytes)) {
            // Failing to reduce the read-ahead is no reason to end a run.
            let _ = self.socket.set_rcvhwm(messages);
            self.messages = messages;
        }
        Ok(match refused {
            Some(why) => Received::Refused(why, bytes),
            None => Received::Message(frames, bytes),
        })
    }

    /// How many messages libzmq may hold, of all detectors.
    pub(crate) fn read_ahead(&self) -> u32 {
        self.messages.unsigned_abs().saturating_mul(self.handshake.most().max(1))
    }

    /// The socket to poll.
    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The address.
    pub(crate) fn url(&self) -> &Endpoint {
        &self.url
    }

    /// Reads the monitor's events. Returns the number of established connections that have ended.
    pub(crate) fn hear(&mut self) -> u64 {
        if self.handshake.read() {
            self.peer = None;
        }
        self.handshake.take_disconnects()
    }

    /// The address of the detector, if one is connected: for a bound socket, of the last one that sent something.
    pub(crate) fn peer(&self) -> Option<&str> {
        self.peer.as_deref().filter(|peer| !peer.is_empty())
    }

    /// The state of the connection.
    pub(crate) fn handshake(&self) -> &Handshake {
        &self.handshake
    }

    /// The state of the connection.
    pub(crate) fn handshake_mut(&mut self) -> &mut Handshake {
        &mut self.handshake
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
        f.debug_struct("Link").field("connected", &self.handshake.is_made()).finish_non_exhaustive()
    }
}

/// A libzmq message that owns a frame's bytes: they stay where libzmq received them.
struct Part(Message);

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Why an address cannot be bound, and what to do about it.
fn not_bound(url: &Endpoint, error: zmq::Error) -> SourceError {
    let why = match error {
        zmq::Error::EADDRINUSE => {
            "the port is in use: another program, or another stream, has it (`ss -ltnp` tells who); give one of them another \
             port in upstream_url"
        }
        zmq::Error::EADDRNOTAVAIL | zmq::Error::ENODEV => {
            "this machine has no such address (`ip address` lists those it has); correct upstream_url, tcp://*:PORT is all of them"
        }
        zmq::Error::EACCES => "this user may not bind it; ports below 1024 need a permission, correct upstream_url",
        _ => "check upstream_url",
    };
    SourceError::connect(format!("{url:?} cannot be bound: {error}: {why}"))
}

fn configure(
    socket: &Socket,
    url: &Endpoint,
    settings: &ZmqSettings,
    read_ahead: i32,
    keys: Option<&Keys>,
) -> zmq::Result<()> {
    keys.map_or(Ok(()), |keys| keys.set(socket))?;
    socket.set_linger(0)?;
    socket.set_rcvhwm(read_ahead)?;
    socket.set_maxmsgsize(i64::try_from(settings.max_part.0).unwrap_or(i64::MAX))?;
    socket.set_reconnect_ivl(RECONNECT_MS)?;
    socket.set_ipv6(url.is_ipv6())?;
    socket.set_connect_timeout(CONNECT_MS)?;
    // A detector that loses power does not close the connection; keep-alive detects it, so that libzmq reconnects.
    socket.set_tcp_keepalive(1)?;
    socket.set_tcp_keepalive_idle(30)?;
    socket.set_tcp_keepalive_intvl(10)?;
    socket.set_tcp_keepalive_cnt(3)
}

/// For a context with a socket and its monitor, with a margin. Without descriptors for its threads, libzmq aborts the
/// process.
pub(crate) const DESCRIPTORS: usize = 24;

/// Smaller parts are copied: a small frame would keep libzmq's receive buffer of 8 KiB alive. Measured with a stalled
/// worker: 139 MiB instead of 15.
pub(crate) const COPY_BELOW: usize = 2048;

/// Time limit for an attempt to connect: two packets more than the first, for a network that loses some. If a machine
/// is off, the kernel would try for two minutes, and the name would not be looked up again meanwhile.
const CONNECT_MS: i32 = 5000;

/// How soon a detector that binds late is found. An attempt on a closed port costs a packet or two.
const RECONNECT_MS: i32 = 50;

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        thread,
        time::{Duration, Instant},
    };

    use framegate_plugin_api::Deadline;

    use super::*;

    #[test]
    fn a_high_water_mark_of_the_settings_stays_whatever_arrives() {
        let detector = Context::new().socket(SocketType::PUSH).unwrap();
        detector.bind("tcp://127.0.0.1:*").unwrap();
        let url = detector.get_last_endpoint().unwrap().unwrap();
        let settings: ZmqSettings =
            serde_json::from_str(&format!(r#"{{"upstream_url": "{url}", "receive_high_water_mark": 5}}"#)).unwrap();
        let mut link = Link::make(&settings.upstream_url.as_slice()[0], &settings, Pattern::Pull, None).unwrap();
        for _ in 0..2000 {
            detector.send("x", 0).unwrap();
            while !matches!(link.receive().unwrap(), Received::Message(..)) {
                link.socket.poll(zmq::POLLIN, 20_000).unwrap();
            }
        }
        assert_eq!(link.socket.get_rcvhwm().unwrap(), 5);
    }
    #[test]
    fn who_comes_and_goes_without_end_waits_until_that_was_read_and_hinders_no_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let settings: ZmqSettings =
            serde_json::from_str(&format!(r#"{{"upstream_url": "tcp://{address}", "attach": "bind"}}"#)).unwrap();
        let mut link = Link::make(&settings.upstream_url.as_slice()[0], &settings, Pattern::Pull, None).unwrap();
        let come_and_go = || {
            let visits = (0..20_000).take_while(|_| TcpStream::connect_timeout(&address, WAIT).is_ok()).count();
            assert!(visits < 20_000, "nobody is made to wait");
        };
        come_and_go();
        let detector = Context::new().socket(SocketType::PUSH).unwrap();
        detector.set_linger(0).unwrap();
        detector.connect(&format!("tcp://{address}")).unwrap();
        detector.send("x", 0).unwrap();
        let began = Instant::now();
        while !matches!(link.receive().unwrap(), Received::Message(..)) {
            link.handshake_mut().read();
            assert!(began.elapsed() < Duration::from_secs(20), "the detector is not served");
            thread::yield_now();
        }
        come_and_go();
        assert!(link.close().wait(Deadline::after(Duration::from_secs(20))));
    }

    const WAIT: Duration = Duration::from_millis(500);
}
