//! The items of CBOR, for [`read`](super::read): ciborium reads the heads, this adds the limits.
//!
//! Runs on the caller's thread; owns the bytes. Charges all memory of an item to the item's limit, and reads long
//! strings in pieces, so that a false length allocates nothing. Knows no events.

use std::{
    fmt,
    io::{self, ErrorKind, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use ciborium_io::Read as _;
pub(crate) use ciborium_ll::Header;
use ciborium_ll::{Decoder as Heads, Error};

/// Reads heads and strings.
pub(crate) struct Decoder<R: Read> {
    heads: Heads<Counted<R>>,
    /// Bytes read since the start of the file.
    read: Arc<AtomicU64>,
    /// Maximum number of bytes in memory for one item.
    limit: usize,
    /// The rest of the limit for the current item.
    left: usize,
}

/// The problem, and its position.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct DecodeError {
    /// Bytes since the start of the file.
    pub(crate) offset: u64,
    what: String,
}

/// The remaining elements of an array or map; `None`: until a break.
#[derive(Debug)]
pub(crate) struct Elements(Option<usize>);

impl Elements {
    /// Whether another element follows; consumes the break of an array without a length.
    pub(crate) fn more<R: Read>(&mut self, decoder: &mut Decoder<R>) -> Result<bool, DecodeError> {
        match &mut self.0 {
            Some(0) => return Ok(false),
            Some(left) => *left -= 1,
            None => match decoder.head()? {
                Header::Break => {
                    self.0 = Some(0);
                    return Ok(false);
                }
                head => decoder.heads.push(head),
            },
        }
        decoder.charge(ELEMENT)?;
        Ok(true)
    }
}

impl<R: Read> Decoder<R> {
    /// Reads from `bytes`; an item may use `limit` bytes of memory.
    pub(crate) fn new(bytes: R, limit: usize) -> Self {
        let read = Arc::default();
        Self { heads: Heads::from(Counted::new(bytes, &read)), read, limit, left: limit }
    }

    /// The head of the next item, or `None` at the end of the file.
    pub(crate) fn first_head(&mut self) -> Result<Option<Header>, DecodeError> {
        self.left = self.limit;
        let start = self.offset();
        match self.heads.pull() {
            Err(Error::Io(problem)) if is_end(&problem) && self.offset() == start => Ok(None),
            pulled => self.checked(pulled).map(Some),
        }
    }

    /// The next head within an item.
    pub(crate) fn head(&mut self) -> Result<Header, DecodeError> {
        let pulled = self.heads.pull();
        self.checked(pulled)
    }

    /// The elements of an array whose head was just read.
    pub(crate) fn array(&self, head: Header, what: &str) -> Result<Elements, DecodeError> {
        match head {
            Header::Array(len) => Ok(Elements(len)),
            other => Err(self.unexpected(what, other)),
        }
    }

    /// The entries of a map whose head was just read.
    pub(crate) fn map(&self, head: Header, what: &str) -> Result<Elements, DecodeError> {
        match head {
            Header::Map(len) => Ok(Elements(len)),
            other => Err(self.unexpected(what, other)),
        }
    }

    /// A text whose head was just read.
    pub(crate) fn text(&mut self, head: Header, what: &str) -> Result<String, DecodeError> {
        let Header::Text(Some(len)) = head else { return Err(self.unexpected(what, head)) };
        let bytes = self.string(len)?;
        String::from_utf8(bytes).map_err(|_| self.error(format!("{what} is not UTF-8")))
    }

    /// A byte string whose head was just read.
    pub(crate) fn bytes(&mut self, head: Header, what: &str) -> Result<Vec<u8>, DecodeError> {
        let Header::Bytes(Some(len)) = head else { return Err(self.unexpected(&format!("{what} as bytes"), head)) };
        self.string(len)
    }

    /// An error at the current position.
    pub(crate) fn error(&self, what: impl ToString) -> DecodeError {
        DecodeError { offset: self.offset(), what: what.to_string() }
    }

    fn offset(&self) -> u64 {
        self.read.load(Ordering::Relaxed) // only this thread reads bytes
    }

    /// The error for an unexpected item.
    pub(crate) fn unexpected(&self, expected: &str, found: Header) -> DecodeError {
        self.error(format!("expected {expected}, found {}", Shown(found)))
    }

    fn checked(&self, pulled: Result<Header, Error<io::Error>>) -> Result<Header, DecodeError> {
        match pulled {
            Ok(head) => Ok(head),
            Err(Error::Io(problem)) => Err(self.unreadable(&problem)),
            Err(Error::Syntax(_)) => Err(self.error("not CBOR")),
        }
    }

    fn unreadable(&self, problem: &io::Error) -> DecodeError {
        if is_end(problem) { self.error("the file ends in the middle of an item") } else { self.error(problem) }
    }

    fn string(&mut self, len: usize) -> Result<Vec<u8>, DecodeError> {
        self.charge(len)?;
        let mut bytes = Vec::new();
        while bytes.len() < len {
            let read = bytes.len();
            bytes.resize(len.min(read + PIECE), 0);
            self.heads.read_exact(&mut bytes[read..]).map_err(|problem| self.unreadable(&problem))?;
        }
        Ok(bytes)
    }

    fn charge(&mut self, bytes: usize) -> Result<(), DecodeError> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(self.error(format!("an item is larger than {} bytes", self.limit))),
        }
    }
}

fn is_end(problem: &io::Error) -> bool {
    problem.kind() == ErrorKind::UnexpectedEof
}

impl<R: Read> fmt::Debug for Decoder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("left", &self.left).finish_non_exhaustive()
    }
}

/// Counts the bytes that are read through it.
pub(super) struct Counted<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R> Counted<R> {
    pub(super) fn new(inner: R, count: &Arc<AtomicU64>) -> Self {
        Self { inner, count: count.clone() }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed); // a count for people
        Ok(read)
    }
}

/// A head, for people.
struct Shown(Header);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Header::Positive(value) => write!(f, "the number {value}"),
            Header::Negative(_) => f.write_str("a negative number"),
            Header::Bytes(Some(_)) => f.write_str("bytes"),
            Header::Text(Some(_)) => f.write_str("text"),
            Header::Bytes(None) | Header::Text(None) => f.write_str("a string without a length"),
            Header::Array(_) => f.write_str("a list"),
            Header::Map(_) => f.write_str("a map"),
            Header::Tag(tag) => write!(f, "tag {tag}"),
            Header::Float(value) => write!(f, "the number {value}"),
            Header::Simple(_) => f.write_str("a simple value"),
            Header::Break => f.write_str("a break"),
        }
    }
}

/// The cost of an element in addition to its bytes: about the size of a `Vec` and its allocation.
const ELEMENT: usize = 64;

/// Bytes of a string that are read, and allocated, at once.
const PIECE: usize = 1 << 20;
