//! Decides who keeps a name that several live workers use.
//!
//! Normally the latest connection with a name gets it, so that a returning worker is served at once, even while its old
//! connection is half open. Two live workers with one name would take it from each other for ever, because both
//! reconnect. So after some takeovers in a row the current one keeps the name while it is heard.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::names::WorkerName;

/// How often a connection's name was taken over, in a row.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Takeovers {
    count: u32,
    last: Option<Instant>,
    /// Whether it was logged.
    logged: bool,
}

/// Log messages about names that several workers use.
#[derive(Debug, Default)]
pub(super) struct Rivals {
    line: Option<String>,
    logged: Option<Instant>,
}

/// After this many takeovers in a row the current connection keeps the name. A restarting worker makes one takeover.
const MOST: u32 = 5;
/// Takeovers with more time between them are not in a row.
const IN_A_ROW: Duration = Duration::from_secs(10);
/// The current connection keeps the name only if it was heard within this time. Workers of dranspose ping more often.
const HEARD: Duration = Duration::from_secs(5);
/// Minimum interval between warnings, for all names together.
const LOGS: Duration = Duration::from_secs(10);

impl Takeovers {
    /// Another connection wants the name of this connection, which was last heard at `heard`. Returns whether it gets the name.
    pub(super) fn another(&mut self, heard: Instant, now: Instant) -> bool {
        if self.last.is_none_or(|last| now.duration_since(last) >= IN_A_ROW) {
            *self = Self::default();
        }
        self.last = Some(now);
        let gets_it = self.count < MOST || now.duration_since(heard) >= HEARD;
        self.count += u32::from(gets_it);
        gets_it
    }
}

impl Rivals {
    /// A connection is refused, because another one keeps the name.
    pub(super) fn turned_away(
        &mut self,
        name: &WorkerName,
        (keeps, takeovers): (SocketAddr, &mut Takeovers),
        other: SocketAddr,
        now: Instant,
    ) {
        if takeovers.logged || self.logged.is_some_and(|logged| now.duration_since(logged) < LOGS) {
            return;
        }
        takeovers.logged = true;
        self.logged = Some(now);
        self.line = Some(format!(
            "two workers have the name {name}: the one at {keeps} keeps it while it pings, the one at {other} is turned away; give \
             each worker a name of its own"
        ));
    }

    /// New lines for the log.
    pub(super) fn take_line(&mut self) -> Option<String> {
        self.line.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_taken_again_and_again_is_kept_by_who_is_heard() {
        let (mut takeovers, begin) = (Takeovers::default(), Instant::now());
        let at = |millis| begin + Duration::from_millis(millis);
        for number in 0..u64::from(MOST) {
            assert!(takeovers.another(at(number * 100), at(number * 100)), "takeover {number}");
        }
        // As long as somebody wants it.
        for number in 5..1000 {
            assert!(!takeovers.another(at(number * 100), at(number * 100 + 50)), "takeover {number}");
        }
        let silent = takeovers.another(at(95_000), at(100_000));
        assert!(silent, "who is silent loses it");
    }

    #[test]
    fn a_worker_that_restarts_now_and_then_gets_its_name_each_time() {
        let (mut takeovers, begin) = (Takeovers::default(), Instant::now());
        for number in 0..100 {
            let now = begin + number * IN_A_ROW;
            assert!(takeovers.another(now, now), "restart {number}");
        }
    }

    #[test]
    fn a_rivalry_is_logged_once_and_many_are_not_logged_all_at_once() {
        let (mut rivals, now) = (Rivals::default(), Instant::now());
        let name = WorkerName::from_identity(b"w1").unwrap();
        let [keeps, other] = [1, 2].map(|port| SocketAddr::from(([10, 0, 0, 1], port)));
        let (mut first, mut second) = (Takeovers::default(), Takeovers::default());
        rivals.turned_away(&name, (keeps, &mut first), other, now);
        let line = rivals.take_line().unwrap();
        assert!(
            line.contains("name w1: the one at 10.0.0.1:1 keeps") && line.contains("10.0.0.1:2 is turned"),
            "{line}"
        );
        rivals.turned_away(&name, (keeps, &mut second), other, now);
        rivals.turned_away(&name, (keeps, &mut first), other, now + LOGS);
        assert_eq!(rivals.take_line(), None);
        rivals.turned_away(&name, (keeps, &mut second), other, now + LOGS);
        assert!(rivals.take_line().is_some());
    }
}
