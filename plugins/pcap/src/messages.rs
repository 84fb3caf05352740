//! What position capture publishes: a JSON object in the only part.
//!
//! ```text
//! start   {"message_id": 1, "version": 1, "message_type": "series-start", "arm_time": "2024-10-07T08:49:10.627Z", …}
//! data    {"message_id": 2, "version": 1, "message_type": "data", "frame_number": 0,
//!          "inttime": [7.116, 7.315], "energy": [8879.1, 8879.3], "shutter": "open", …}
//! end     {"message_id": 3, "version": 1, "message_type": "series-end", …}
//! ```
//!
//! Pure: bytes in, [`Packet`] out. The rules are the same as for dranspose's `PCAPPacket`, a pydantic union with
//! `message_type` as discriminator: unknown fields are allowed, numbers may be strings, and `arm_time` is anything that
//! pydantic accepts as a date and time.

use std::borrow::Cow;

use framegate_zmq_source::{
    Malformed,
    json::{self, Value},
};
use speedate::{Date, DateTime, DateTimeConfigBuilder, MicrosecondsPrecisionOverflowBehavior, TimeConfigBuilder};

/// Kind of a message, from its first part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// `message_id`, `version` and `arm_time`.
    Start,
    /// `message_id`, `version` and `frame_number`; its lists contain the samples.
    Data {
        /// As Python prints it.
        message_id: Cow<'a, str>,
        /// The number of the first sample, as Python prints it.
        frame_number: Cow<'a, str>,
    },
    /// `message_id` and `version`.
    End,
}

impl<'a> Packet<'a> {
    /// Reads a first part.
    ///
    /// # Errors
    /// The part is not JSON that pydantic accepts, or is none of the three kinds.
    pub fn read(part: &'a [u8]) -> Result<Self, Malformed> {
        let [message_id, version, kind, arm_time, frame_number] = json::fields(part, &FIELDS)?;

        let message_id =
            message_id.and_then(Value::to_int).ok_or(Malformed::new("message_id is absent or no integer"))?;
        if !version.is_some_and(|version| version.is_number(1)) {
            return Err(Malformed::new("version is not 1"));
        }
        let kind = kind.and_then(Value::text).ok_or(Malformed::new("message_type is absent or no text"))?;
        if kind.is("data") {
            let frame_number =
                frame_number.and_then(Value::to_int).ok_or(Malformed::new("frame_number is absent or no integer"))?;
            Ok(Packet::Data { message_id, frame_number })
        } else if kind.is("series-start") {
            if arm_time.is_some_and(is_date_and_time) {
                Ok(Packet::Start)
            } else {
                Err(Malformed::new("arm_time is absent or no date and time"))
            }
        } else if kind.is("series-end") {
            Ok(Packet::End)
        } else {
            Err(Malformed::new("an unknown message_type"))
        }
    }
}

/// The fields with a meaning, in the order in which pydantic writes the ones of a data message.
pub(crate) const FIELDS: [&str; 5] = ["message_id", "version", "message_type", "arm_time", "frame_number"];

/// Whether a `datetime` field accepts the value: ISO 8601 texts, dates alone, and Unix times as numbers or texts.
fn is_date_and_time(value: Value<'_>) -> bool {
    let time = TimeConfigBuilder::new()
        .microseconds_precision_overflow_behavior(MicrosecondsPrecisionOverflowBehavior::Truncate)
        .unix_timestamp_offset(Some(0))
        .build();
    let config = DateTimeConfigBuilder::new().time_config(time).build();
    let date = match value {
        Value::Str(text) => {
            let text = text.decode();
            let text = text.as_bytes();
            DateTime::parse_bytes_with_config(text, &config).map(|both| both.date).or_else(|_| Date::parse_bytes(text))
        }
        // Beyond 64 bits, pydantic does not interpret a number as a time.
        Value::Int(number) => match number.parse() {
            Ok(seconds) => DateTime::from_timestamp_with_config(seconds, 0, &config).map(|both| both.date),
            Err(_) => return false,
        },
        Value::Float(number) => match number.parse::<f64>() {
            Ok(seconds) if !seconds.is_nan() => {
                DateTime::from_timestamp_with_config(seconds.floor() as i64, 0, &config).map(|both| both.date)
            }
            _ => return false,
        },
        _ => return false,
    };
    // Python has no year 0.
    date.is_ok_and(|date| date.year > 0)
}
