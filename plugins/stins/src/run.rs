//! A message in, an event out: the run of a STINS detector.
//!
//! Pure. All sources share the states (before the header, running, ended), which are in `framegate-source-kit`;
//! this file only decides the kind of each message.

use framegate_plugin_api::Frame;
use framegate_zmq_source::{Malformed, Protocol, Role, json};

use crate::messages::{FIELDS, LOOSE, Packet};

/// The protocol; forwards any number of parts unchanged.
#[derive(Debug)]
pub struct StinsProtocol(json::Alike<Packet, { FIELDS.len() }>);

impl Default for StinsProtocol {
    fn default() -> Self {
        Self(json::Alike::new(FIELDS, LOOSE))
    }
}

impl Protocol for StinsProtocol {
    const TYP: &'static str = "STINS";

    fn role(&mut self, parts: &[Frame]) -> Result<Role, Malformed> {
        let first = parts.first().ok_or(Malformed::new("no parts"))?;
        let (packet, number) = self.0.read(first.as_slice(), Packet::of)?;
        Ok(match packet {
            Packet::Header => Role::Start,
            Packet::Image => Role::data(number),
            Packet::SeriesEnd => Role::End,
        })
    }
}
