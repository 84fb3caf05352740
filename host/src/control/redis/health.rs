//! The state of Redis and of the data that comes from it: logs each change once, counts repetitions, and keeps the
//! state for status.
//!
//! Its arguments contain text from outside; they are stored as plain lines for people. Shared by all tasks of the
//! driver: when several connections break together, the log gets one line, not one for each.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::watch;

use crate::{
    control::report::{ControlProblem, ControlReport, ControlState, FaultSubject, now},
    counter::Counter,
    names::IngesterName,
    observe::plain::short,
};

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Health {
    report: watch::Sender<ControlReport>,
    /// Number of links that cannot reach Redis now. Has its own lock, because a line is logged between counting and reporting.
    lost: Arc<Mutex<usize>>,
    /// Whether Redis was reachable at least once since the start.
    served_before: Arc<AtomicBool>,
}

impl Health {
    pub(super) fn new(report: watch::Sender<ControlReport>) -> Self {
        Self { report, lost: Arc::default(), served_before: Arc::default() }
    }

    /// A link lost its connection, or could not connect.
    pub(super) fn lost(&self, problem: &str) {
        let problem = short(problem);
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        *lost += 1;
        if *lost > 1 {
            self.still_lost(&problem);
            return;
        }
        let mut address = String::new();
        self.report.send_modify(|report| {
            (report.state, report.since) = (ControlState::Down, now());
            report.last_problem = Some(ControlProblem { at: now(), what: problem.clone() });
            address = report.address.clone().unwrap_or_default();
        });
        tracing::warn!(
            "no connection to Redis at {address}: {problem}; retrying. Events that are already assigned are still sent"
        );
    }

    /// A lost link now has another problem: updates the status, but logs nothing.
    pub(super) fn still_lost(&self, problem: &str) {
        let problem = short(problem);
        self.report.send_if_modified(|report| {
            let new = report.last_problem.as_ref().is_none_or(|last| last.what != problem);
            if new {
                report.last_problem = Some(ControlProblem { at: now(), what: problem.clone() });
            }
            new
        });
    }

    /// A link works, after [`Health::lost`] if `again`.
    pub(super) fn served(&self, again: bool) {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        *lost -= usize::from(again);
        self.served_before.store(true, Ordering::Relaxed); // only for a message
        if *lost > 0 || self.report.borrow().state == ControlState::Up {
            return;
        }
        let mut address = String::new();
        self.report.send_modify(|report| {
            (report.state, report.since) = (ControlState::Up, now());
            address = report.address.clone().unwrap_or_default();
        });
        tracing::info!("connected to Redis at {address}");
    }

    /// Whether a link ever worked at this address.
    pub(super) fn served_before(&self) -> bool {
        self.served_before.load(Ordering::Relaxed)
    }

    /// Counts input that could not be used, and logs it once for each kind.
    pub(super) fn complain(&self, kind: Counter, detail: &dyn std::fmt::Display) {
        let mut first = false;
        let detail = short(&detail.to_string());
        self.report.send_modify(|report| {
            let count = report.counters.entry(kind).or_default();
            *count += 1;
            first = *count == 1;
            report.last_problem = Some(ControlProblem { at: now(), what: format!("{}: {detail}", kind.in_a_line()) });
        });
        if first {
            tracing::warn!("{}: {detail} (the next ones are only counted, as {kind})", kind.in_a_line());
        }
    }

    /// Records a fault, which stays until it is resolved.
    pub(super) fn fault(&self, subject: FaultSubject, what: &str) {
        let what = &short(what);
        let mut new = false;
        self.report.send_if_modified(|report| {
            new = report.faults.get(&subject).is_none_or(|known| known != what);
            if new {
                report.faults.insert(subject.clone(), what.to_owned());
            }
            new
        });
        if new {
            tracing::error!("{subject}: {what}");
        }
    }

    /// Records whether a younger instance serves for one of our ingesters. Returns whether that has changed.
    pub(super) fn stepped_back(&self, ingester: &IngesterName, is: bool) -> bool {
        self.report.send_if_modified(|report| match is {
            true => report.stepped_back.insert(ingester.clone()),
            false => report.stepped_back.remove(ingester),
        })
    }

    /// Whether a younger instance serves for one of our ingesters.
    pub(super) fn has_stepped_back(&self, ingester: &IngesterName) -> bool {
        self.report.borrow().stepped_back.contains(ingester)
    }

    /// Resolves a fault.
    pub(super) fn resolve(&self, subject: &FaultSubject) {
        self.report.send_if_modified(|report| report.faults.remove(subject).is_some());
    }
}
