//! A message in, its samples out: the run of position capture.
//!
//! Pure; runs on the reader thread. Keeps only the message that is being split, so that the host can pause in the
//! middle of it. All sources share the states of the run, which are in `framegate-source-kit`.

use framegate_plugin_api::Frame;
use framegate_zmq_source::{Assembler, Flow, Frames, Malformed, Phase};

use crate::{messages::Packet, split::Split};

/// Forwards start and end unchanged; each sample of a data message becomes an event.
#[derive(Debug)]
pub struct PcapAssembler {
    max_split: u64,
    /// The message that is being split.
    open: Option<Split>,
}

impl PcapAssembler {
    /// Creates an assembler that skips messages whose samples have more than `max_split` bytes in total.
    #[must_use]
    pub fn new(max_split: u64) -> Self {
        Self { max_split, open: None }
    }

    fn split(&self, message: &Frames, message_id: &str, frame_number: &str) -> Result<Split, Malformed> {
        match message.as_slice() {
            [only] => Split::new(only.as_slice(), message_id, frame_number, self.max_split),
            _ => Err(Malformed::new("data of more than one part")),
        }
    }
}

impl Assembler for PcapAssembler {
    const TYP: &'static str = "PCAP";

    fn take(&mut self, message: Frames, flow: &mut Flow<'_, '_>) {
        let first = message.first().map_or(&b""[..], Frame::as_slice);
        match Packet::read(first) {
            Ok(Packet::Start) => flow.start(message),
            Ok(Packet::End) => flow.end(message),
            Ok(Packet::Data { .. }) if flow.phase() == Phase::Before => {
                flow.junk(first, "data, without a start in this scan");
            }
            Err(why) if flow.phase() == Phase::Before => flow.junk(first, why),
            Ok(Packet::Data { message_id, frame_number }) => match self.split(&message, &message_id, &frame_number) {
                Ok(split) => self.open = Some(split),
                Err(why) => flow.skip(why),
            },
            Err(why) => flow.skip(why),
        }
    }

    fn rest(&mut self, flow: &mut Flow<'_, '_>) -> bool {
        while let Some(split) = &mut self.open {
            if flow.is_full() {
                return true;
            }
            let number = split.number();
            match split.next() {
                Some(sample) => {
                    // Also counts frame numbers that the publisher skipped as lost.
                    if let Some(number) = number {
                        flow.number(number);
                    }
                    flow.data([Frame::from_vec(sample)]);
                }
                None => self.open = None,
            }
        }
        false
    }

    fn bytes_waiting(&self) -> u64 {
        self.open.as_ref().map_or(0, Split::bytes_left)
    }
}
