//! Replaces sources at the start of a scan, never within one.
//!
//! The thread of a new source is running and the source is ready; here only handles are exchanged, without waiting. The
//! new reader gets the old one with its first order, and waits for its end.

use std::{
    mem,
    time::{Duration, Instant},
};

use super::Forwarder;
use crate::{
    names::ScanId,
    source::{
        reader::{Order, TakeOver},
        replacement::{Replacement, SourceNotice},
    },
};

impl Forwarder {
    /// From this scan on, each stream with a waiting replacement is fed by it.
    pub(super) fn replace_sources(&mut self, scan: ScanId) {
        let limit = self.ingester.limits().source_timeout;
        for stream in 0..self.inputs.len() {
            let input = &mut self.inputs[stream];
            let hangs = input.reader.shared.overdue(limit).is_some();
            match input.next.take() {
                None if hangs => {
                    let stream = input.reader.shared.stream.clone();
                    self.notify(SourceNotice::Hangs(stream));
                }
                None => {}
                Some(Replacement { number, recovers: true, .. }) if !hangs => {
                    self.notify(SourceNotice::NotNeeded { number })
                }
                Some(replacement) => {
                    // Half of the time that opening may take: the new source needs some of it too. A hanging source is
                    // not waited for.
                    self.replace(stream, replacement, scan, if hangs { Duration::ZERO } else { limit / 2 });
                }
            }
        }
    }

    fn replace(&mut self, stream: usize, new: Replacement, scan: ScanId, patience: Duration) {
        let Replacement { number, reader, .. } = new;
        let (input, notices, since) = (&mut self.inputs[stream], self.notices.clone(), Instant::now());
        self.ingester.replaced(stream, reader.shared.is_on_demand());
        let old = mem::replace(&mut input.reader, reader);
        old.stop();
        let done = Box::new(move |took| {
            let took = Box::new(took);
            // The receiver is gone when the host stops.
            let _ = notices.send(SourceNotice::TookOver { number, scan, since, took });
        });
        input.from = Some(TakeOver { old, until: since + patience, done });
        for (name, value) in &input.values {
            input.reader.order(Order::SetParameter { name: name.clone(), value: value.clone() });
        }
    }

    pub(super) fn notify(&self, notice: SourceNotice) {
        // The receiver is gone when the host stops.
        let _ = self.notices.send(notice);
    }
}
