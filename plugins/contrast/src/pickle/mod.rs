//! A reader of Python pickles that executes nothing.
//!
//! Python's own reader calls whatever a pickle asks for. This one calls nothing: it follows the stack machine of protocols 2
//! to 5 (`Lib/pickletools.py` of CPython describes each opcode), keeps where in the message the values are, and answers
//! only what a few fields of the outermost dictionary are. A name that a pickle asks for must be in the list of
//! `known.rs`, which holds what numbers, times and numpy's arrays are written with; any other refuses the message, with
//! its name.
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

/// Why a pickle is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It is no pickle of protocols 2 to 5, is cut off, or Python would refuse it too.
    Malformed(&'static str),
    /// It asks for something to be called that is not in the list of what is known to be data.
    Asks {
        /// `module.name`, as the pickle writes it, shortened and with control characters escaped.
        name: String,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Malformed(reason) => f.write_str(reason),
            Refusal::Asks { name } => write!(f, "{ASKS}: {name}"),
        }
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
        self.heap.clear();
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

/// The reason under which a refused name is counted.
pub(crate) const ASKS: &str = "the pickle asks for a name that is not known to be data";

/// Values on the stack, entries of the memo, and kept elements of tuples, each: at most 16 MiB. A real message has some
/// hundreds.
const MAX_VALUES: usize = 1 << 20;

/// Open marks. Python's own pickler gives up at about 1000 levels of nesting.
const MAX_DEPTH: usize = 1 << 12;

/// Bytes of a module's or class's name.
const MAX_NAME: usize = 256;
