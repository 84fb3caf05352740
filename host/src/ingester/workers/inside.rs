//! Workers inside the program: they join and leave without a connection, and nobody at the port can have their names.

use std::time::{Instant, SystemTime};

use uuid::Uuid;

use super::Workers;
use crate::names::WorkerName;

/// Why a worker inside the program cannot join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotJoined {
    /// The settings allow no worker of this name.
    NotAllowed,
    /// Another worker has the name.
    NameTaken,
    /// There are as many workers as there may be.
    NoPlace,
}

impl Workers {
    /// A worker inside the program joins.
    pub(crate) fn join(
        &mut self,
        name: &WorkerName,
        service_uuid: Uuid,
        now: Instant,
        wall: SystemTime,
    ) -> Result<(), NotJoined> {
        if !self.allowed.allow(name) {
            return Err(NotJoined::NotAllowed);
        }
        let known = self.by_name.get(name).copied();
        if self.inside.contains(name) || known.is_some_and(|index| self.all[index].is_connected(now)) {
            return Err(NotJoined::NameTaken);
        }
        known.or_else(|| self.place_for(name, now)).ok_or(NotJoined::NoPlace)?;
        self.inside.insert(name.clone());
        self.beat(name, service_uuid, now, wall);
        Ok(())
    }

    /// A worker inside the program is alive.
    pub(crate) fn beat(&mut self, name: &WorkerName, service_uuid: Uuid, now: Instant, wall: SystemTime) {
        let index = self.by_name.get(name).copied().or_else(|| self.place_for(name, now));
        if let Some(index) = index {
            self.heard(index, service_uuid, now, wall);
        }
    }

    /// A worker inside the program is gone.
    pub(crate) fn leave(&mut self, name: &WorkerName) {
        self.inside.remove(name);
        if let Some(index) = self.by_name.get(name) {
            self.all[*index].last_ping = None;
        }
    }
}
