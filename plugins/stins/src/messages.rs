//! What a STINS detector sends: a JSON header in the first part, and its data in the others.
//!
//! ```text
//! start   {"htype": "header", "msg_number": 0, "filename": "/data/test.h5", …}                      [anything …]
//! data    {"htype": "image", "msg_number": 1, "frame": 0, "shape": [4, 6], "type": "uint16",
//!          "compression": "none", …}                                                                [pixels]
//! end     {"htype": "series_end", "msg_number": 2, …}                                               [anything …]
//! ```
//!
//! Pure: bytes in, [`Packet`] out. The rules are the same as for dranspose's `Stream1Packet`, a pydantic union: unknown
//! fields are allowed, and numbers may be strings. A missing `htype` matches every kind's default; then the kind with
//! the most fields present wins.

use framegate_zmq_source::{Malformed, json, json::Value};

/// Kind of a message, from its first part.
///
/// No serde derive: this runs for every event and no field is needed afterwards, so the fields are checked in place, in
/// one pass over the text and without allocating.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet {
    /// `msg_number` and `filename`.
    Header,
    /// `msg_number`, `frame`, `shape`, `type` and `compression`.
    Image,
    /// `msg_number`.
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
    pub(crate) fn of(fields: [Option<Value<'_>>; FIELDS.len()]) -> Result<Self, Malformed> {
        let [msg_number, htype, filename, frame, shape, typ, compression] = fields;

        // The fields that each kind needs besides `msg_number`; a missing field never matches.
        let int = |field: Option<Value<'_>>| field.is_some_and(Value::is_int);
        let text = |field: Option<Value<'_>>| field.is_some_and(|value| value.text().is_some());
        let header = || text(filename);
        let image = || {
            int(frame) && shape.is_some_and(|shape| shape.is_array_of(Value::is_int)) && text(typ) && text(compression)
        };

        if !int(msg_number) {
            return Err(Malformed::new("msg_number is absent or no integer"));
        }
        match htype {
            Some(kind) if kind.is_str("image") => {
                if image() {
                    Ok(Packet::Image)
                } else {
                    Err(Malformed::new("an image lacks a field, or has a wrong one"))
                }
            }
            Some(kind) if kind.is_str("header") => {
                if header() {
                    Ok(Packet::Header)
                } else {
                    Err(Malformed::new("a header without a filename"))
                }
            }
            Some(kind) if kind.is_str("series_end") => Ok(Packet::SeriesEnd),
            Some(_) => Err(Malformed::new("an unknown htype")),
            // The kind with the most fields wins: an image has five, a header two, an end one.
            None if image() => Ok(Packet::Image),
            None if header() => Ok(Packet::Header),
            None => Ok(Packet::SeriesEnd),
        }
    }
}

/// The fields that are read; the first is the message's number.
pub(crate) const FIELDS: [&str; 7] = ["msg_number", "htype", "filename", "frame", "shape", "type", "compression"];

/// Fields for which it only matters whether they are whole numbers.
pub(crate) const LOOSE: &[&str] = &["msg_number", "frame"];
