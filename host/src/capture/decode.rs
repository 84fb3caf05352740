//! The bytes and heads of CBOR, for [`read`](super::read).
//!
//! Runs on the caller's thread; owns the bytes. Charges all memory of an item to the item's limit, and reads long
//! strings in pieces, so that a false length allocates nothing. Knows no events.

use std::{
    fmt,
    io::{self, ErrorKind, Read},
};

/// Reads heads and strings.
#[derive(Debug)]
pub(crate) struct Decoder<R> {
    bytes: R,
    /// Bytes read since the start of the file.
    offset: u64,
    /// Maximum number of bytes in memory for one item.
    limit: u64,
    /// The rest of the limit for the current item.
    left: u64,
    /// The first byte of the next head, if it was read to check for a break.
    peeked: Option<u8>,
}

/// The head of an item: its type, and its value or length. Without a length, the item ends with a break.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Head {
    Unsigned(u64),
    Negative,
    Bytes(Option<u64>),
    Text(Option<u64>),
    Array(Option<u64>),
    Map(Option<u64>),
    Tag(u64),
    Float(f64),
    Simple,
    Break,
}

/// The problem, and its position.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Bad {
    /// Bytes since the start of the file.
    pub(crate) offset: u64,
    what: String,
}

/// The remaining elements of an array or map.
#[derive(Debug)]
pub(crate) struct Elements(Option<u64>);

impl Elements {
    /// Whether another element follows; consumes the break of an array without a length.
    pub(crate) fn more<R: Read>(&mut self, decoder: &mut Decoder<R>) -> Result<bool, Bad> {
        match &mut self.0 {
            Some(0) => Ok(false),
            Some(left) => {
                *left -= 1;
                decoder.charge(ELEMENT)?;
                Ok(true)
            }
            None => {
                decoder.charge(ELEMENT)?;
                let [first] = decoder.exact::<1>()?;
                if first == BREAK {
                    self.0 = Some(0);
                    return Ok(false);
                }
                decoder.peeked = Some(first);
                Ok(true)
            }
        }
    }
}

impl<R: Read> Decoder<R> {
    /// Reads from `bytes`; an item may use `limit` bytes of memory.
    pub(crate) fn new(bytes: R, limit: u64) -> Self {
        Self { bytes, offset: 0, limit, left: limit, peeked: None }
    }

    /// The head of the next item, or `None` at the end of the file.
    pub(crate) fn first_head(&mut self) -> Result<Option<Head>, Bad> {
        self.left = self.limit;
        let mut byte = [0];
        match read_some(&mut self.bytes, &mut byte) {
            Ok(0) => Ok(None),
            Ok(_) => {
                self.offset += 1;
                self.head_from(byte[0]).map(Some)
            }
            Err(error) => Err(self.bad(error)),
        }
    }

    /// The next head within an item.
    pub(crate) fn head(&mut self) -> Result<Head, Bad> {
        let first = match self.peeked.take() {
            Some(first) => first,
            None => self.exact::<1>()?[0],
        };
        self.head_from(first)
    }

    /// The elements of an array whose head was just read.
    pub(crate) fn array(&self, head: Head, what: &str) -> Result<Elements, Bad> {
        match head {
            Head::Array(len) => Ok(Elements(len)),
            other => Err(self.unexpected(what, other)),
        }
    }

    /// The entries of a map whose head was just read.
    pub(crate) fn map(&self, head: Head, what: &str) -> Result<Elements, Bad> {
        match head {
            Head::Map(len) => Ok(Elements(len)),
            other => Err(self.unexpected(what, other)),
        }
    }

    /// A text whose head was just read.
    pub(crate) fn text(&mut self, head: Head, what: &str) -> Result<String, Bad> {
        let Head::Text(Some(len)) = head else { return Err(self.unexpected(what, head)) };
        let bytes = self.string(len)?;
        String::from_utf8(bytes).map_err(|_| self.bad(format!("{what} is not UTF-8")))
    }

    /// A byte string whose head was just read.
    pub(crate) fn bytes(&mut self, head: Head, what: &str) -> Result<Vec<u8>, Bad> {
        let Head::Bytes(Some(len)) = head else { return Err(self.unexpected(&format!("{what} as bytes"), head)) };
        self.string(len)
    }

