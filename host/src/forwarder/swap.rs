//! Replaces sources at the start of a scan, never within one.
//!
//! The thread of a new source is running and its source is created; here only handles are exchanged, without waiting.
//! The old one is returned to the sender of the new one, which waits for its end.

use std::{mem, time::Duration};

use super::Forwarder;
use crate::{
    names::ScanId,
    source::{
        order::Order,
        replacement::{Replacement, Told},
    },
};

impl Forwarder {
    /// From this scan on, each stream with a waiting replacement is fed by it.
    pub(super) fn replace_sources(&mut self, scan: ScanId) {
        let limit = self.ingester.limits().source_timeout;
        for (stream, input) in self.inputs.iter_mut().enumerate() {
            let hangs = input.reader.overdue(limit).is_some();
            let Some(Replacement { number, reader, on_demand, when_full, recovers, .. }) = input.next.take() else {
                if hangs {
                    let _ = self.told.send(Told::Hangs(input.reader.stream().clone()));
                }
                continue;
            };
            if recovers && !hangs {
                let _ = self.told.send(Told::NotNeeded { number });
                continue;
            }
            let mut old = mem::replace(&mut input.reader, reader);
            // Half of the time that opening may take: the new source needs some of it too. A hanging source is not waited for.
            let patience = if hangs { Duration::ZERO } else { limit / 2 };
            let predecessor = old.retire(patience);
            // The receiver is gone when the host stops.
            let _ = self.told.send(Told::Effective { number, scan, old });
            if let Some(predecessor) = predecessor {
                input.reader.order(Order::Succeed(predecessor));
            }
            for (name, value) in &input.values {
                input.reader.order(Order::SetParameter { name: name.clone(), value: value.clone() });
            }
            input.when_full = when_full;
            self.ingester.replaced(stream, on_demand);
            self.ingester.fed_by(stream, input.reader.source().to_owned());
        }
    }

    pub(super) fn tell(&self, told: Told) {
        // The receiver is gone when the host stops.
        let _ = self.told.send(told);
    }
}
