//! What real detectors sent: the captures of dranspose's source distribution, and which protocol each is of.

use std::{fs::File, io::Read};

use ciborium::Value;
use flate2::read::GzDecoder;
use framegate_tests::python::suite_file;

use crate::{
    ours::{self, Protocol},
    sardana,
};

/// A message of a detector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) parts: Vec<Vec<u8>>,
    /// Whether bytes of it were changed at random.
    pub(crate) is_damaged: bool,
}

/// What one detector sent.
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
    /// The same with short payloads: nobody looks into them, and much of it costs time in each of many cases.
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
    let mut bytes = Vec::new();
    let file = File::open(suite_file(&format!("tests/data/{name}"))).unwrap();
    match name.ends_with(".gz") {
        true => GzDecoder::new(file).read_to_end(&mut bytes),
        false => { file }.read_to_end(&mut bytes),
    }
    .unwrap();
    let mut rest = bytes.as_slice();
    let mut messages = Vec::new();
    while !rest.is_empty() {
        messages.push(message(ciborium::from_reader(&mut rest).unwrap()));
    }
    messages
}

/// A capture of a socket has a message's parts, one of dranspose itself an event: `[number, {stream: [typ, parts]}]`, each
/// with a tag.
fn message(item: Value) -> Message {
    let mut items = list(item);
    if items.first().is_some_and(Value::is_bytes) {
        return Message::new(items.into_iter().map(|part| part.into_bytes().unwrap()));
    }
    let (_, event) = items.remove(1).into_map().unwrap().remove(0);
    let parts = list(event).remove(1);
    Message::new(list(parts).into_iter().map(|part| part.into_bytes().unwrap()))
}

fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        Value::Tag(_, inner) => list(*inner),
        other => panic!("{other:?} is no list"),
    }
}

/// No capture of a PandABox's own port exists; these are the lines of dranspose's simulated one (`stream_pcap` in its
/// `tests/conftest.py`), in two arms.
fn position_capture() -> Capture {
    let header = "arm_time: 2023-12-19T07:51:12.754Z\nmissed: 0\nprocess: Scaled\nformat: ASCII\nfields:\n \
                  PCAP.BITS2 uint32 Value\n COUNTER1.OUT double Min\n COUNTER1.OUT double Max\n\n";
    let arm = |arm: u32| {
        let lines = (1..6).map(move |line| format!(" {arm} {line} {line}.5 -0.25\n"));
        header.split_inclusive('\n').map(str::to_owned).chain(lines).chain(["END 5 Disarmed\n".to_owned()])
    };
    let messages = arm(0).chain(["\n".to_owned()]).chain(arm(1)).map(|line| Message::new([line])).collect();
    Capture { name: "position capture over TCP", protocol: &ours::PCAP_RAW, messages }
}

const ENOUGH: usize = 4096;
