//! Monitors whether a connection works.
//!
//! Used on the reader thread, from before the connection is made until the run is over. It only monitors; `run.rs`
//! decides what to do about a broken connection.
//!
//! Why it exists: libzmq reconnects when a connection breaks, but not after a protocol error (a part longer than
//! allowed, a socket of the wrong type, garbage). Such a connection stays dead, and only its monitor reports it. A
//! bound socket is never dead: after a refused peer, others can still connect.

use std::time::{Duration, Instant};

use zmq::{Context, DONTWAIT, Socket, SocketType};

use crate::endpoint::Attach;

/// State of a connection, from its monitor's events.
pub(crate) struct Handshake {
    events: Socket,
    attach: Attach,
    state: State,
    /// Time at which a peer closed a connection before the handshake was complete.
    refused: Option<Instant>,
    /// Number of connections that ended before the handshake was complete, since one was established.
    failures: u32,
    /// Number of peers that connected to a bound socket and have not yet completed the handshake.
    arriving: u32,
    /// Established connections that ended and were not reported yet.
    disconnects: u64,
    /// Number of established connections.
    established: u32,
    /// The highest number so far.
    most: u32,
    /// When the first of them was established, or the last one ended.
    changed: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No answer yet; libzmq keeps trying.
    Waiting,
    /// The connection works; for a bound socket: at least one did.
    Made,
    /// It broke at this time, and libzmq does not reconnect. Never for a bound socket.
    Broken { since: Instant },
}

impl Handshake {
    /// Starts to monitor; must be called before the socket connects or is bound.
    pub(crate) fn watch(context: &Context, socket: &Socket, attach: Attach) -> zmq::Result<Self> {
        let wanted = match attach {
            Attach::Connect => MADE | BROKEN | TRYING,
            Attach::Bind => MADE | BROKEN | ARRIVED,
        };
        socket.monitor(ADDRESS, i32::from(wanted))?;
        let events = context.socket(SocketType::PAIR)?;
        events.set_linger(0)?;
        // An absent detector causes 20 events per second; at a bound socket an unknown peer can cause thousands. When
        // this many events wait, libzmq's thread blocks until the next call reads them, and peers that connect wait
        // too.
        events.set_rcvhwm(MOST_EVENTS)?;
        events.connect(ADDRESS)?;
        let state = State::Waiting;
        let changed = Instant::now();
        Ok(Self {
            events,
            attach,
            state,
            refused: None,
            failures: 0,
            arriving: 0,
            disconnects: 0,
            established: 0,
            most: 0,
            changed,
        })
    }

    /// The socket to poll for events.
    pub(crate) fn events(&self) -> &Socket {
        &self.events
    }

    /// Reads the events since the last call. Returns whether a connection was established or has ended.
    pub(crate) fn read(&mut self) -> bool {
        let mut changed = false;
        // An event has two parts; the first starts with its number in native byte order.
        while let Ok(parts) = self.events.recv_multipart(DONTWAIT) {
            match parts.first().and_then(|part| part.first_chunk()).map(|bytes| u16::from_ne_bytes(*bytes)) {
                // A break is followed by a retry unless libzmq has given up.
                Some(event) if event & TRYING != 0 => self.state = State::Waiting,
                Some(ARRIVED) => self.arriving += 1,
                Some(MADE) => {
                    self.made();
                    changed = true;
                }
                Some(BROKEN) => changed |= self.broken(),
                _ => {}
            }
        }
        changed
    }

    fn made(&mut self) {
        if self.attach == Attach::Bind && self.arriving == 0 {
            // So the peer that left was an established one, not one in its handshake: correct the count.
            self.ended();
            self.refused = None;
        }
        if self.established == 0 {
            self.changed = Instant::now();
        }
        self.established += 1;
        self.most = self.most.max(self.established);
        self.arriving = self.arriving.saturating_sub(1);
        if self.attach == Attach::Connect {
            self.refused = None;
        }
        self.failures = 0;
        self.state = State::Made;
    }

    fn ended(&mut self) {
        self.disconnects += 1;
        self.established = self.established.saturating_sub(1);
        if self.established == 0 {
            self.changed = Instant::now();
        }
    }

    /// Returns whether an established connection has ended.
    fn broken(&mut self) -> bool {
        let now = Instant::now();
        let was_made = match self.attach {
            Attach::Connect => self.state == State::Made,
            // The event does not say which peer it was. A handshake is short, unless the peer stays silent.
            Attach::Bind => self.arriving == 0,
        };
        if was_made {
            self.ended();
        } else {
            self.arriving = self.arriving.saturating_sub(1);
            self.refused = Some(now);
            self.failures = self.failures.saturating_add(1);
        }
        if self.attach == Attach::Connect {
            self.state = State::Broken { since: now };
        }
        was_made
    }

    /// Whether a peer is connected, and since when.
    pub(crate) fn connected(&self) -> (bool, Instant) {
        (self.established > 0, self.changed)
    }

    /// How many peers were connected at a time, at most.
    pub(crate) fn most(&self) -> u32 {
        self.most
    }

    pub(crate) fn is_made(&self) -> bool {
        self.state == State::Made
    }

    /// Whether libzmq has given the connection up: it is broken, and no retry followed.
    pub(crate) fn is_given_up(&mut self) -> bool {
        if !matches!(self.state, State::Broken { .. }) {
            return false;
        }
        // A retry or even a handshake may have been reported since.
        self.read();
        matches!(self.state, State::Broken { since } if since.elapsed() > GIVEN_UP_AFTER)
    }

    /// Whether a peer closed a connection before the handshake was complete. False in the first moments, because the
    /// handshake may still succeed.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused.is_some_and(|since| since.elapsed() > GIVEN_UP_AFTER)
    }

    /// Whether handshakes fail again and again: libzmq retries at once after one that fails because of a key.
    pub(crate) fn keeps_failing(&self) -> bool {
        self.failures >= FAILURES
    }

    /// Number of established connections that have ended since the last call.
    pub(crate) fn take_disconnects(&mut self) -> u64 {
        std::mem::take(&mut self.disconnects)
    }
}

const MADE: u16 = zmq::SocketEvent::HANDSHAKE_SUCCEEDED as u16;
const BROKEN: u16 = zmq::SocketEvent::DISCONNECTED as u16;
const TRYING: u16 = zmq::SocketEvent::CONNECT_RETRIED as u16 | zmq::SocketEvent::CONNECT_DELAYED as u16;

/// For bound sockets.
const ARRIVED: u16 = zmq::SocketEvent::ACCEPTED as u16;

/// libzmq retries at once, so this is long enough; it is also the pause between attempts at a wrong socket.
const GIVEN_UP_AFTER: Duration = Duration::from_millis(500);

/// A detector that restarts fails one or two.
const FAILURES: u32 = 3;

/// In addition to the same number on libzmq's side: some hundred kilobytes.
const MOST_EVENTS: i32 = 1000;

/// The context belongs to the run, so the address cannot collide.
const ADDRESS: &str = "inproc://handshakes";
