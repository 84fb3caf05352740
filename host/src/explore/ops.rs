//! What can happen to an ingester, one thing at a time.

use super::state::Named;

/// One thing that happens. `usize`: a stream, or a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Op {
    /// A new scan; with both streams, or with the first alone.
    Start {
        both: bool,
    },
    /// The current scan is to be finished.
    Finish,
    /// The scan before it is, once more.
    FinishOld,
    /// The next assignment of the current scan.
    Assign,
    /// The first assignment once more.
    AssignAgain,
    /// The assignment after the next: one was lost.
    AssignGap,
    /// An assignment of the scan before.
    AssignOld,
    /// A reader does the oldest order that it has not done yet.
    Obey(usize),
    /// A source gives an event; the queue takes it for the scan in which its run was opened. One on demand gives it by obeying.
    Event(usize),
    /// A full queue drops an event.
    Full(usize),
    End(usize),
    Fail(usize),
    /// A worker pings: as before, or started again.
    Ping(usize),
    Restart(usize),
    /// The network takes a worker's first message, or knows no such worker.
    Take(usize),
    Unreachable(usize),
    /// The capture's disk comes to stand, and everything waits for it; or it goes on.
    Disk,
    /// The second stream is fed by another source from the next scan on; of the two, one is on demand.
    Swap,
    /// The capture of the current scan, or a late word of the one before, is closed.
    Captured,
    CapturedOld,
    /// So much time passes that everything overdue is.
    Wait,
    /// One turn of the forwarder.
    Turn,
}

impl Op {
    /// What an undisturbed scan is made of.
    pub(super) fn is_usual(self) -> bool {
        matches!(
            self,
            Self::Assign | Self::Obey(_) | Self::Event(_) | Self::Ping(_) | Self::Take(_) | Self::Captured | Self::Turn
        )
    }
}

/// All of them.
pub(super) const ALL: [Op; 32] = [
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
];

/// How much a history may have of what makes ever new states.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Bounds {
    pub(super) scans: usize,
    /// In each run of a source.
    pub(super) events: usize,
    /// Of each worker.
    pub(super) restarts: u32,
    pub(super) swaps: usize,
    /// The capture may hold everything back.
    pub(super) blocks: bool,
    /// The second stream begins with a source on demand.
    pub(super) on_demand: bool,
}

/// Whom the assignment of a number names: both streams with different workers, one worker twice and nobody, one stream, a stream of
/// others.
pub(super) fn plan(number: u64) -> Named {
    match number % 4 {
        0 => vec![(0, vec![0]), (1, vec![0, 1])],
        1 => vec![(1, vec![]), (0, vec![1, 1])],
        2 => vec![(0, vec![1])],
        _ => vec![],
    }
}
