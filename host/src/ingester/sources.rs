//! What the sources answer: a run is open, closed, at its end, or has failed.

use super::{Action, Ingester, report::SourceState};
use crate::{counter::Counter, events::HostEvent};

impl Ingester {
    /// Whether the source's run is open in a running scan: its calls should return soon.
    pub(crate) fn is_giving(&self, stream: usize) -> bool {
        self.scan.as_ref().is_some_and(|scan| scan.is_ready() && scan.streams[stream].source == SourceState::Open)
    }

    /// The source's run is open.
    pub(crate) fn opened(&mut self, stream: usize) {
        self.answered(stream, SourceState::Open);
    }

    /// No run of the source is open any more.
    pub(crate) fn closed(&mut self, stream: usize) {
        self.answered(stream, SourceState::Closed);
    }

    /// The run's last event was given.
    pub(crate) fn ended(&mut self, stream: usize) {
        self.answered(stream, SourceState::Ended);
    }

    /// The run has failed in this scan. Its earlier events stay valid.
    pub(crate) fn failed(&mut self, stream: usize, why: String) {
        let why = match self.streams[stream].fed_by.as_str() {
            "" => why,
            source => format!("{source}: {why}"),
        };
        // Logged once: a fault that repeats in each scan, perhaps with more details, is only counted and shown.
        if self.streams[stream].fault.as_ref().is_none_or(|known| !why.starts_with(known)) {
            tracing::error!(stream = %self.streams[stream].name, "the source failed: {why}");
            self.streams[stream].fault = Some(why.clone());
        }
        self.count(Counter::SourceFailures, 1);
        if let Some(scan) = &mut self.scan {
            // The first failure of a scan is the one that is shown.
            if scan.streams[stream].failure.is_none() {
                let (ingester, name) = (self.name.clone(), self.streams[stream].name.clone());
                let event = HostEvent::SourceFailed { ingester, stream: name, scan: scan.id, why: why.clone() };
                self.actions.push(Action::Tell(event));
                scan.streams[stream].failure = Some(why);
            }
        }
        self.answered(stream, SourceState::Failed);
    }

    fn answered(&mut self, stream: usize, state: SourceState) {
        let Some(scan) = &mut self.scan else { return };
        let known = &mut self.streams[stream];
        let stream = &mut scan.streams[stream];
        if matches!(state, SourceState::Ended | SourceState::Closed) && !stream.has_failed() {
            known.fault = None;
        }
        stream.awaited = false;
        // If a source opened after it was given up, its events would meet the wrong assignments: it stays failed in this scan.
        if !stream.has_failed() {
            stream.source = state;
        }
    }
}
