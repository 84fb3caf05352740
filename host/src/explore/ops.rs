//! The operations on an ingester, one at a time.

use super::state::StreamWorkers;

/// One operation. `usize`: a stream, or a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Op {
    /// A new scan; with both streams, or with the first alone.
    Start {
        both: bool,
    },
    /// The current scan is to be finished.
    Finish,
    /// Finishes the scan before it again.
    FinishOld,
    /// The next assignment of the current scan.
    Assign,
    /// Repeats the first assignment.
    AssignAgain,
    /// The assignment after the next: one was lost.
    AssignGap,
    /// An assignment of the scan before.
    AssignOld,
    /// A reader executes the oldest pending order.
    Obey(usize),
    /// A source gives an event; the queue of its run's scan takes it. A source on demand gives it by obeying.
    Event(usize),
    /// A full queue drops an event.
    Full(usize),
    End(usize),
    Fail(usize),
    /// A worker pings: as before, or restarted.
    Ping(usize),
    Restart(usize),
    /// The network takes a worker's first message, or does not know the worker.
    Take(usize),
    Unreachable(usize),
    /// The capture's disk stalls, and everything waits for it; or it continues.
    Disk,
    /// The second stream gets another source from the next scan on; one of the two is on demand.
    Swap,
    /// The capture of the current scan is closed, or a late message reports that the one before was.
    Captured,
    CapturedOld,
    /// Enough time passes for all timeouts.
    Wait,
    /// One turn of the forwarder's own thread.
    Turn,
    /// A short turn of a reader. What is decided in it is done later.
    ShortTurn,
}

impl Op {
    /// Whether the forwarder's own thread does it, in one of its turns.
    pub(super) fn is_own(self) -> bool {
        !matches!(
            self,
            Self::Obey(_)
                | Self::Event(_)
                | Self::Full(_)
                | Self::End(_)
                | Self::Fail(_)
                | Self::Disk
                | Self::Swap
                | Self::ShortTurn
        )
    }

    /// Whether the operation is part of an undisturbed scan.
    pub(super) fn is_usual(self) -> bool {
        matches!(
            self,
            Self::Assign
                | Self::Obey(_)
                | Self::Event(_)
                | Self::Ping(_)
                | Self::Take(_)
                | Self::Captured
                | Self::Turn
                | Self::ShortTurn
        )
    }
}

/// All operations.
pub(super) const ALL: [Op; 33] = [
    Op::Start { both: true },
    Op::Start { both: false },
    Op::Finish,
    Op::FinishOld,
    Op::Assign,
    Op::AssignAgain,
    Op::AssignGap,
    Op::AssignOld,
    Op::Obey(0),
    Op::Obey(1),
    Op::Event(0),
    Op::Event(1),
    Op::Full(0),
    Op::Full(1),
    Op::End(0),
    Op::End(1),
    Op::Fail(0),
    Op::Fail(1),
    Op::Ping(0),
    Op::Ping(1),
    Op::Restart(0),
    Op::Restart(1),
    Op::Take(0),
    Op::Take(1),
    Op::Unreachable(0),
    Op::Unreachable(1),
    Op::Disk,
    Op::Swap,
    Op::Captured,
    Op::CapturedOld,
    Op::Wait,
    Op::Turn,
    Op::ShortTurn,
];

/// Limits on operations that create ever new states.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Bounds {
    pub(super) scans: usize,
    /// For each run of a source.
    pub(super) events: usize,
    /// For each worker.
    pub(super) restarts: u32,
    pub(super) swaps: usize,
    /// The capture may block.
    pub(super) blocks: bool,
    /// The second stream begins with a source on demand.
    pub(super) on_demand: bool,
}

/// The workers that the assignment of a number names: both streams with different workers, one worker twice and no worker,
/// one stream, a stream of other ingesters.
pub(super) fn plan(number: u64) -> StreamWorkers {
    match number % 4 {
        0 => vec![(0, vec![0]), (1, vec![0, 1])],
        1 => vec![(1, vec![]), (0, vec![1, 1])],
        2 => vec![(0, vec![1])],
        _ => vec![],
    }
}
