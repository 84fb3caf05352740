//! A message in, an event out: the run of a scan of Contrast.
//!
//! Pure. The states (before the start, running, ended) are those of every ZeroMQ source and live in
//! `framegate-zmq-source`; here is only which message is which. What is kept between messages is the pickle reader's
//! buffers, never a message.

use framegate_plugin_api::Frames;
use framegate_zmq_source::{Assembler, Flow, Malformed, Phase};

use crate::{
    messages::Packet,
    pickle::{Reader, Refusal},
};

/// What one run makes of its messages: one event each, all parts passed on as they came.
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
            // Before the start everything else is junk.
            Err(Refusal(why)) if flow.phase() == Phase::Before => flow.junk(first.as_slice(), why),
            Err(Refusal(why)) => flow.skip(Malformed::new(why)),
        }
    }
}
