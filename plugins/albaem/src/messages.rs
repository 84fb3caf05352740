//! What an electrometer sends: one JSON object.
//!
//! ```text
//! start   {"version": 1, "message_type": "series-start", "message_id": 1}
//! data    {"version": 1, "message_type": "data", "message_id": 2, "frame_number": 0, "timestamp": 7.72645192,
//!          "acquisition_timestamp": 1704807770443944912, "channel1": -2.83e-11, …}
//! end     {"version": 1, "message_type": "series-end", "message_id": 6, "detector_specific": {…}}
//! ```
//!
//! Pure: bytes in, [`Packet`] out. The rules are the same as for dranspose's `AlbaemPacket`, a pydantic union: unknown
//! fields are allowed, and numbers may be strings. `message_type` alone decides the kind.

use framegate_zmq_source::{Malformed, json, json::Value};

/// Kind of a message.
///
/// No serde derive: this runs for every event and no field is needed afterwards, so the fields are checked in place, in
/// one pass over the text and without allocating.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet {
    /// `message_id` and `version`.
    SeriesStart,
    /// The same fields, and `frame_number`, `timestamp` and `acquisition_timestamp`.
    Data {
        /// The frame's number, if it fits into an `i64`.
        frame_number: Option<i64>,
    },
    /// `message_id` and `version`.
    SeriesEnd,
}

impl Packet {
    /// Reads a first part.
    ///
    /// # Errors
    /// The part is not JSON that pydantic accepts, or is none of the three kinds.
    pub fn read(part: &[u8]) -> Result<Self, Malformed> {
        let [message_type, message_id, version, frame_number, timestamp, acquired] = json::fields(part, &FIELDS)?;

        let int = |field: Option<Value<'_>>| field.is_some_and(Value::is_int);
        let float = |field: Option<Value<'_>>| field.and_then(Value::to_float).is_some();

        if !int(message_id) {
            return Err(Malformed::new("message_id is absent or no integer"));
        }
        if !version.is_some_and(|version| version.is_number(1)) {
            return Err(Malformed::new("version is absent or not 1"));
        }
        match message_type {
            Some(kind) if kind.is_str("data") => {
                if int(frame_number) && float(timestamp) && int(acquired) {
                    Ok(Packet::Data { frame_number: frame_number.and_then(Value::to_i64) })
                } else {
                    Err(Malformed::new("data lacks a field, or has a wrong one"))
                }
            }
            Some(kind) if kind.is_str("series-start") => Ok(Packet::SeriesStart),
            Some(kind) if kind.is_str("series-end") => Ok(Packet::SeriesEnd),
            _ => Err(Malformed::new("message_type is absent or unknown")),
        }
    }
}

const FIELDS: [&str; 6] =
    ["message_type", "message_id", "version", "frame_number", "timestamp", "acquisition_timestamp"];
