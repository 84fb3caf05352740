//! The effect of a stalled worker on the others, computed from the times of their messages. Pure.
//!
//! ```text
//!   messages come │ the memory is full: nothing comes │ it is given up: messages come
//!    rate_before  │              waited               │        rate_after
//! ```

use serde::Serialize;

/// See the module. Rates are events per second and include the stalled worker's events.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Stall {
    /// While the memory fills up.
    pub rate_before: f64,
    /// How long no message arrived.
    pub waited_seconds: f64,
    /// After that, until the end.
    pub rate_after: f64,
}

impl Stall {
    /// From pairs of time and count; the worker stalls at the count `after`; each message stands for several events.
    /// `None` if no worker had to wait.
    #[must_use]
    pub fn find(progress: &[(u64, u64)], stalls_at: u64, events: f64) -> Option<Self> {
        let from = progress.iter().position(|(_, messages)| *messages >= stalls_at)?;
        let seconds = |from: (u64, u64), to: (u64, u64)| (to.0 - from.0) as f64 / 1e9;
        let rate = |from: (u64, u64), to: (u64, u64)| (to.1 - from.1) as f64 * events / seconds(from, to);
        let pairs = progress.windows(2).enumerate().skip(from);
        let (gap, pair) = pairs.max_by_key(|(_, pair)| pair[1].0 - pair[0].0)?;
        let waited_seconds = seconds(pair[0], pair[1]);
        let last = progress.last()?;
        (waited_seconds > LEAST).then(|| Self {
            rate_before: rate(progress[from], progress[gap]),
            waited_seconds,
            rate_after: rate(progress[gap + 1], *last),
        })
    }
}

/// A pause of this many seconds is no coincidence.
const LEAST: f64 = 1.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_silence_divides_before_and_after() {
        let s = 1_000_000_000;
        let progress = [(0, 10), (s, 110), (2 * s, 210), (5 * s, 220), (6 * s, 270)];
        let stall = Stall::find(&progress, 100, 1.5).expect("somebody waits");
        assert_eq!(stall, Stall { rate_before: 150.0, waited_seconds: 3.0, rate_after: 75.0 });
        assert_eq!(Stall::find(&progress[..2], 5, 1.0), None);
    }
}
