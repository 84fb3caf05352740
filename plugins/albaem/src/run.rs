//! A message in, an event out: the run of an electrometer.
//!
//! Pure. The states (before the start, running, ended) are those of every ZeroMQ source and live in
//! `framegate-zmq-source`; here is only which message is which.

use framegate_plugin_api::Frame;
use framegate_zmq_source::{Malformed, Protocol, Role};

use crate::messages::Packet;

/// The protocol. Electrometers send one part; more would be passed on as they came.
#[derive(Debug, Default)]
pub struct AlbaemProtocol;

impl Protocol for AlbaemProtocol {
    const TYP: &'static str = "albaem";

    fn role(&mut self, parts: &[Frame]) -> Result<Role, Malformed> {
        let first = parts.first().ok_or(Malformed::new("no parts"))?;
        Ok(match Packet::read(first.as_slice())? {
            Packet::SeriesStart => Role::Start,
            Packet::Data { frame_number } => Role::data(frame_number),
            Packet::SeriesEnd => Role::End,
        })
    }
}
