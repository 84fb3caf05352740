//! The header of a message to a worker, byte for byte as workers expect it.
//!
//! `{"event_number":3,"streams":{"b":{"typ":"STINS","length":2}},"created_at":"2026-01-01T00:00:00.000000Z"}`
//! (dranspose 0.2.0, `event.py`, `InternalWorkerMessage`). pydantic omits a zero fraction in `created_at`; readers
//! accept both, and we always write six digits.

use std::time::SystemTime;

use jiff::Timestamp;

use crate::names::{EventNumber, StreamName};

/// The text of a time. The calendar is asked only when the second changes.
#[derive(Debug, Default)]
pub(crate) struct CreatedAt {
    /// The last time: many events have the same.
    moment: Option<SystemTime>,
    second: i64,
    text: String,
}

impl CreatedAt {
    /// RFC 3339 in UTC with six digits.
    pub(crate) fn text(&mut self, now: SystemTime) -> &str {
        if self.moment == Some(now) {
            return &self.text;
        }
        self.moment = Some(now);
        let timestamp = Timestamp::try_from(now).unwrap_or(Timestamp::UNIX_EPOCH);
        if self.text.is_empty() || timestamp.as_second() != self.second {
            self.second = timestamp.as_second();
            self.text = format!("{timestamp:.6}");
        } else {
            self.text.truncate(self.text.len() - "000000Z".len());
            // With a digit in front, so that none is missing.
            let digits = 1_000_000 + timestamp.subsec_microsecond().unsigned_abs();
            self.text.push_str(&itoa::Buffer::new().format(digits)[1..]);
            self.text.push('Z');
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
        fn a_time_is_written_as_the_calendar_writes_it(second in 0u64..4_000_000_000, steps in proptest::collection::vec(0u64..2_000_000, 1..9)) {
            let (mut created_at, mut moment) = (CreatedAt::default(), SystemTime::UNIX_EPOCH + Duration::from_secs(second));
            for step in steps {
                moment += Duration::from_micros(step);
                prop_assert_eq!(created_at.text(moment), format!("{:.6}", Timestamp::try_from(moment).unwrap()));
            }
        }

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
