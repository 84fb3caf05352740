//! A message in, an event out: the run of an electrometer.
//!
//! Pure. All sources share the states (before the start, running, ended), which are in `framegate-source-kit`;
//! this file only decides the kind of each message.

use framegate_plugin_api::Frame;
use framegate_zmq_source::{Malformed, Protocol, Role};

use crate::messages::Packet;

/// The protocol. Electrometers send one part; further parts would be forwarded unchanged.
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
