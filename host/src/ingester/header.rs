//! The header of a message to a worker, byte for byte as workers expect it.
//!
//! `{"event_number":3,"streams":{"b":{"typ":"STINS","length":2}},"created_at":"2026-01-01T00:00:00.000000Z"}`
//! (dranspose 0.2.0, `event.py`, `InternalWorkerMessage`). pydantic omits a zero fraction in `created_at`; readers
//! accept both, and we always write six digits.

use std::{fmt::Write as _, time::SystemTime};

use jiff::Timestamp;

use crate::names::{EventNumber, StreamName};

/// The text of a time, formatted again only when its millisecond changes.
#[derive(Debug, Default)]
pub(crate) struct CreatedAt {
    /// The last time: many events have the same.
    moment: Option<SystemTime>,
    millisecond: i64,
    text: String,
}

impl CreatedAt {
    /// RFC 3339 in UTC with six digits; exact to a millisecond.
    pub(crate) fn text(&mut self, now: SystemTime) -> &str {
        if self.moment == Some(now) {
            return &self.text;
        }
        self.moment = Some(now);
        let timestamp = Timestamp::try_from(now).unwrap_or(Timestamp::UNIX_EPOCH);
        let millisecond = timestamp.as_millisecond();
        if self.text.is_empty() || millisecond != self.millisecond {
            self.millisecond = millisecond;
            self.text.clear();
            write!(self.text, "{timestamp:.6}").expect("writing to a String cannot fail");
        }
        &self.text
    }
}

/// One stream in a header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'a> {
    /// The stream's name as JSON text, see [`escape`].
    pub(crate) stream: &'a str,
    pub(crate) typ: &'a str,
    pub(crate) frames: usize,
}

/// A stream's name as written in a header, with its quotes.
pub(crate) fn escape(name: &StreamName) -> String {
    serde_json::to_string(name.as_str()).expect("a string is always valid JSON")
}

/// Appends the header to `out`.
pub(crate) fn write<'a>(
    out: &mut Vec<u8>,
    number: EventNumber,
    parts: impl Iterator<Item = Part<'a>>,
    created_at: &str,
) {
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(b"{\"event_number\":");
    out.extend_from_slice(digits.format(number).as_bytes());
    out.extend_from_slice(b",\"streams\":{");
    for (index, part) in parts.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(part.stream.as_bytes());
        out.extend_from_slice(b":{\"typ\":");
        serde_json::to_writer(&mut *out, part.typ).expect("writing to a Vec cannot fail");
        out.extend_from_slice(b",\"length\":");
        out.extend_from_slice(digits.format(part.frames).as_bytes());
        out.push(b'}');
    }
    out.extend_from_slice(b"},\"created_at\":\"");
    out.extend_from_slice(created_at.as_bytes());
    out.extend_from_slice(b"\"}");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn written<'a>(number: EventNumber, parts: impl Iterator<Item = Part<'a>>, created_at: &str) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, number, parts, created_at);
        out
    }

    #[test]
    fn it_is_written_as_the_reference_writes_it() {
        let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        let mut created_at = CreatedAt::default();
        let parts = [Part { stream: "\"b\"", typ: "STINS", frames: 2 }];
        assert_eq!(
            String::from_utf8(written(3, parts.into_iter(), created_at.text(moment))).unwrap(),
            r#"{"event_number":3,"streams":{"b":{"typ":"STINS","length":2}},"created_at":"2026-01-01T00:00:00.000000Z"}"#
        );
    }

    proptest! {
        #[test]
        fn serde_json_reads_back_any_names(
            number: u64,
            streams in proptest::collection::btree_map("[^:\\p{Cc}]{1,9}", (".{0,9}", 0usize..9), 0..4),
        ) {
            let names: Vec<_> = streams.keys().map(|name| StreamName::new(name).unwrap()).collect();
            let escaped: Vec<_> = names.iter().map(escape).collect();
            let parts = escaped.iter().zip(streams.values())
                .map(|(stream, (typ, frames))| Part { stream, typ, frames: *frames });
            let header: Value = serde_json::from_slice(&written(number, parts, "now")).unwrap();
            let expected: serde_json::Map<_, _> = streams.iter()
                .map(|(name, (typ, frames))| (name.clone(), json!({"typ": typ, "length": frames}))).collect();
            prop_assert_eq!(header, json!({"event_number": number, "streams": expected, "created_at": "now"}));
        }
    }
}
