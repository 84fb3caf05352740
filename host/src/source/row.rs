//! Repeated attempts with back-off: the first at once, each later one after twice the time.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// A row of attempts.
#[derive(Debug)]
pub(crate) struct Row {
    delays: ExponentialBackoff,
    longest: Duration,
    /// Earliest time of the next attempt; `None` before the first.
    not_before: Option<Instant>,
}

/// Delay between the first and the second attempt.
const FIRST_DELAY: Duration = Duration::from_secs(1);

impl Row {
    /// A row whose delays do not exceed `longest`.
    pub(crate) fn new(longest: Duration) -> Self {
        let delays = ExponentialBuilder::new().with_min_delay(FIRST_DELAY).with_max_delay(longest);
        Self { delays: delays.without_max_times().build(), longest, not_before: None }
    }

    /// How long to wait before the next attempt; `None` if it is allowed now.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.not_before?.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    /// Counts an attempt. Returns whether it is the first.
    pub(crate) fn count(&mut self) -> bool {
        let delay = self.delays.next().unwrap_or(self.longest);
        self.not_before.replace(Instant::now() + delay).is_none()
    }

    /// Ends the row after a success.
    pub(crate) fn end(&mut self) {
        if self.not_before.is_some() {
            *self = Self::new(self.longest);
        }
    }

    /// Ends the row if the last attempt was so long ago that it is unrelated to the next.
    pub(crate) fn end_if_old(&mut self) {
        if self.not_before.is_some_and(|at| at.elapsed() > self.longest) {
            self.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_attempt_is_made_at_once_and_the_time_to_the_next_grows_up_to_a_limit() {
        let mut row = Row::new(Duration::from_secs(10));
        assert!(row.left().is_none() && row.count());
        let mut least = Duration::ZERO;
        for longest in [1, 2, 4, 8, 10, 10, 10] {
            let left = row.left().unwrap();
            assert!(left <= Duration::from_secs(longest) && left > least, "{left:?}");
            least = Duration::from_millis(longest * 800).min(Duration::from_secs(8));
            assert!(!row.count());
        }
        row.end();
        assert!(row.left().is_none() && row.count());
    }
}
