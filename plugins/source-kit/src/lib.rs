//! What all of framegate's sources share, independent of the transport (ZeroMQ, TCP or HTTP).
//!
//! - [`RunState`] and [`Flow`]: the states of a run (before its start, running, ended), and the counts of messages that
//!   gave no event;
//! - [`json`]: JSON as Python's detectors write it, read and written exactly as pydantic does;
//! - [`Millis`], [`Bytes`]: human-readable times and sizes in settings;
//! - `Reactor` (feature `reactor`): waiting with tokio, for TCP and HTTP sources;
//! - [`testing`]: a host to test a source with.
//!
//! It knows no socket. ZeroMQ sources use `framegate-zmq-source`, which re-exports all of this.
#![forbid(unsafe_code)]

mod flow;
pub mod json;
mod quantities;
#[cfg(feature = "reactor")]
mod reactor;
mod received;
mod state;
pub mod testing;

use framegate_plugin_api::Frame;
use smallvec::SmallVec;

/// The frames of one message or event; most have few, so they are stored inline.
pub type Frames = SmallVec<[Frame; 2]>;

#[cfg(feature = "reactor")]
pub use crate::reactor::Reactor;
pub use crate::{
    flow::Flow,
    quantities::{Bytes, Millis},
    state::{Malformed, Phase, RunState, Runs},
};
