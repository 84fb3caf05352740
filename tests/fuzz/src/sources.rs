//! Input from detectors.

use framegate_albaem::run::AlbaemProtocol;
use framegate_contrast::run::ContrastRun;
use framegate_eiger_legacy::run::EigerLegacyProtocol;
use framegate_lecroy::run::LecroyAssembler;
use framegate_pcap::run::PcapAssembler;
use framegate_plugin_api::{Event, EventKind};
use framegate_sardana::messages::{Kind, Packet};
use framegate_stins::run::StinsProtocol;
use framegate_xspress::run::{Limits, XspressRun};
use framegate_zmq_source::{Assembler, PerMessage, json as kit, testing};

use crate::packed::{unpack, unpack_messages};

/// Maximum bytes that a source may keep, or make from a message.
const LIMIT: u64 = 1 << 20;

/// Feeds a ZeroMQ source messages of several parts, as one run.
fn run<A: Assembler>(assembler: A, bytes: &[u8]) {
    let messages = unpack_messages(bytes);
    let count = messages.len() as u64;
    let played = testing::play(assembler, messages);
    hold(&played.events);
    assert!(played.bytes_waiting <= LIMIT + bytes.len() as u64, "it keeps {} bytes", played.bytes_waiting);
    let received = played.counters.iter().find(|(name, _)| *name == "messages").map_or(0, |(_, count)| *count);
    assert_eq!(received, count);
    let invalid = played.counters.iter().find(|(name, _)| *name == "invalid").map_or(0, |(_, count)| *count);
    assert_eq!(invalid > 0, played.last_invalid.is_some(), "what is invalid is told");
}

/// Checks that each run begins with a start, and only a start follows an end.
fn hold(events: &[Event]) {
    let mut inside = false;
    for event in events {
        assert_eq!(event.kind != EventKind::Start, inside, "{:?} in the wrong place", event.kind);
        inside = event.kind != EventKind::End;
    }
}

pub(crate) fn stins(bytes: &[u8]) {
    run(PerMessage::<StinsProtocol>::default(), bytes);
}

pub(crate) fn eiger_legacy(bytes: &[u8]) {
    run(PerMessage::<EigerLegacyProtocol>::default(), bytes);
}

pub(crate) fn albaem(bytes: &[u8]) {
    run(PerMessage::<AlbaemProtocol>::default(), bytes);
}

pub(crate) fn contrast(bytes: &[u8]) {
    run(ContrastRun::default(), bytes);
}

pub(crate) fn lecroy(bytes: &[u8]) {
    run(LecroyAssembler::new(LIMIT), bytes);
}

pub(crate) fn pcap(bytes: &[u8]) {
    run(PcapAssembler::new(LIMIT), bytes);
}

pub(crate) fn xspress(bytes: &[u8]) {
    let limit = LIMIT as usize;
    run(XspressRun::new(Limits { json: limit, image: limit }), bytes);
}

/// Each piece is sent over its own connection, which then breaks.
pub(crate) fn pcap_raw(bytes: &[u8]) {
    let connections = unpack(bytes);
    let (events, _) = framegate_pcap_raw::testing::play(&connections);
    let given: usize = events.iter().map(Event::bytes).sum();
    assert!(given <= bytes.len(), "{given} bytes of {}", bytes.len());
    // An arm interrupted by its connection has no end, and the next one starts again.
    for pair in events.windows(2) {
        assert!(pair[0].kind != EventKind::End || pair[1].kind == EventKind::Start);
    }
}

/// The first byte is the kind of the post, the rest is the body.
pub(crate) fn sardana(bytes: &[u8]) {
    let Some((kind, body)) = bytes.split_first() else { return };
    let kind = [Kind::Description, Kind::Record, Kind::End][usize::from(*kind) % 3];
    match Packet::read(kind, body) {
        Ok(packet) => assert!(kit::dictionary(&packet.json).is_ok(), "what goes on is JSON"),
        Err(problems) => assert!(!problems.is_empty()),
    }
}

/// Checks that the written JSON is read back as the same value.
pub(crate) fn json(bytes: &[u8]) {
    let Ok(first) = kit::dictionary(bytes) else { return };
    let written = write(&first);
    let again = kit::dictionary(&written).expect("what was written is JSON");
    assert_eq!(String::from_utf8_lossy(&write(&again)), String::from_utf8_lossy(&written));
}

fn write<K: AsRef<str>>(fields: &[(K, kit::Value<'_>)]) -> Vec<u8> {
    let mut out = vec![b'{'];
    for (place, (key, value)) in fields.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        kit::write_str(key.as_ref(), &mut out);
        out.push(b':');
        value.write(&mut out);
    }
    out.push(b'}');
    out
}
