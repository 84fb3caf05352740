//! A message in, an event out: the run of a STINS detector.
//!
//! Pure. The states (before the header, running, ended) are those of every ZeroMQ source and live in
//! `framegate-zmq-source`; here is only which message is which.

use framegate_plugin_api::Frame;
use framegate_zmq_source::{Malformed, Protocol, Role, json};

use crate::messages::{FIELDS, Packet};

/// The protocol; any number of parts, passed on as they came.
#[derive(Debug)]
pub struct StinsProtocol(json::Fields<{ FIELDS.len() }>);

impl Default for StinsProtocol {
    fn default() -> Self {
        Self(json::Fields::new(FIELDS))
    }
}

impl Protocol for StinsProtocol {
    const TYP: &'static str = "STINS";

    fn role(&mut self, parts: &[Frame]) -> Result<Role, Malformed> {
        let first = parts.first().ok_or(Malformed::new("no parts"))?;
        Ok(match Packet::of(self.0.find(first.as_slice())?)? {
            Packet::Header => Role::Start,
            Packet::Image { msg_number } => Role::data(msg_number),
            Packet::SeriesEnd => Role::End,
        })
    }
}
