//! One instance of a source that feeds one stream, behind the binary interface. On the reader thread, all of it.
//!
//! `framegate_plugin_abi::caller` makes the calls and checks of the interface; this module adapts them for a reader.

use std::time::Duration;

#[cfg(feature = "plugins")]
use framegate_isolation::Apart;
use framegate_plugin_abi::caller::{self, Frames as GivenFrames, Limits};
use framegate_plugin_api::{Frame, Progress};
use jiff::{SignedDuration, Timestamp};

use super::{BATCH_BYTES, BATCH_EVENTS, Fault, Ledger, RunStatus, parameter::Parameter};
use crate::{
    budget::COPY_BELOW,
    event::{Event, Frames},
};

/// See the module.
pub(crate) struct Instance {
    calls: Calls,
    /// The last one that it told: connected, the address, and since when. A time that is the same must not differ by
    /// milliseconds from answer to answer.
    connection: Option<(bool, String, Timestamp)>,
}

/// Where its code runs.
enum Calls {
    Here(caller::Instance),
    #[cfg(feature = "plugins")]
    Apart(Box<Apart>),
}

const LIMITS: Limits = Limits { events: BATCH_EVENTS, bytes: BATCH_BYTES };

/// Makes the same call to a source here and in a process of its own.
macro_rules! calls {
    ($calls:expr, $instance:ident => $call:expr) => {
        match $calls {
            Calls::Here($instance) => $call,
            #[cfg(feature = "plugins")]
            Calls::Apart($instance) => $call,
        }
    };
}

impl Instance {
    /// In this process.
    pub(super) fn here(calls: caller::Instance) -> Self {
        Self { calls: Calls::Here(calls), connection: None }
    }

    /// In a process of its own.
    #[cfg(feature = "plugins")]
    pub(super) fn apart(calls: Apart) -> Self {
        Self { calls: Calls::Apart(calls.into()), connection: None }
    }

    /// The fault after which the source is no longer called.
    pub(super) fn poison(&self) -> Option<&str> {
        calls!(&self.calls, instance => instance.poison())
    }

    /// Looks whether its process lives; the answer is its poison.
    pub(super) fn look(&mut self) {
        match &mut self.calls {
            Calls::Here(_) => {}
            #[cfg(feature = "plugins")]
            Calls::Apart(instance) => instance.look(),
        }
    }

    /// The ledger that counts its frames.
    pub(super) fn ledger(&self) -> &'static Ledger {
        calls!(&self.calls, instance => instance.ledger())
    }

    /// Whether the source answers [`Instance::trigger`] instead of [`Instance::next`].
    pub(super) fn on_demand(&self) -> bool {
        calls!(&self.calls, instance => instance.on_demand())
    }

    /// Opens the run of a scan.
    pub(super) fn open(&mut self) -> Result<(), Fault> {
        calls!(&mut self.calls, instance => instance.open())
    }

    /// Sets a parameter.
    pub(super) fn set_parameter(&mut self, name: &str, value: &[u8]) -> Result<(), Fault> {
        calls!(&mut self.calls, instance => instance.set_parameter(name, value))
    }

    /// Descriptions of its run-time parameters.
    pub(super) fn parameters(&mut self) -> Result<Vec<Parameter>, Fault> {
        let Some(json) = calls!(&mut self.calls, instance => instance.parameters())? else { return Ok(Vec::new()) };
        serde_json::from_str(&json)
            .map_err(|problem| Fault::Garbage { call: "parameters", answer: format!("{json:.100} ({problem})") })
    }

    /// Appends events to `out`. They stay valid if an error follows. `most`: how long the source may wait.
    pub(super) fn next(&mut self, out: &mut Vec<Event>, most: Duration) -> Result<Progress, Fault> {
        match &mut self.calls {
            Calls::Here(instance) => instance.next(LIMITS, most, |typ, kind, frames| {
                out.push(Event { typ, kind, frames: gather(frames) });
            }),
            #[cfg(feature = "plugins")]
            Calls::Apart(instance) => {
                instance.next(LIMITS, most, |typ, kind, frames| out.push(Event { typ, kind, frames }))
            }
        }
    }

    /// Gives the event for `event_number`.
    pub(super) fn trigger(&mut self, event_number: u64, out: &mut Vec<Event>) -> Result<(), Fault> {
        match &mut self.calls {
            Calls::Here(instance) => instance.trigger(event_number, LIMITS, |typ, kind, frames| {
                out.push(Event { typ, kind, frames: gather(frames) });
            }),
            #[cfg(feature = "plugins")]
            Calls::Apart(instance) => {
                instance.trigger(event_number, |typ, kind, frames| out.push(Event { typ, kind, frames }))
            }
        }
    }

    /// Lets the run keep its connections alive. A source that fails here also fails in its next call, which reports the error.
    pub(super) fn held_back(&mut self) {
        let _ = calls!(&mut self.calls, instance => instance.held_back());
    }

    /// What the run tells about itself.
    pub(super) fn status(&mut self) -> RunStatus {
        // A source that fails here also fails in its next call, which reports the error.
        let told = calls!(&mut self.calls, instance => instance.status()).unwrap_or_default();
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
        match calls!(&mut self.calls, instance => instance.close()) {
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
