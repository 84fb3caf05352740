//! A reader of Python pickles that executes nothing.
//!
//! Python's own reader calls whatever a pickle asks for. This one calls nothing: it follows the stack machine of protocols 2
//! to 5 (`Lib/pickletools.py` of CPython describes each opcode), keeps where in the message the values are, and answers
//! only what a few fields of the outermost dictionary are. Of the names that a pickle asks for `known.rs` knows those that numbers and numpy's arrays
//! are written with, because such values can be one of the fields. What any other would have given is opaque: a value of which nothing is known,
//! and of which nothing needs to be.
//!
//! ```text
//!   bytes ──> machine.rs ──> heap.rs (stack, memo, tuples, numpy's objects: numbers and places only)
//!               │   └── cursor.rs: opcodes' arguments          └── lax.rs: what pydantic would take a value for
//!               └────── known.rs, numpy.rs: what a call would have given
//! ```
//!
//! Runs on the reader thread. Its buffers are kept from message to message. It never follows nesting by recursion, never
//! copies a payload, and takes time in proportion to the message. Limits: see the constants below.

mod cursor;
mod heap;
mod known;
mod lax;
mod machine;
mod numpy;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::pickle::{heap::Heap, machine::Machine};

pub use crate::pickle::lax::Value;

/// Why a pickle is not read: it is no pickle of protocols 2 to 5, is cut off, or Python would refuse it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal(pub &'static str);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Refusal {}

/// Reads pickles one after the other.
#[derive(Debug, Default)]
pub struct Reader {
    heap: Heap,
}

/// The outermost dictionary of a pickle that was read.
#[derive(Debug, Clone, Copy)]
pub struct Dictionary<'a> {
    bytes: &'a [u8],
    heap: &'a Heap,
}

/// A field of the outermost dictionary that can be asked for. Others are passed over.
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
    /// Reads a pickle whose outermost value is a dictionary; what follows its end is not looked at, as in Python.
    ///
    /// # Errors
    /// Why it is not read. The next call is not concerned.
    pub fn read<'a>(&'a mut self, bytes: &'a [u8]) -> Result<Dictionary<'a>, Refusal> {
        self.heap.clear(bytes.len());
        Machine::new(bytes, &mut self.heap)?.run()?;
        Ok(Dictionary { bytes, heap: &self.heap })
    }

    /// Bytes that the buffers hold at present.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.heap.memory()
    }
}

impl<'a> Dictionary<'a> {
    /// The value of a field; of duplicates the last.
    #[must_use]
    pub fn get(self, field: Field) -> Option<Value<'a>> {
        self.heap.fields[field as usize].map(|item| Value::new(self.bytes, self.heap, item))
    }

    /// Whether each key is a text that can be encoded.
    #[must_use]
    pub fn has_only_text_keys(self) -> bool {
        !self.heap.odd_key
    }
}

impl Field {
    const COUNT: usize = 5;

    fn of(key: &str) -> Option<Self> {
        match key {
            "status" => Some(Field::Status),
            "path" => Some(Field::Path),
            "scannr" => Some(Field::Scannr),
            "description" => Some(Field::Description),
            "dt" => Some(Field::Dt),
            _ => None,
        }
    }
}

/// Values on the stack, entries of the memo, and kept elements of tuples, each: at most 16 MiB. A real message has some
/// hundreds.
const MAX_VALUES: usize = 1 << 20;

/// By so much may an entry of the memo lie beyond the message's length. Python numbers entries from 0, and each takes a byte; one that goes on
/// counting from message to message stays below this for long.
const MEMO_BEYOND: usize = 1 << 10;

/// Open marks. Python's own pickler gives up at about 1000 levels of nesting.
const MAX_DEPTH: usize = 1 << 12;

/// Bytes of a module's or class's name.
const MAX_NAME: usize = 256;
