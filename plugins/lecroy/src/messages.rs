//! What the oscilloscope's service publishes: a JSON header in the first part, and for traces two more parts with data.
//!
//! ```text
//! prepare         {"htype": "msg", "what": 0, "frame": 0}
//! sequence start  {"htype": "msg", "what": 1, "frame": 0, "ntriggers": -1, "seqno": 0, "channels": [2, 4]}
//! traces          {"htype": "traces", "ch": 2, "ts": 1740563614.969933, "frame": 0, "shape": [1, 8002], "dtype": "float64",
//!                  "horiz_offset": -1.0e-07, "horiz_interval": 1.25e-11}                     [waveforms] [timestamps]
//! sequence end    {"htype": "msg", "what": 2, "frame": 2}
//! end             {"what": 3, "frame": 66, "frames": 66}
//! ```
//!
//! Pure: bytes in, [`Packet`] out. The rules are the same as for dranspose's `LecroyPacket`, a pydantic union: unknown
//! fields are allowed, numbers may be strings, and `what` may also be a float or a boolean of the same value.

use framegate_zmq_source::{
    Malformed,
    json::{self, Value},
};

/// Kind of a message, from its first part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet {
    /// A run is about to start.
    Prepare,
    /// A sequence starts.
    SequenceStart {
        /// `ntriggers` is -1: later sequences have no start message.
        continuous: bool,
    },
    /// The traces of one channel.
    Traces,
    /// A sequence is complete.
    SequenceEnd,
    /// The run is over.
    End,
}

impl Packet {
    /// Reads a first part.
    ///
    /// # Errors
    /// The part is not JSON that pydantic accepts, or is none of the five kinds.
    pub fn read(part: &[u8]) -> Result<Self, Malformed> {
        Self::read_with_frame(part).map(|(packet, _)| packet)
    }

    /// Reads a first part, and its `frame` if it fits: the trace's number, or in other messages the number of traces so
    /// far.
    ///
    /// # Errors
    /// As [`Packet::read`].
    pub fn read_with_frame(part: &[u8]) -> Result<(Self, Option<i64>), Malformed> {
        let fields = json::fields(part, &FIELDS)?;
        let [htype, what, frame, ntriggers, seqno, channels, ch, ts, shape, dtype, offset, interval, frames] = fields;
        let int = |field: Option<Value<'_>>| field.is_some_and(Value::is_int);
        let float = |field: Option<Value<'_>>| field.is_some_and(|value| value.to_float().is_some());
        let ints = |field: Option<Value<'_>>| field.is_some_and(|value| value.is_array_of(Value::is_int));
        let what = |number| what.is_some_and(|what| what.is_number(number));

        if !int(frame) {
            return Err(Malformed::new("frame is absent or no integer"));
        }
        let traces = || {
            let numbers = int(ch) && float(ts) && float(offset) && float(interval);
            numbers && ints(shape) && dtype.is_some_and(|dtype| dtype.text().is_some())
        };
        let packet = match htype {
            // A message that matches traces and end is traces: pydantic prefers the kind with more fields.
            Some(htype) if htype.is_str("traces") && traces() => Ok(Packet::Traces),
            // Only the end needs no htype, and accepts any.
            _ if what(3) => {
                if int(frames) {
                    Ok(Packet::End)
                } else {
                    Err(Malformed::new("an end without frames"))
                }
            }
            Some(htype) if htype.is_str("traces") => Err(Malformed::new("traces lack a field, or have a wrong one")),
            Some(htype) if htype.is_str("msg") => {
                if what(0) {
                    Ok(Packet::Prepare)
                } else if what(1) {
                    if int(ntriggers) && int(seqno) && ints(channels) {
                        Ok(Packet::SequenceStart { continuous: ntriggers.and_then(Value::to_i64) == Some(-1) })
                    } else {
                        Err(Malformed::new("a sequence start lacks a field, or has a wrong one"))
                    }
                } else if what(2) {
                    Ok(Packet::SequenceEnd)
                } else {
                    Err(Malformed::new("an unknown what"))
                }
            }
            _ => Err(Malformed::new("an unknown htype")),
        };
        Ok((packet?, frame.and_then(Value::to_i64)))
    }
}

const FIELDS: [&str; 13] = [
    "htype",
    "what",
    "frame",
    "ntriggers",
    "seqno",
    "channels",
    "ch",
    "ts",
    "shape",
    "dtype",
    "horiz_offset",
    "horiz_interval",
    "frames",
];
