//! A reader of Python pickles that executes nothing.
//!
//! Python's own reader calls everything that a pickle asks for. This reader calls nothing: it follows the stack machine
//! of protocols 2 to 5 (`Lib/pickletools.py` of CPython describes each opcode), records where in the message the values
//! are, and returns only a few fields of the outermost dictionary. `known.rs` knows the names with which numbers and
//! numpy's arrays are written, because such values can be fields. The result of any other name is opaque: its value is
//! unknown and not needed.
//!
//! ```text
//!   bytes ──> machine.rs ──> heap.rs (stack, memo, tuples, numpy's objects: numbers and places only)
//!               │   └── cursor.rs: opcodes' arguments          └── lax.rs: what pydantic would take a value for
//!               └────── known.rs, numpy.rs: what a call would have given
//! ```
//!
//! Runs on the reader thread. Reuses its buffers from message to message. Does not recurse into nesting, does not copy
//! payloads, and takes time proportional to the message. Limits: see the constants below.

mod cursor;
mod heap;
mod known;
mod lax;
mod machine;
mod names;
mod numpy;
mod octets;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::pickle::{heap::Heap, machine::Machine};

pub use crate::pickle::lax::Value;

/// Why a pickle was refused: it is not a pickle of protocols 2 to 5, is truncated, or Python would refuse it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal(pub &'static str);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Refusal {}

/// Reads one pickle after the other.
#[derive(Debug, Default)]
pub struct Reader {
    heap: Heap,
}

/// The outermost dictionary of a pickle.
#[derive(Debug, Clone, Copy)]
pub struct Dictionary<'a> {
    bytes: &'a [u8],
    heap: &'a Heap,
}

/// A field of the outermost dictionary that can be read. Other fields are skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the fields' own")]
pub enum Field {
    Status,
    Path,
    Scannr,
    Description,
    Dt,
}

impl Reader {
    /// Reads a pickle with a dictionary as its outermost value; ignores bytes after its end, as Python does.
    ///
    /// # Errors
    /// Why the pickle was refused. The next call is not affected.
    pub fn read<'a>(&'a mut self, bytes: &'a [u8]) -> Result<Dictionary<'a>, Refusal> {
        self.heap.clear(bytes.len());
        Machine::new(bytes, &mut self.heap)?.run()?;
        Ok(Dictionary { bytes, heap: &self.heap })
    }

    /// Bytes that the buffers hold now.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.heap.memory()
    }
}

impl<'a> Dictionary<'a> {
    /// The value of a field; the last of duplicates.
    #[must_use]
    pub fn get(self, field: Field) -> Option<Value<'a>> {
        self.heap.fields[field as usize].map(|item| Value::new(self.bytes, self.heap, item))
    }

    /// Whether all keys are texts that can be encoded.
    #[must_use]
    pub fn has_only_text_keys(self) -> bool {
        !self.heap.odd_key
    }
}

impl Field {
    const COUNT: usize = 5;

    fn of(key: &[u8]) -> Option<Self> {
        match key {
            b"status" => Some(Field::Status),
            b"path" => Some(Field::Path),
            b"scannr" => Some(Field::Scannr),
            b"description" => Some(Field::Description),
            b"dt" => Some(Field::Dt),
            _ => None,
        }
    }
}

/// Limit each for values on the stack, memo entries, and kept tuple elements: at most 16 MiB. A real message has some
/// hundreds.
const MAX_VALUES: usize = 1 << 20;

/// By how much the index of a memo entry may exceed the message's length. Python numbers entries from 0, and each takes
/// a byte; a pickler that keeps counting from message to message stays below this limit for long.
const MEMO_BEYOND: usize = 1 << 10;

/// How often all bytes of a message may be read. A real message reads those of numpy's arrays twice.
const READ_AGAIN: usize = 8;

/// Open marks. Python's own pickler gives up at about 1000 levels of nesting.
const MAX_DEPTH: usize = 1 << 12;

/// Bytes of a module or class name.
const MAX_NAME: usize = 256;
