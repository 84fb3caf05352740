//! The ROUTER socket: options, pings in, messages out; the only sender.
//!
//! Runs on the forwarder thread, which owns it. Everything of ZeroMQ towards workers is behind this interface in our own
//! words (send, in flight, pings), so that another transport can stand beside it.

use std::{os::fd::AsRawFd, sync::Arc, time::Duration};

use super::{
    in_flight::{InFlight, Lane},
    message::{Sent, send, set_out_batch_size},
};
use crate::{budget::Account, ingester::message::Message, names::WorkerName, wake::Wake};

/// See the module.
pub(crate) struct Router {
    socket: zmq::Socket,
    pub(crate) in_flight: InFlight,
    /// Ends a wait from other threads.
    wake: Wake,
    /// Ends with the socket, and with it libzmq's I/O thread.
    _context: zmq::Context,
    payload: zmq::Message,
}

/// Pings are 16 bytes; whoever sends more than this is disconnected by libzmq.
const LONGEST_PING: i64 = 4096;
/// CPU at 16 KiB frames halves against libzmq's 8 KiB (performance figures in ARCHITECTURE.md).
const OUT_BATCH: i32 = 64 * 1024;
/// Messages taken in one go, so that a flood of junk does not keep the forwarder from its work.
const PINGS_AT_ONCE: usize = 256;

impl Router {
    /// Binds all addresses.
    ///
    /// # Errors
    /// When the port is in use, among others.
    pub(crate) fn bind(port: u16, wake: Wake) -> zmq::Result<Self> {
        let context = zmq::Context::new();
        let mut socket = context.socket(zmq::ROUTER)?;
        socket.set_router_mandatory(true)?;
        // A worker that restarts under its name takes over, even while its old connection is half open.
        socket.set_router_handover(true)?;
        socket.set_tcp_keepalive(1)?;
        socket.set_tcp_keepalive_idle(300)?;
        socket.set_tcp_keepalive_intvl(300)?;
        socket.set_linger(0)?;
        // No limit by count: credits bound what is in flight by bytes.
        socket.set_sndhwm(0)?;
        socket.set_maxmsgsize(LONGEST_PING)?;
        if !set_out_batch_size(&mut socket, OUT_BATCH) {
            tracing::debug!("this libzmq has no ZMQ_OUT_BATCH_SIZE; small frames cost more");
        }
        socket.bind(&format!("tcp://*:{port}"))?;
        let in_flight = InFlight::new(wake.clone());
        Ok(Self { socket, in_flight, wake, _context: context, payload: zmq::Message::new() })
    }

    /// Waits until a worker says something, somebody rings, or the time is up.
    pub(crate) fn wait(&self, limit: Duration) {
        let wake = zmq::PollItem::from_fd(self.wake.descriptor().as_raw_fd(), zmq::POLLIN);
        // An error here is EINTR; the caller looks for work in any case.
        let _ = zmq::poll(&mut [self.socket.as_poll_item(zmq::POLLIN), wake], limit.as_millis() as i64);
    }

    /// Hands a message to the network. See [`Lane::receipt`] for `more` and `memory`.
    pub(crate) fn send(
        &mut self,
        worker: &WorkerName,
        lane: &mut Lane,
        message: &Arc<Message>,
        more: bool,
        memory: &Arc<Account>,
    ) -> Sent {
        let receipt = lane.receipt(message.bytes, message.is_small(), more, memory);
        send(&mut self.socket, worker.as_str(), message, receipt)
    }

    /// Takes what workers sent. Returns whether there may be more.
    pub(crate) fn receive(&mut self, mut ping: impl FnMut(&[u8], &[u8])) -> bool {
        for _ in 0..PINGS_AT_ONCE {
            let mut identity = zmq::Message::new();
            if self.socket.recv(&mut identity, zmq::DONTWAIT).is_err() {
                return false;
            }
            let mut parts = 0;
            while self.socket.get_rcvmore().unwrap_or(false) {
                if self.socket.recv(&mut self.payload, zmq::DONTWAIT).is_err() {
                    break;
                }
                parts += 1;
            }
            // A ping is one part. Anything else is junk, and an empty payload says so.
            ping(&identity, if parts == 1 { &self.payload } else { &[] });
        }
        true
    }
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Router").field("in_flight", &self.in_flight).finish_non_exhaustive()
    }
}
