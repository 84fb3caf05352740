//! Unserved senders at the workers' port: always counted, and named a few times.
//!
//! Anybody who can reach the port can increase these counts, but nothing else: the number of stored names and log lines
//! is limited.

use std::collections::BTreeSet;

use crate::names::WorkerName;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    /// Messages that are not pings: wrong length, not a v4 uuid, or an identity that is not a valid worker name.
    pub(crate) junk: u64,
    /// Pings of workers whose names are not allowed.
    pub(crate) pings_not_allowed: u64,
    /// Messages that assignments address to such workers.
    pub(crate) messages_not_allowed: u64,
    /// Pings of new workers for which there was no place, except that of a worker that had pinged once.
    pub(crate) without_place: u64,
    /// The first names that are not allowed.
    pub(crate) names: BTreeSet<WorkerName>,
    /// Lines for the log.
    lines: Vec<String>,
}

impl Strangers {
    pub(super) fn not_allowed(&mut self, name: &WorkerName, what: &str) {
        if self.names.contains(name) || self.names.len() >= NAMES {
            return;
        }
        self.names.insert(name.clone());
        self.lines.push(format!("worker {name} is not served: `workers` does not allow its name, but {what}"));
        if self.names.len() == NAMES {
            self.lines.push(format!("{NAMES} names are not allowed; further ones are counted and not named"));
        }
    }

    /// A worker at the port has the name of one inside the program.
    pub(super) fn has_name_of_inside(&mut self, name: &WorkerName) {
        if self.names.len() < NAMES && self.names.insert(name.clone()) {
            self.lines
                .push(format!("worker {name} is not served: a worker of this program has its name, but it pings"));
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

    /// New lines for the log.
    pub(crate) fn take_lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }
}

/// Maximum number of names.
const NAMES: usize = 16;
