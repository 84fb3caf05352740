//! The worker of a run: takes messages, counts them, and lets them go.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use uuid::Uuid;

/// What it has got. Written by the worker's thread, read by all.
#[derive(Debug, Default)]
pub(crate) struct Got {
    pub(crate) messages: AtomicU64,
    /// When the first and the latest came.
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

/// Serves until the run is over; `last` is the number of the last message.
pub(crate) fn work(port: u16, service: Uuid, last: u64, got: &Got) -> anyhow::Result<()> {
    let dealer = zmq::Context::new().socket(zmq::DEALER)?;
    dealer.set_identity(NAME.as_bytes())?;
    dealer.set_rcvtimeo(100)?;
    dealer.set_linger(0)?;
    dealer.connect(&format!("tcp://127.0.0.1:{port}"))?;
    let mut ping_at = Instant::now();
    let mut part = zmq::Message::new();
    for turn in 0u64.. {
        // Not at every message: asking for the time would count.
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
                // Nothing comes: the next turn looks at the clock.
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

/// Its name.
pub(crate) const NAME: &str = "bench";

/// As dranspose's workers, or a little more often.
const PING: Duration = Duration::from_secs(1);
