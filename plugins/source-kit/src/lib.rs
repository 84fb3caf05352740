//! What all of framegate's sources share, whatever brings their messages: ZeroMQ, TCP or HTTP.
//!
//! - [`RunState`] and [`Flow`]: the states of a run (before its start, running, ended), and the account of what gave no event;
//! - [`json`]: JSON as Python's detectors write it, read and written exactly as pydantic does;
//! - [`Millis`], [`Bytes`]: times and sizes in settings, as people write them;
//! - `Reactor` (feature `reactor`): waiting with tokio, for sources that speak TCP or HTTP;
//! - [`testing`]: a host to test a source with.
//!
//! It knows no socket. Sources on ZeroMQ use `framegate-zmq-source`, which passes all of this on.
#![forbid(unsafe_code)]

mod flow;
pub mod json;
mod quantities;
#[cfg(feature = "reactor")]
mod reactor;
mod received;
mod state;
pub mod testing;

#[cfg(feature = "reactor")]
pub use crate::reactor::Reactor;
pub use crate::{
    flow::Flow,
    quantities::{Bytes, Millis},
    state::{Malformed, Phase, RunState, Runs},
};
