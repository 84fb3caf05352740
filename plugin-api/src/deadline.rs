//! The time limit of a call of `next`.

use std::time::{Duration, Instant};

/// When a call must have returned. The host allows at most 100 ms per call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// A deadline `left` from now.
    #[must_use]
    pub fn after(left: Duration) -> Self {
        Self(Instant::now() + left)
    }
    /// Time left; zero when it has passed.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
    /// Milliseconds left, rounded up so that a wait of this length does not spin; for `poll`-like calls.
    #[must_use]
    pub fn left_ms(&self) -> i64 {
        i64::try_from(self.left().as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
    }
    /// Whether it has passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.left().is_zero()
    }
}
