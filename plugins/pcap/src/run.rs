//! A message in, its samples out: the run of position capture.
//!
//! Pure; runs on the reader thread. Keeps one message that is being taken apart, so that the host can hold back in the middle of
//! it, and nothing else. The states of the run are those of every source and live in `framegate-source-kit`.

use framegate_plugin_api::{Frame, Frames};
use framegate_zmq_source::{Assembler, Flow, Malformed, Phase};

use crate::{messages::Packet, split::Split};

/// Start and end go on as they came; of data each sample is an event.
#[derive(Debug)]
pub struct PcapAssembler {
    max_split: u64,
    /// The message whose samples are being given.
    open: Option<Split>,
}

impl PcapAssembler {
    /// Skips messages whose samples would have more than `max_split` bytes in all.
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
                    // Frame numbers that the publisher left out are counted as lost on the way.
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
