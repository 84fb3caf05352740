//! Shared code of framegate's ZeroMQ sources, so that a protocol reads as a table.
//!
//! ```text
//!   detector ──> links (native, or libzmq) ──> message ──> assembler ──> flow ──> events
//!                transport.rs                  frames      the protocol   (source-kit)
//! ```
//!
//! A source is an [`Upstream`] (where and how to connect) and an [`Assembler`] (how messages become events). If each
//! message is one event, the assembler is [`PerMessage`] around a [`Protocol`], which only decides the kind of a
//! message:
//!
//! ```
//! use framegate_plugin_api::Frame;
//! use framegate_zmq_source::{Malformed, Protocol, Role, json};
//!
//! #[derive(Default)]
//! struct Ticks;
//! impl Protocol for Ticks {
//!     const TYP: &'static str = "ticks";
//!     fn role(&mut self, parts: &[Frame]) -> Result<Role, Malformed> {
//!         let [what] = json::fields(parts[0].as_slice(), &["what"])?;
//!         match what {
//!             Some(what) if what.is_str("begin") => Ok(Role::Start),
//!             Some(what) if what.is_str("tick") => Ok(Role::Data),
//!             Some(what) if what.is_str("end") => Ok(Role::End),
//!             _ => Err(Malformed::new("no `what` of begin, tick or end")),
//!         }
//!     }
//! }
//! ```
//!
//! Detectors send Python's JSON, not standard JSON: [`json`] accepts exactly what pydantic accepts.
#![forbid(unsafe_code)]

mod curve;
mod endpoint;
#[cfg(feature = "libzmq")]
mod libzmq;
mod names;
mod native;
mod protocol;
mod run;
mod settings;
pub mod testing;
mod transport;

pub use framegate_source_kit::{Bytes, Flow, Frames, Malformed, Millis, Phase, json};

pub use crate::{
    endpoint::{Attach, Endpoint, Endpoints},
    protocol::{Assembler, PerMessage, Protocol, Role},
    run::{Upstream, ZmqRun},
    settings::{BetweenScans, Pattern, Transport, ZmqSettings},
};
