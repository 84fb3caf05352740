//! The worker of a run: receives messages, counts them, and frees them.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use uuid::Uuid;

/// What the worker has received. The worker's thread writes it, the other threads read it.
#[derive(Debug, Default)]
pub(crate) struct Got {
    pub(crate) messages: AtomicU64,
    /// The time of the first and of the latest message.
    times: Mutex<Option<(Instant, Instant)>>,
    pub(crate) is_over: AtomicBool,
}

impl Got {
    /// The time between the first message and the latest.
    pub(crate) fn took(&self) -> Duration {
        let times = *self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.map_or(Duration::ZERO, |(first, latest)| latest - first)
    }
}

/// Works until the run is over; `last` is the number of the last message.
pub(crate) fn work(port: u16, service: Uuid, last: u64, got: &Got) -> anyhow::Result<()> {
    let dealer = zmq::Context::new().socket(zmq::DEALER)?;
    dealer.set_identity(NAME.as_bytes())?;
    dealer.set_rcvtimeo(100)?;
    dealer.set_linger(0)?;
    dealer.connect(&format!("tcp://127.0.0.1:{port}"))?;
    let mut ping_at = Instant::now();
    let mut part = zmq::Message::new();
    for turn in 0u64.. {
        // Not for every message: reading the clock would distort the result.
        if turn % 64 == 0 && Instant::now() >= ping_at {
            dealer.send(&service.as_bytes()[..], 0)?;
            ping_at = Instant::now() + PING;
        }
        if got.is_over.load(Ordering::Relaxed) {
            break;
        }
        match dealer.recv(&mut part, 0) {
            Ok(()) => {}
            Err(zmq::Error::EAGAIN) => {
                // No message has arrived: the next iteration reads the clock.
                ping_at = ping_at.min(Instant::now());
                dealer.send(&service.as_bytes()[..], 0)?;
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        while part.get_more() {
            dealer.recv(&mut part, 0)?;
        }
        let number = got.messages.fetch_add(1, Ordering::Relaxed) + 1;
        if number == 1 || number == last {
            let now = Instant::now();
            let mut times = got.times.lock().unwrap_or_else(PoisonError::into_inner);
            *times = Some((times.map_or(now, |(first, _)| first), now));
        }
    }
    Ok(())
}

/// The worker's name.
pub(crate) const NAME: &str = "bench";

/// As often as dranspose's workers, or slightly more often.
const PING: Duration = Duration::from_secs(1);
