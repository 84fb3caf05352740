//! Decides which connections at the workers' port have to end, so that strangers take neither all descriptors nor all memory.
//!
//! Values in, values out: it knows no socket. A connection without a ping has [`HANDSHAKE`] to introduce itself, and counts
//! toward a limit. A connection with a worker's ping stays while the worker's name has a place. Without a place it stays
//! while other workers leave room: the worker may be busy for a while, or its machine may be gone.

use std::time::{Duration, Instant};

use super::limits::ConnectionLimits;

/// The facts about one connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConnectionFacts {
    pub(super) key: usize,
    pub(super) since: Instant,
    /// Time of its last data.
    pub(super) heard: Instant,
    /// It has completed the handshake.
    pub(super) ready: bool,
    pub(super) standing: Standing,
}

/// The relation of a connection to the known workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// No worker has pinged on it.
    Stranger,
    /// A worker has pinged on it, and has lost its place since.
    Former,
    /// It belongs to a worker that has a place.
    Placed,
}

/// The connections that have to end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Connections without a handshake in time.
    pub(super) silent: Vec<usize>,
    /// Connections beyond the limits.
    pub(super) too_many: Vec<usize>,
}

/// Time limit for the handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// If descriptors are scarce, the limits are divided by this.
const SCARCE: usize = 4;

/// Judges all connections. If there are too many, those that have been silent for the longest time end.
pub(super) fn audit(
    all: impl Iterator<Item = ConnectionFacts>,
    limits: ConnectionLimits,
    scarce: bool,
    now: Instant,
) -> Verdict {
    let mut verdict = Verdict::default();
    let (mut strangers, mut former, mut placed) = (Vec::new(), Vec::new(), 0);
    for one in all {
        match one.standing {
            Standing::Placed => placed += 1,
            Standing::Former => former.push((one.heard, one.key)),
            Standing::Stranger if !one.ready && now.duration_since(one.since) >= HANDSHAKE => {
                verdict.silent.push(one.key);
            }
            // By age: a connection that never pings shall not stay because it sends other data.
            Standing::Stranger => strangers.push((one.since, one.key)),
        }
    }
    let part = if scarce { SCARCE } else { 1 };
    for (mut group, most) in
        [(strangers, limits.strangers / part), (former, (limits.workers / part).saturating_sub(placed))]
    {
        group.sort_unstable();
        let surplus = group.len().saturating_sub(most);
        verdict.too_many.extend(group[..surplus].iter().map(|(_, key)| key));
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections of one standing, oldest first.
    fn of(standing: Standing, keys: std::ops::Range<usize>, now: Instant) -> Vec<ConnectionFacts> {
        let end = keys.end;
        let one = |key| {
            let at = now - Duration::from_millis((end - key) as u64);
            ConnectionFacts { key, since: at, heard: at, ready: true, standing }
        };
        keys.map(one).collect()
    }

    fn judged(all: &[ConnectionFacts], scarce: bool, now: Instant) -> Verdict {
        audit(all.iter().copied(), ConnectionLimits { workers: 20, strangers: 8 }, scarce, now)
    }

    #[test]
    fn of_too_many_connections_without_a_ping_the_oldest_go() {
        let now = Instant::now() + HANDSHAKE;
        let mut all = of(Standing::Stranger, 0..10, now);
        assert_eq!(judged(&all, false, now).too_many, [0, 1]);
        assert_eq!(judged(&all, true, now).too_many, (0..8).collect::<Vec<_>>());
        // Sending data does not help.
        all[0].heard = now;
        assert_eq!(judged(&all, false, now).too_many, [0, 1]);
    }

    #[test]
    fn who_does_not_introduce_itself_in_time_goes() {
        let now = Instant::now() + HANDSHAKE;
        let mut all = of(Standing::Stranger, 0..3, now);
        (all[0].ready, all[1].ready) = (false, false);
        all[0].since = now - HANDSHAKE;
        assert_eq!(judged(&all, false, now), Verdict { silent: vec![0], too_many: vec![] });
    }

    #[test]
    fn workers_without_a_place_stay_while_there_is_room_beside_those_that_have_one() {
        let now = Instant::now() + HANDSHAKE;
        let mut all = of(Standing::Former, 0..10, now);
        all.extend(of(Standing::Placed, 10..20, now));
        assert_eq!(judged(&all, false, now), Verdict::default());
        all.extend(of(Standing::Placed, 20..22, now));
        // The first one was heard most recently.
        all[0].heard = now;
        assert_eq!(judged(&all, false, now).too_many, [1, 2]);
        assert_eq!(judged(&all, true, now).too_many, (1..10).chain([0]).collect::<Vec<_>>());
        // More than the number of places: assignments also create places.
        all.extend(of(Standing::Placed, 22..60, now));
        assert_eq!(judged(&all, false, now).too_many.len(), 10);
        // Strangers have their own places, and take none from workers.
        all.truncate(10);
        all.extend(of(Standing::Stranger, 10..20, now));
        assert_eq!(judged(&all, false, now).too_many, [10, 11]);
    }
}
