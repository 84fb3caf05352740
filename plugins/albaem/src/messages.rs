//! What an electrometer sends: one JSON object.
//!
//! ```text
//! start   {"version": 1, "message_type": "series-start", "message_id": 1}
//! data    {"version": 1, "message_type": "data", "message_id": 2, "frame_number": 0, "timestamp": 7.72645192,
//!          "acquisition_timestamp": 1704807770443944912, "channel1": -2.83e-11, …}
//! end     {"version": 1, "message_type": "series-end", "message_id": 6, "detector_specific": {…}}
//! ```
//!
//! Pure: bytes in, [`Packet`] out. The rules are those of dranspose's `AlbaemPacket`, a pydantic union: unknown fields
//! are allowed, numbers may be strings. `message_type` alone says which kind it is.

use framegate_zmq_source::{Malformed, json, json::Value};

/// What a message is.
///
/// No serde derive: the fields are checked where they are, in one pass over the text and without allocating, because
/// this runs for every event and nothing of them is needed afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet {
    /// `message_id` and `version`.
    SeriesStart,
    /// Those, and `frame_number`, `timestamp` and `acquisition_timestamp`.
    Data {
        /// The frame's number, if it fits.
        frame_number: Option<i64>,
    },
    /// `message_id` and `version`.
    SeriesEnd,
}

impl Packet {
    /// Reads a first part.
    ///
    /// # Errors
    /// It is not JSON as pydantic takes it, or none of the three kinds.
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
