//! What an Xspress3 sends in the first part of a message that has a header.
//!
//! ```text
//! start   {"htype": "header", "filename": "/data/scan_000002_xspress3.hdf5", …}
//! data    {"htype": "image", "frame": 0, "shape": [4, 4096], "type": "uint32", "exptime": 0.099999875,
//!          "compression": "none", …}                                              followed by histograms and metadata
//! end     {"htype": "series_end"}
//! ```
//!
//! Pure: bytes in, [`Packet`] out. The rules are the same as for dranspose's `XspressPacket`, a pydantic union: unknown
//! fields are allowed, numbers may be strings, and `exptime` and `compression` may be missing or null. A missing
//! `htype` matches every kind's default; then the kind with the most fields present wins.

use framegate_zmq_source::{Malformed, json, json::Value};

/// Kind of a message, from its first part.
///
/// No serde derive: this runs for every event and no field is needed afterwards, so the fields are checked in place, in
/// one pass over the text and without allocating.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet {
    /// `filename`.
    Header,
    /// `frame`, `shape` and `type`; `exptime` and `compression` are optional.
    Image {
        /// The frame's number, if it fits into an `i64`.
        frame: Option<i64>,
    },
    /// No other field is needed.
    SeriesEnd,
}

impl Packet {
    /// Reads a first part.
    ///
    /// # Errors
    /// The part is not JSON that pydantic accepts, or is none of the three kinds.
    pub fn read(part: &[u8]) -> Result<Self, Malformed> {
        Self::read_with_htype(part).map(|(packet, _)| packet)
    }

    /// Reads a first part, and whether its `htype` or its other fields decided the kind.
    ///
    /// # Errors
    /// As [`Packet::read`].
    pub fn read_with_htype(part: &[u8]) -> Result<(Self, HasHtype), Malformed> {
        let [htype, filename, frame, shape, typ, exptime, compression] = json::fields(part, &FIELDS)?;

        let is_text = |value: Value<'_>| value.text().is_some();
        let header = || filename.is_some_and(is_text);
        let image = || {
            frame.is_some_and(Value::is_int)
                && shape.is_some_and(|shape| shape.is_array_of(Value::is_int))
                && typ.is_some_and(is_text)
                && exptime.is_none_or(|time| time == Value::Null || time.to_float().is_some())
                && compression.is_none_or(|name| name == Value::Null || is_text(name))
        };

        let number = || frame.and_then(Value::to_i64);

        match htype {
            Some(kind) if kind.is_str("image") => {
                if image() {
                    Ok((Packet::Image { frame: number() }, HasHtype::Yes))
                } else {
                    Err(Malformed::new("an image lacks a field, or has a wrong one"))
                }
            }
            Some(kind) if kind.is_str("header") => {
                if header() {
                    Ok((Packet::Header, HasHtype::Yes))
                } else {
                    Err(Malformed::new("a header without a filename"))
                }
            }
            Some(kind) if kind.is_str("series_end") => Ok((Packet::SeriesEnd, HasHtype::Yes)),
            Some(_) => Err(Malformed::new("an unknown htype")),
            // The kind with the most fields wins: an image has at least three, a header one, an end none.
            None if image() => Ok((Packet::Image { frame: number() }, HasHtype::No)),
            None if header() => Ok((Packet::Header, HasHtype::No)),
            None => Ok((Packet::SeriesEnd, HasHtype::No)),
        }
    }
}

/// Whether a message has an `htype`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HasHtype {
    /// It has an `htype`.
    Yes,
    /// Its other fields decided.
    No,
}

const FIELDS: [&str; 7] = ["htype", "filename", "frame", "shape", "type", "exptime", "compression"];
