//! A message in, an event out: the run of a scan of Contrast.
//!
//! Pure. All sources share the states (before the start, running, ended), which are in `framegate-source-kit`;
//! this file only decides the kind of each message. Between messages only the pickle reader's buffers are kept, never a
//! message.

use framegate_zmq_source::{Assembler, Flow, Frames, Malformed, Phase};

use crate::{
    messages::Packet,
    pickle::{Reader, Refusal},
};

/// Turns each message of one run into one event; forwards all parts unchanged.
#[derive(Debug, Default)]
pub struct ContrastRun {
    reader: Reader,
}

impl Assembler for ContrastRun {
    const TYP: &'static str = "contrast";

    fn take(&mut self, message: Frames, flow: &mut Flow<'_, '_>) {
        let Some(first) = message.first() else { return };
        match Packet::read(&mut self.reader, first.as_slice()) {
            Ok(Packet::Started) => flow.start(message),
            Ok(Packet::Running) => flow.data(message),
            Ok(Packet::Finished) => flow.end(message),
            Ok(Packet::Heartbeat) => {}
            // Before the start, every other message is junk.
            Err(Refusal(why)) if flow.phase() == Phase::Before => flow.junk(first.as_slice(), why),
            Err(Refusal(why)) => flow.skip(Malformed::new(why)),
        }
    }
}
