//! How control fares, for status: one value, always the latest.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::names::IngesterName;

/// Who controls the host, whether it can be reached, and what of its words could not be understood.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ControlReport {
    /// `redis` or `standalone`.
    pub driver: &'static str,
    /// Where Redis is: `host:port/database`, never with a password. None in standalone.
    pub address: Option<String>,
    /// `connecting` until Redis answers for the first time, then `up` or `down`; `standalone` without Redis.
    pub state: &'static str,
    /// Since when `state` holds; RFC 3339.
    pub since: String,
    /// The last thing that went wrong, whether or not it still is.
    pub last_problem: Option<ControlProblem>,
    /// Everything that came and could not be used, by reason, over the life of the process.
    pub counters: BTreeMap<&'static str, u64>,
    /// Things that are wrong now, in words, by what they concern (`ingester NAME`, `parameter NAME`).
    pub faults: BTreeMap<String, String>,
    /// Ingesters that do nothing now, because a younger instance of their name serves.
    pub stepped_back: BTreeSet<IngesterName>,
}

/// Something that went wrong in control.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ControlProblem {
    /// When; RFC 3339.
    pub at: String,
    /// What, in words.
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

/// The time in RFC 3339, to the millisecond.
pub(crate) fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}
