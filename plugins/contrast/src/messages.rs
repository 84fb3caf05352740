//! What Contrast sends: a pickled dictionary.
//!
//! ```text
//! start     {'status': 'started', 'path': '/data/…', 'scannr': 2, 'description': 'mesh sx -2 2 3 sy -2 2 4 0.1', …}
//! data      {'status': 'running', 'dt': 2.41, 'sx': -2.0, 'pseudo': {'x': array([-2.004]), …}, …}
//! end       {'status': 'finished', 'path': '/data/…', 'scannr': 2, 'description': 'mesh …', …}
//! nothing   {'status': 'heartbeat'}
//! ```
//!
//! Pure: a pickle in, [`Packet`] out. The rules are the same as for dranspose's `ContrastPacket`, a pydantic union used
//! with `validate_python`: unknown fields are allowed. A missing `status` matches every kind's default; then the kind
//! with the most fields present wins.

use crate::pickle::{Dictionary, Field, Reader, Refusal, Value};

/// Kind of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet {
    /// `path`, `scannr` and `description`.
    Started,
    /// `dt`.
    Running,
    /// `path`, `scannr` and `description`.
    Finished,
    /// No fields needed; gives no event.
    Heartbeat,
}

impl Packet {
    /// Reads a first part.
    ///
    /// # Errors
    /// The part is not a pickle that can be read without executing anything, or is none of the four kinds.
    pub fn read(reader: &mut Reader, part: &[u8]) -> Result<Self, Refusal> {
        Self::of(reader.read(part)?).map_err(Refusal)
    }

    fn of<'a>(message: Dictionary<'a>) -> Result<Self, &'static str> {
        let has = |field, fits: fn(Value<'a>) -> bool| message.get(field).is_some_and(fits);
        let scan = || {
            has(Field::Path, Value::is_str)
                && has(Field::Scannr, Value::is_int)
                && has(Field::Description, Value::is_str)
        };
        let running = || has(Field::Dt, Value::is_float);

        let status = message.get(Field::Status);
        if status.is_some_and(|status| status.is_literal("heartbeat")) {
            // The only kind that does not keep unknown fields, so their names do not matter.
            return Ok(Packet::Heartbeat);
        }
        if !message.has_only_text_keys() {
            return Err("a key that is no text");
        }
        match status {
            Some(status) if status.is_literal("running") => {
                if running() {
                    Ok(Packet::Running)
                } else {
                    Err("status running, but dt is absent or no number")
                }
            }
            Some(status) if status.is_literal("started") => {
                if scan() {
                    Ok(Packet::Started)
                } else {
                    Err("status started, but path, scannr or description is absent or wrong")
                }
            }
            Some(status) if status.is_literal("finished") => {
                if scan() {
                    Ok(Packet::Finished)
                } else {
                    Err("status finished, but path, scannr or description is absent or wrong")
                }
            }
            Some(_) => Err("an unknown status"),
            // The kind with the most fields wins: start and end have three (the start comes first), data has one.
            None if scan() => Ok(Packet::Started),
            None if running() => Ok(Packet::Running),
            None => Err("no status"),
        }
    }
}
