//! What a detector sends: a JSON object in the first part, and what belongs to it in the others.
//!
//! ```text
//! start   {"htype": "dheader-1.0", "header_detail": "all", "series": 6}              [settings, flatfield, mask, …]
//! data    {"htype": "dimage-1.0", "frame": 0, "hash": "815e…", "series": 6}          [shape and type, pixels, times]
//! end     {"htype": "dseries_end-1.0", "series": 6}
//! ```
//!
//! Pure: bytes in, [`Packet`] out. The rules are those of dranspose's `EigerLegacyPacket`, a pydantic union: unknown
//! fields are allowed, `frame` may be a number in a string. `htype` alone says which kind it is.

use framegate_zmq_source::{Malformed, json, json::Value};

/// What a first part says the message is.
///
/// No serde derive: the fields are checked where they are, in one pass over the text and without allocating, because
/// this runs for every event and nothing of them is needed afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet {
    /// Nothing else is needed.
    Header,
    /// `frame`.
    Image,
    /// Nothing else is needed.
    SeriesEnd,
}

impl Packet {
    /// Reads a first part.
    ///
    /// # Errors
    /// It is not JSON as pydantic takes it, or none of the three kinds.
    pub fn read(part: &[u8]) -> Result<Self, Malformed> {
        Self::of(json::fields(part, &FIELDS)?)
    }

    /// The same, for its [`FIELDS`]. Of those that are [`LOOSE`] no digit may matter.
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

/// What is looked at; the first is the message's number.
pub(crate) const FIELDS: [&str; 2] = ["frame", "htype"];

/// Those of which only matters here whether they are whole numbers.
pub(crate) const LOOSE: &[&str] = &["frame"];
