//! What an Xspress3 sends in the first part of a message that has a header.
//!
//! ```text
//! start   {"htype": "header", "filename": "/data/scan_000002_xspress3.hdf5", …}
//! data    {"htype": "image", "frame": 0, "shape": [4, 4096], "type": "uint32", "exptime": 0.099999875,
//!          "compression": "none", …}                                              followed by histograms and metadata
//! end     {"htype": "series_end"}
//! ```
//!
//! Pure: bytes in, [`Packet`] out. The rules are those of dranspose's `XspressPacket`, a pydantic union: unknown fields
//! are allowed, numbers may be strings, `exptime` and `compression` may be absent or null, and an absent `htype` takes
//! each kind's default, in which case the kind with the most of its fields present counts.

use framegate_zmq_source::{Malformed, json, json::Value};

/// What a first part says the message is.
///
/// No serde derive: the fields are checked where they are, in one pass over the text and without allocating, because
/// this runs for every event and nothing of them is needed afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet {
    /// `filename`.
    Header,
    /// `frame`, `shape` and `type`; `exptime` and `compression` if they are there.
    Image {
        /// The frame's number, if it fits.
        frame: Option<i64>,
    },
    /// Nothing else is needed.
    SeriesEnd,
}

impl Packet {
    /// Reads a first part.
    ///
    /// # Errors
    /// It is not JSON as pydantic takes it, or none of the three kinds.
    pub fn read(part: &[u8]) -> Result<Self, Malformed> {
        Self::read_with_htype(part).map(|(packet, _)| packet)
    }

    /// Reads a first part; whether it says itself what it is, or is only taken for it.
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
            // The most fields: at least three of an image, one of a header, none of an end.
            None if image() => Ok((Packet::Image { frame: number() }, HasHtype::No)),
            None if header() => Ok((Packet::Header, HasHtype::No)),
            None => Ok((Packet::SeriesEnd, HasHtype::No)),
        }
    }
}

/// Whether a message says itself what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HasHtype {
    /// It has an `htype`.
    Yes,
    /// Its other fields decided.
    No,
}

const FIELDS: [&str; 7] = ["htype", "filename", "frame", "shape", "type", "exptime", "compression"];
