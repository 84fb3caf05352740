//! What a detector sends: a JSON object in the first part, its data in the others.
//!
//! ```text
//! start   {"htype": "dheader-1.0", "header_detail": "all", "series": 6}              [settings, flatfield, mask, …]
//! data    {"htype": "dimage-1.0", "frame": 0, "hash": "815e…", "series": 6}          [shape and type, pixels, times]
//! end     {"htype": "dseries_end-1.0", "series": 6}
//! ```
//!
//! Pure: bytes in, [`Packet`] out. The rules are the same as for dranspose's `EigerLegacyPacket`, a pydantic union:
//! unknown fields are allowed, and `frame` may be a number in a string. `htype` alone decides the kind.

use framegate_zmq_source::{Malformed, json, json::Value};

/// Kind of a message, from its first part.
///
/// No serde derive: this runs for every event and no field is needed afterwards, so the fields are checked in place, in
/// one pass over the text and without allocating.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet {
    /// No other field is needed.
    Header,
    /// `frame`.
    Image,
    /// No other field is needed.
    SeriesEnd,
}

impl Packet {
    /// Reads a first part.
    ///
    /// # Errors
    /// The part is not JSON that pydantic accepts, or is none of the three kinds.
    pub fn read(part: &[u8]) -> Result<Self, Malformed> {
        Self::of(json::fields(part, &FIELDS)?)
    }

    /// The same, from the values of [`FIELDS`]. The digits of [`LOOSE`] fields must not matter.
    pub(crate) fn of([frame, htype]: [Option<Value<'_>>; FIELDS.len()]) -> Result<Self, Malformed> {
        match htype {
            Some(kind) if kind.is_str("dimage-1.0") => {
                if frame.is_some_and(Value::is_int) {
                    Ok(Packet::Image)
                } else {
                    Err(Malformed::new("an image whose frame is absent or no integer"))
                }
            }
            Some(kind) if kind.is_str("dheader-1.0") => Ok(Packet::Header),
            Some(kind) if kind.is_str("dseries_end-1.0") => Ok(Packet::SeriesEnd),
            _ => Err(Malformed::new("htype is absent or unknown")),
        }
    }
}

/// The fields that are read; the first is the message's number.
pub(crate) const FIELDS: [&str; 2] = ["frame", "htype"];

/// Fields for which it only matters whether they are whole numbers.
pub(crate) const LOOSE: &[&str] = &["frame"];
