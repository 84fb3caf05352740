//! The captures of real detectors, and the protocol of each.

use framegate_tests::captures;

use crate::{
    ours::{self, Protocol},
    sardana,
};

/// A message of a detector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) parts: Vec<Vec<u8>>,
    /// Whether some of its bytes were changed at random.
    pub(crate) is_damaged: bool,
}

/// The messages of one detector.
#[derive(Debug)]
pub(crate) struct Capture {
    pub(crate) name: &'static str,
    pub(crate) protocol: &'static Protocol,
    pub(crate) messages: Vec<Message>,
}

impl Message {
    pub(crate) fn new<P: Into<Vec<u8>>>(parts: impl IntoIterator<Item = P>) -> Self {
        Self { parts: parts.into_iter().map(Into::into).collect(), is_damaged: false }
    }

    pub(crate) fn first(&self) -> &[u8] {
        self.parts.first().map_or(&[], Vec::as_slice)
    }
}

impl Capture {
    /// The same with short payloads: no code reads them, and long ones cost time in each of many cases.
    pub(crate) fn shortened(&self) -> Self {
        let mut messages = self.messages.clone();
        messages.iter_mut().flat_map(|message| &mut message.parts).for_each(|part| part.truncate(ENOUGH));
        Self { name: self.name, protocol: self.protocol, messages }
    }
}

/// All captures.
pub(crate) fn all() -> Vec<Capture> {
    let files: [(&'static str, &'static Protocol); 10] = [
        ("albaem-dump.cbors", &ours::ALBAEM),
        ("contrast-dump.cbors", &ours::CONTRAST),
        ("dump_xrd.cbors", &ours::STINS),
        ("eiger-small.cbors", &ours::EIGER_LEGACY),
        ("maui-02-continuous-3.cbor.gz", &ours::LECROY),
        ("maui-02-sequential-3.cbor.gz", &ours::LECROY),
        ("pcap-zmq.cbors", &ours::PCAP),
        ("xspress3-dump.cbors", &ours::XSPRESS),
        ("xspress3mini-dump20.cbors", &ours::XSPRESS),
        ("xspress3-multipart.cbors", &ours::XSPRESS),
    ];
    let mut captures: Vec<_> =
        files.into_iter().map(|(name, protocol)| Capture { name, protocol, messages: read(name) }).collect();
    captures.push(position_capture());
    captures.push(sardana::scan());
    captures
}

fn read(name: &str) -> Vec<Message> {
    captures::read(name).into_iter().map(Message::new).collect()
}

/// A PandABox on its own port, in two arms.
fn position_capture() -> Capture {
    let lines = captures::position_capture(0, 5).into_iter().chain(["\n".to_owned()]);
    let messages = lines.chain(captures::position_capture(1, 5)).map(|line| Message::new([line])).collect();
    Capture { name: "position capture over TCP", protocol: &ours::PCAP_RAW, messages }
}

const ENOUGH: usize = 4096;
