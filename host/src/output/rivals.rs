//! Who keeps a name that several live workers want.
//!
//! The last connection under a name counts, so that a worker which comes back is served at once, even while its old connection is half
//! open. Two live workers of one name would take it from each other for ever, as each connects again. So after some takeovers
//! in a row the one that has it keeps it, as long as it is heard.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::names::WorkerName;

/// How often a connection's name was wanted by another, one time after the other.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Takeovers {
    count: u32,
    last: Option<Instant>,
    /// The log has it.
    logged: bool,
}

/// What to log of names that several workers want.
#[derive(Debug, Default)]
pub(super) struct Rivals {
    line: Option<String>,
    logged: Option<Instant>,
}

/// After so many takeovers in a row nobody takes the name from who has it. A worker that restarts makes one.
const MOST: u32 = 5;
/// Takeovers with more time between them are not in a row.
const IN_A_ROW: Duration = Duration::from_secs(10);
/// Who has the name keeps it only if it was heard within this time. Workers of dranspose ping more often.
const HEARD: Duration = Duration::from_secs(5);
/// A warning is logged this often at most, whoever is at odds.
const LOGS: Duration = Duration::from_secs(10);

impl Takeovers {
    /// Another connection wants the name of the one that this is of, which was last heard then. Returns whether it gets it.
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
    /// A connection is turned away, because another one keeps the name.
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

    /// What is new, for the log.
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
        // For as long as somebody wants it.
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
