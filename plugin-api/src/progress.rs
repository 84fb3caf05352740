//! What `next` answers, and how long it may take.

use std::time::{Duration, Instant};

/// What [`SourceRun::next`](crate::SourceRun::next) answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There may be more at once: call again.
    More,
    /// The deadline is reached, or the stop token rang; nothing is waiting.
    Idle,
    /// The run's last event was given. Later calls read and count what still arrives, and give none.
    End,
}

/// When a call must have returned. The host allows at most 100 ms a call.
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
