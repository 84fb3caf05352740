//! Sees whether a connection works.
//!
//! Used on the reader thread, from before the connection begins until the run is over. It only listens: what to do about a
//! broken connection is decided in `run.rs`.
//!
//! Why it exists: libzmq connects anew when a connection breaks, but not after an error in the protocol (a part longer than
//! allowed, a socket of the wrong kind, garbage). Such a connection is dead for ever, and only its monitor tells. A bound socket is never
//! dead: whoever was refused, others may come.

use std::time::{Duration, Instant};

use zmq::{Context, DONTWAIT, Socket, SocketType};

use crate::settings::Attach;

/// What a connection's monitor has told.
pub(crate) struct Handshake {
    events: Socket,
    attach: Attach,
    state: State,
    /// Since when it is known that somebody answered, or came, and broke off before the handshake was made.
    refused: Option<Instant>,
    /// Who has come to a bound socket and is neither gone nor has made the handshake.
    arriving: u32,
    /// Connections that had been made and ended, and were not asked for yet.
    disconnects: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nobody has answered yet; libzmq goes on trying.
    Waiting,
    /// The connection works; of a bound socket: there was one.
    Made,
    /// It broke at this time, and libzmq does not try to make it again. Never of a bound socket.
    Broken { since: Instant },
}

impl Handshake {
    /// Listens from now on; to be called before the socket connects or is bound.
    pub(crate) fn watch(context: &Context, socket: &Socket, attach: Attach) -> zmq::Result<Self> {
        let wanted = match attach {
            Attach::Connect => MADE | BROKEN | TRYING,
            Attach::Bind => MADE | BROKEN | ARRIVED,
        };
        socket.monitor(ADDRESS, i32::from(wanted))?;
        let events = context.socket(SocketType::PAIR)?;
        events.set_linger(0)?;
        // An absent detector makes 20 events a second; at a bound socket a stranger can make thousands. When so many wait, libzmq's thread
        // waits too, and with it whoever connects, until the next call reads them.
        events.set_rcvhwm(MOST_EVENTS)?;
        events.connect(ADDRESS)?;
        Ok(Self { events, attach, state: State::Waiting, refused: None, arriving: 0, disconnects: 0 })
    }

    /// To wait on beside other things.
    pub(crate) fn events(&self) -> &Socket {
        &self.events
    }

    /// Reads what was told since the last call.
    pub(crate) fn read(&mut self) {
        // An event is two parts; the first begins with its number in the machine's byte order.
        while let Ok(parts) = self.events.recv_multipart(DONTWAIT) {
            match parts.first().and_then(|part| part.first_chunk()).map(|bytes| u16::from_ne_bytes(*bytes)) {
                // Tries follow a break unless libzmq has given up.
                Some(event) if event & TRYING != 0 => self.state = State::Waiting,
                Some(ARRIVED) => self.arriving += 1,
                Some(MADE) => self.made(),
                Some(BROKEN) => self.broken(),
                _ => {}
            }
        }
    }

    fn made(&mut self) {
        if self.attach == Attach::Bind && self.arriving == 0 {
            // So it was not this one that broke off while it was arriving, but one that had been there.
            self.disconnects += 1;
            self.refused = None;
        }
        self.arriving = self.arriving.saturating_sub(1);
        if self.attach == Attach::Connect {
            self.refused = None;
        }
        self.state = State::Made;
    }

    fn broken(&mut self) {
        let now = Instant::now();
        let was_made = match self.attach {
            Attach::Connect => self.state == State::Made,
            // Nothing tells which of several it was. Arriving takes a moment only, unless somebody says nothing.
            Attach::Bind => self.arriving == 0,
        };
        if was_made {
            self.disconnects += 1;
        } else {
            self.arriving = self.arriving.saturating_sub(1);
            self.refused = Some(now);
        }
        if self.attach == Attach::Connect {
            self.state = State::Broken { since: now };
        }
    }

    pub(crate) fn is_made(&self) -> bool {
        self.state == State::Made
    }

    /// Whether libzmq has given the connection up: it is broken, and no try followed.
    pub(crate) fn is_given_up(&mut self) -> bool {
        if !matches!(self.state, State::Broken { .. }) {
            return false;
        }
        // A try, or even a handshake, may have been told of since.
        self.read();
        matches!(self.state, State::Broken { since } if since.elapsed() > GIVEN_UP_AFTER)
    }

    /// Whether somebody answered at the address, or came to it, and broke off before the handshake was made; not in the first moments,
    /// in which it may turn out otherwise.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused.is_some_and(|since| since.elapsed() > GIVEN_UP_AFTER)
    }

    /// How many connections that had been made have ended since the last time.
    pub(crate) fn take_disconnects(&mut self) -> u64 {
        std::mem::take(&mut self.disconnects)
    }
}

const MADE: u16 = zmq::SocketEvent::HANDSHAKE_SUCCEEDED as u16;
const BROKEN: u16 = zmq::SocketEvent::DISCONNECTED as u16;
const TRYING: u16 = zmq::SocketEvent::CONNECT_RETRIED as u16 | zmq::SocketEvent::CONNECT_DELAYED as u16;

/// Of bound sockets.
const ARRIVED: u16 = zmq::SocketEvent::ACCEPTED as u16;

/// libzmq begins a try at once, so this is on the safe side; it is also the pause between tries at a wrong socket.
const GIVEN_UP_AFTER: Duration = Duration::from_millis(500);

/// Beside as many as libzmq's own side holds: some hundred kilobytes.
const MOST_EVENTS: i32 = 1000;

/// The context is the run's own, so the address cannot collide.
const ADDRESS: &str = "inproc://handshakes";
