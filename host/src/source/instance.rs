//! One instance of a source that feeds one stream, behind the binary interface. On the reader thread, all of it.
//!
//! `framegate_plugin_abi::caller` makes the calls and checks of the interface; this module adapts them for a reader.

use std::time::Duration;

use framegate_plugin_abi::caller::{self, Frames as GivenFrames, Limits};
use framegate_plugin_api::{Frame, Progress};
use jiff::{SignedDuration, Timestamp};

use super::{BATCH_BYTES, BATCH_EVENTS, Fault, RunStatus, parameter::Parameter};
use crate::{
    budget::COPY_BELOW,
    event::{Event, Frames},
};

/// See the module.
pub(crate) struct Instance {
    /// For calls whose answers need no change.
    pub(super) calls: caller::Instance,
    /// The last one that it told: connected, the address, and since when. A time that is the same must not differ by
    /// milliseconds from answer to answer.
    connection: Option<(bool, String, Timestamp)>,
}

const LIMITS: Limits = Limits { events: BATCH_EVENTS, bytes: BATCH_BYTES };

impl Instance {
    pub(super) fn new(calls: caller::Instance) -> Self {
        Self { calls, connection: None }
    }

    /// Descriptions of its run-time parameters.
    pub(super) fn parameters(&mut self) -> Result<Vec<Parameter>, Fault> {
        let Some(json) = self.calls.parameters()? else { return Ok(Vec::new()) };
        serde_json::from_str(&json)
            .map_err(|problem| Fault::Garbage { call: "parameters", answer: format!("{json:.100} ({problem})") })
    }

    /// Appends events to `out`. They stay valid if an error follows. `most`: how long the source may wait.
    pub(super) fn next(&mut self, out: &mut Vec<Event>, most: Duration) -> Result<Progress, Fault> {
        self.calls.next(LIMITS, most, |typ, kind, frames| {
            out.push(Event { typ, kind, frames: gather(frames) });
        })
    }

    /// Gives the event for `event_number`.
    pub(super) fn trigger(&mut self, event_number: u64, out: &mut Vec<Event>) -> Result<(), Fault> {
        self.calls.trigger(event_number, LIMITS, |typ, kind, frames| {
            out.push(Event { typ, kind, frames: gather(frames) });
        })
    }

    /// Lets the run keep its connections alive. A source that fails here also fails in its next call, which reports the error.
    pub(super) fn held_back(&mut self) {
        let _ = self.calls.held_back();
    }

    /// What the run tells about itself.
    pub(super) fn status(&mut self) -> RunStatus {
        // A source that fails here also fails in its next call, which reports the error.
        let told = self.calls.status().unwrap_or_default();
        let connection = told.connected.map(|(connected, lasted)| {
            let since = Timestamp::now().saturating_sub(lasted).unwrap_or(Timestamp::MIN);
            (connected, told.peer.clone(), since)
        });
        match (&connection, &self.connection) {
            (Some((connected, peer, since)), Some((connected_before, peer_before, before)))
                if (connected, peer) == (connected_before, peer_before)
                    && since.duration_since(*before).abs() < SignedDuration::from_secs(1) => {}
            _ => self.connection = connection,
        }
        RunStatus { told, since: self.connection.as_ref().map(|(.., since)| *since) }
    }

    /// Drops the run, if one is open.
    pub(super) fn close(&mut self) {
        match self.calls.close() {
            Ok(()) | Err(Fault::Poisoned(_)) => {}
            Err(fault) => tracing::error!("closing a run: {fault}"),
        }
    }
}

/// The frames of one event. Frames of a small event are copied: the plugin's memory is released on the thread that
/// received it, and a waiting small frame does not pin a large buffer of the plugin.
fn gather(frames: GivenFrames<'_>) -> Frames {
    if frames.bytes() < COPY_BELOW {
        frames.map(|frame| Frame::copy(frame.as_slice())).collect()
    } else {
        frames.collect()
    }
}
