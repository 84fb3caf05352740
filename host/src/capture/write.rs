//! Writes events in the capture format.
//!
//! Runs on the caller's thread; owns nothing. Builds no tree of values: ciborium writes the heads, a few bytes each, and
//! large frames stay where they are.

use ciborium_ll::{Encoder, Header};

use super::{TAG_EVENT, TAG_SELF_DESCRIBED, TAG_STREAM, TAG_TIME_TEXT};

/// One stream of an event to write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamRef<'a, F> {
    /// The stream's name.
    pub(crate) name: &'a str,
    /// The protocol's name.
    pub(crate) typ: &'a str,
    /// The buffers.
    pub(crate) frames: &'a [F],
}

/// Names a frame of an event, and the offset in the buffer where its bytes belong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FramePosition {
    pub(crate) at: usize,
    pub(crate) stream: usize,
    pub(crate) frame: usize,
}

/// Appends one event to `out` as one item. `apart` is offered each frame with its position; the bytes of the
/// frames that it does not take are copied into `out`.
pub(crate) fn write_event<'a, F: AsRef<[u8]> + 'a>(
    out: &mut Vec<u8>,
    number: u64,
    created_at: &str,
    streams: impl ExactSizeIterator<Item = StreamRef<'a, F>>,
    mut apart: impl FnMut(FramePosition, &[u8]) -> bool,
) {
    head(out, Header::Tag(TAG_SELF_DESCRIBED));
    head(out, Header::Tag(TAG_EVENT));
    head(out, Header::Array(Some(3)));
    head(out, Header::Positive(number));
    head(out, Header::Map(Some(streams.len())));
    for (stream, StreamRef { name, typ, frames }) in streams.enumerate() {
        text(out, name);
        head(out, Header::Tag(TAG_STREAM));
        head(out, Header::Array(Some(2)));
        text(out, typ);
        head(out, Header::Array(Some(frames.len())));
        for (frame, bytes) in frames.iter().map(AsRef::as_ref).enumerate() {
            head(out, Header::Bytes(Some(bytes.len())));
            if !apart(FramePosition { at: out.len(), stream, frame }, bytes) {
                out.extend_from_slice(bytes);
            }
        }
    }
    head(out, Header::Tag(TAG_TIME_TEXT));
    text(out, created_at);
}

/// Writes one message of a detector as one item: the list of its parts.
#[cfg(test)]
pub(crate) fn write_message<F: AsRef<[u8]>>(out: &mut Vec<u8>, parts: &[F]) {
    head(out, Header::Array(Some(parts.len())));
    for part in parts.iter().map(AsRef::as_ref) {
        head(out, Header::Bytes(Some(part.len())));
        out.extend_from_slice(part);
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    head(out, Header::Text(Some(text.len())));
    out.extend_from_slice(text.as_bytes());
}

/// A head in the shortest form, as cbor2 writes it.
fn head(out: &mut Vec<u8>, header: Header) {
    Encoder::from(out).push(header).expect("a vector takes every byte");
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{io::Write as _, process::Command};

    use ciborium::Value;
    use proptest::prelude::*;

    use super::*;

    type Streams = Vec<(String, String, Vec<Vec<u8>>)>;

    pub(crate) const TIME: &str = "2026-01-01T00:00:00.000000Z";

    pub(crate) fn written(number: u64, streams: &[(String, String, Vec<Vec<u8>>)]) -> Vec<u8> {
        let mut out = Vec::new();
        let streams = streams.iter().map(|(name, typ, frames)| StreamRef { name, typ, frames });
        write_event(&mut out, number, TIME, streams, |_, _| false);
        out
    }

    fn with_ciborium(number: u64, streams: &Streams) -> Vec<u8> {
        let tag = |tag, value| Value::Tag(tag, Box::new(value));
        let streams = streams.iter().map(|(name, typ, frames)| {
            let frames = frames.iter().cloned().map(Value::Bytes).collect();
            let stream = Value::Array(vec![Value::Text(typ.clone()), Value::Array(frames)]);
            (Value::Text(name.clone()), tag(TAG_STREAM, stream))
        });
        let event = Value::Array(vec![
            Value::Integer(number.into()),
            Value::Map(streams.collect()),
            tag(TAG_TIME_TEXT, Value::Text(TIME.into())),
        ]);
        let mut out = Vec::new();
        ciborium::into_writer(&tag(TAG_SELF_DESCRIBED, tag(TAG_EVENT, event)), &mut out).unwrap();
        out
    }

    fn frames() -> impl Strategy<Value = Vec<Vec<u8>>> {
        // Lengths around each change of the head's width.
        let len = prop_oneof![Just(0usize), 22..26usize, 254..258usize, 65534..65538usize];
        prop::collection::vec(len.prop_map(|len| vec![7; len]), 0..26)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn an_event_is_what_ciborium_writes(
            number in prop_oneof![any::<u64>(), 0..300u64, 65530..65540u64, Just(u64::from(u32::MAX) + 1)],
            streams in prop::collection::vec((".{0,30}", "[a-zA-Z_]{0,20}", frames()), 0..4),
        ) {
            prop_assert!(written(number, &streams) == with_ciborium(number, &streams));
        }
    }

    #[test]
    fn a_message_is_what_ciborium_writes() {
        let parts = [b"ab".to_vec(), vec![], vec![1; 300]];
        let mut ours = Vec::new();
        write_message(&mut ours, &parts);
        let mut theirs = Vec::new();
        let values = parts.iter().cloned().map(Value::Bytes).collect();
        ciborium::into_writer(&Value::Array(values), &mut theirs).unwrap();
        assert_eq!(ours, theirs);
    }

    /// Python with dranspose and cbor2 writes the same event and reads ours back with its own reader.
    #[test]
    fn the_peer_reads_an_event_and_would_write_the_same_bytes() {
        let Some(python) = std::env::var_os("FRAMEGATE_PEER_PYTHON") else {
            return framegate_skip::skip("FRAMEGATE_PEER_PYTHON names no Python with dranspose");
        };
        let streams: Streams = vec![
            ("eiger".into(), "STINS".into(), vec![b"{\"htype\":\"image\"}".to_vec(), vec![9; 70_000], vec![]]),
            ("x".into(), "xspress".into(), vec![]),
        ];
        let mut file = tempfile::NamedTempFile::with_suffix(".cbors").unwrap();
        for number in [0, 23, 24, 70_000, 1 << 40] {
            file.write_all(&written(number, &streams)).unwrap();
        }
        const CHECK: &str = "
import sys, io, cbor2
from dranspose.replay import get_internals
from dranspose.event import message_encoder
events = list(get_internals(sys.argv[1]))
assert [e.event_number for e in events] == [0, 23, 24, 70_000, 1 << 40], events
for e in events:
    assert list(e.streams) == ['eiger', 'x']
    s = e.streams['eiger']
    assert s.typ == 'STINS' and s.frames == [b'{\"htype\":\"image\"}', bytes([9]) * 70_000, b''] and s.length == 3
    assert e.created_at.isoformat() == '2026-01-01T00:00:00+00:00'
    e.created_at = e.created_at.replace(microsecond=1)
out = io.BytesIO()
for e in events:
    cbor2.dump(cbor2.CBORTag(55799, e), out, default=message_encoder)
ours = open(sys.argv[1], 'rb').read().replace(b'00:00.000000Z', b'00:00.000001Z')
assert out.getvalue() == ours, 'bytes differ'
";
        let result = Command::new(python).args(["-c", CHECK]).arg(file.path()).output().unwrap();
        assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
    }
}
