//! The state of control, for status: one value, always the latest.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{counter::Counter, names::IngesterName};

/// The controller of the host, whether it is reachable, and which of its messages could not be understood.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ControlReport {
    /// `redis` or `standalone`.
    pub driver: &'static str,
    /// The address of Redis: `host:port/database`, never with a password. `None` in standalone.
    pub address: Option<String>,
    /// `connecting` until Redis answers for the first time, then `up` or `down`; `standalone` without Redis.
    pub state: &'static str,
    /// Since when `state` holds; RFC 3339.
    pub since: String,
    /// The last problem, whether or not it persists.
    pub last_problem: Option<ControlProblem>,
    /// All input that could not be used, by reason, since the start of the process.
    pub counters: BTreeMap<Counter, u64>,
    /// Current faults, in words, by subject (`ingester NAME`, `parameter NAME`).
    pub faults: BTreeMap<String, String>,
    /// Ingesters that are idle now, because a younger instance with their name serves.
    pub stepped_back: BTreeSet<IngesterName>,
}

/// Something that went wrong in control.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ControlProblem {
    /// Time; RFC 3339.
    pub at: String,
    /// Description.
    pub what: String,
}

impl ControlReport {
    pub(crate) fn standalone() -> Self {
        Self {
            driver: "standalone",
            address: None,
            state: "standalone",
            since: now(),
            last_problem: None,
            counters: BTreeMap::new(),
            faults: BTreeMap::new(),
            stepped_back: BTreeSet::new(),
        }
    }

    pub(crate) fn redis(address: String) -> Self {
        Self { driver: "redis", address: Some(address), state: "connecting", ..Self::standalone() }
    }
}

/// The current time in RFC 3339, to the millisecond.
pub(crate) fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}