    /// An error at the current position.
    pub(crate) fn bad(&self, what: impl ToString) -> Bad {
        Bad { offset: self.offset, what: what.to_string() }
    }

    /// The error for an unexpected item.
    pub(crate) fn unexpected(&self, expected: &str, found: Head) -> Bad {
        self.bad(format!("expected {expected}, found {found}"))
    }

    fn head_from(&mut self, first: u8) -> Result<Head, Bad> {
        let (major, short) = (first >> 5, first & 31);
        let value = match short {
            0..24 => Some(u64::from(short)),
            24 => Some(u64::from(self.exact::<1>()?[0])),
            25 => Some(u64::from(u16::from_be_bytes(self.exact()?))),
            26 => Some(u64::from(u32::from_be_bytes(self.exact()?))),
            27 => Some(u64::from_be_bytes(self.exact()?)),
            31 if matches!(major, 2..=5 | 7) => None,
            _ => return Err(self.bad(format!("not CBOR (byte 0x{first:02x})"))),
        };
        Ok(match (major, value) {
            (0, Some(value)) => Head::Unsigned(value),
            (1, _) => Head::Negative,
            (2, len) => Head::Bytes(len),
            (3, len) => Head::Text(len),
            (4, len) => Head::Array(len),
            (5, len) => Head::Map(len),
            (6, Some(tag)) => Head::Tag(tag),
            (_, None) => Head::Break,
            (_, Some(value)) => match short {
                25 => Head::Float(f64_of_half(value as u16)),
                26 => Head::Float(f64::from(f32::from_bits(value as u32))),
                27 => Head::Float(f64::from_bits(value)),
                _ => Head::Simple,
            },
        })
    }

    fn string(&mut self, len: u64) -> Result<Vec<u8>, Bad> {
        self.charge(len)?;
        let mut bytes = Vec::new();
        let read = (&mut self.bytes).take(len).read_to_end(&mut bytes);
        self.offset += bytes.len() as u64;
        match read {
            Ok(read) if read as u64 == len => Ok(bytes),
            Ok(_) => Err(self.bad(CUT_OFF)),
            Err(error) => Err(self.bad(error)),
        }
    }

    fn exact<const N: usize>(&mut self) -> Result<[u8; N], Bad> {
        let mut bytes = [0; N];
        let mut filled = 0;
        while filled < N {
            match read_some(&mut self.bytes, &mut bytes[filled..]) {
                Ok(0) => return Err(self.bad(CUT_OFF)),
                Ok(n) => {
                    filled += n;
                    self.offset += n as u64;
                }
                Err(error) => return Err(self.bad(error)),
            }
        }
        Ok(bytes)
    }

    fn charge(&mut self, bytes: u64) -> Result<(), Bad> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(self.bad(format!("an item is larger than {} bytes", self.limit))),
        }
    }
}

fn read_some(bytes: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match bytes.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Converts an IEEE 754 half-precision float, which encoders use for values that fit.
fn f64_of_half(bits: u16) -> f64 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let fraction = f64::from(bits & 0x3ff);
    sign * match (bits >> 10) & 0x1f {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        exponent => (1.0 + fraction / 1024.0) * 2f64.powi(i32::from(exponent) - 15),
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(value) => write!(f, "the number {value}"),
            Self::Negative => f.write_str("a negative number"),
            Self::Bytes(Some(_)) => f.write_str("bytes"),
            Self::Text(Some(_)) => f.write_str("text"),
            Self::Bytes(None) | Self::Text(None) => f.write_str("a string without a length"),
            Self::Array(_) => f.write_str("a list"),
            Self::Map(_) => f.write_str("a map"),
            Self::Tag(tag) => write!(f, "tag {tag}"),
            Self::Float(value) => write!(f, "the number {value}"),
            Self::Simple => f.write_str("a simple value"),
            Self::Break => f.write_str("a break"),
        }
    }
}

/// The cost of an element in addition to its bytes: about the size of a `Vec` and its allocation.
const ELEMENT: u64 = 64;

/// The head that ends an array or map without a length.
const BREAK: u8 = 0xff;

const CUT_OFF: &str = "the file ends in the middle of an item";
