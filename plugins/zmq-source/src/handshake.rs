//! Sees whether a connection works.
//!
//! Used on the reader thread, from before the connection begins until the run is over. It only listens: what to do about a
//! broken connection is decided in `run.rs`.
//!
//! Why it exists: libzmq connects anew when a connection breaks, but not after an error in the protocol (a part longer than
//! allowed, a socket of the wrong kind, garbage). Such a connection is dead for ever, and only its monitor tells.

use std::time::{Duration, Instant};

use zmq::{Context, DONTWAIT, Socket, SocketType};

/// What a connection's monitor has told.
pub(crate) struct Handshake {
    events: Socket,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nobody has answered yet; libzmq goes on trying.
    Waiting,
    /// The connection works.
    Made,
    /// It broke at this time, and libzmq does not try to make it again.
    Broken { since: Instant, after_handshake: bool },
}

impl Handshake {
    /// Listens from now on; to be called before the socket connects.
    pub(crate) fn watch(context: &Context, socket: &Socket) -> zmq::Result<Self> {
        socket.monitor(ADDRESS, i32::from(MADE | BROKEN | TRYING))?;
        let events = context.socket(SocketType::PAIR)?;
        events.set_linger(0)?;
        // Without a limit: a full monitor would block libzmq's own thread. An absent detector makes 20 events a second, which
        // are read in each call; a host that calls nothing for an hour leaves some megabytes.
        events.set_rcvhwm(0)?;
        events.connect(ADDRESS)?;
        Ok(Self { events, state: State::Waiting })
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
                Some(MADE) => self.state = State::Made,
                Some(BROKEN) => {
                    let after_handshake = self.state == State::Made;
                    self.state = State::Broken { since: Instant::now(), after_handshake };
                }
                _ => {}
            }
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
        matches!(self.state, State::Broken { since, .. } if since.elapsed() > GIVEN_UP_AFTER)
    }

    /// Whether somebody answered at the address, and then broke off before the handshake was made.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self.state, State::Broken { after_handshake: false, .. })
    }
}

const MADE: u16 = zmq::SocketEvent::HANDSHAKE_SUCCEEDED as u16;
const BROKEN: u16 = zmq::SocketEvent::DISCONNECTED as u16;
const TRYING: u16 = zmq::SocketEvent::CONNECT_RETRIED as u16 | zmq::SocketEvent::CONNECT_DELAYED as u16;

/// libzmq begins a try at once, so this is on the safe side; it is also the pause between tries at a wrong socket.
const GIVEN_UP_AFTER: Duration = Duration::from_millis(500);

/// The context is the run's own, so the address cannot collide.
const ADDRESS: &str = "inproc://handshakes";
