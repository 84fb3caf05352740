//! Who speaks at the workers' port and is not served: counted always, named a few times.
//!
//! Anybody who reaches the port can make these counts grow, and nothing else: names are kept, and lines are logged, up to a
//! limit.

use std::collections::BTreeMap;

use crate::names::WorkerName;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    /// Messages that are no pings: another length, no v4 uuid, or from an identity that is no worker's name.
    pub(crate) junk: u64,
    /// Pings of workers whose names are not allowed.
    pub(crate) pings_not_allowed: u64,
    /// Messages that assignments wanted to go to such workers.
    pub(crate) messages_not_allowed: u64,
    /// Pings of new workers for which there was no place, or no other than that of one that had pinged once.
    pub(crate) without_place: u64,
    /// The first names that are not allowed, and what was seen of them.
    pub(crate) names: BTreeMap<WorkerName, &'static str>,
    /// What to log.
    lines: Vec<String>,
}

impl Strangers {
    pub(super) fn not_allowed(&mut self, name: &WorkerName, what: &'static str) {
        if self.names.contains_key(name) || self.names.len() >= NAMES {
            return;
        }
        self.names.insert(name.clone(), what);
        self.lines.push(format!("worker {name} is not served: `workers` does not allow its name, but {what}"));
        if self.names.len() == NAMES {
            self.lines.push(format!("{NAMES} names are not allowed; further ones are counted and not named"));
        }
    }

    pub(super) fn too_many(&mut self, most: usize) {
        if self.without_place == 0 {
            self.lines.push(format!(
                "{most} workers are connected: new ones are not served, or take the places of those that have pinged only once; \
                 they are counted"
            ));
        }
        self.without_place += 1;
    }

    /// What is new, for the log.
    pub(crate) fn take_lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }
}

/// Names that are kept.
const NAMES: usize = 16;
