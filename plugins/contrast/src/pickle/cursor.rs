//! Reads opcodes' arguments from the message. Pure; the only state is the position.

use crate::pickle::{MAX_NAME, Refusal};

/// A range in the message: position and length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    at: u32,
    length: u32,
}

/// A position in a message; moves forward only.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    /// Invariant: at most `bytes.len()`, which fits into 32 bits.
    at: usize,
}

impl Span {
    /// Its length in bytes.
    pub(super) fn size(self) -> usize {
        self.length as usize
    }

    /// The bytes of this span; `bytes` must be the message that the span was made from.
    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.at as usize..).and_then(|rest| rest.get(..self.length as usize)).unwrap_or_default()
    }
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Refusal> {
        if u32::try_from(bytes.len()).is_err() {
            return Err(Refusal("a pickle of 4 GiB or more"));
        }
        Ok(Self { bytes, at: 0 })
    }

    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Takes the next `length` bytes.
    pub(super) fn take(&mut self, length: usize) -> Result<Span, Refusal> {
        if length > self.bytes.len() - self.at {
            return Err(CUT_OFF);
        }
        // Both fit, because the message's length does.
        let span = Span { at: self.at as u32, length: length as u32 };
        self.at += length;
        Ok(span)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Refusal> {
        let byte = *self.bytes.get(self.at).ok_or(CUT_OFF)?;
        self.at += 1;
        Ok(byte)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let (array, _) = self.bytes[self.at..].split_first_chunk().ok_or(CUT_OFF)?;
        self.at += N;
        Ok(*array)
    }

    /// A four-byte length.
    pub(super) fn length4(&mut self) -> Result<usize, Refusal> {
        self.array().map(|bytes| u32::from_le_bytes(bytes) as usize)
    }

    /// An eight-byte length; a value that does not fit is longer than any message.
    pub(super) fn length8(&mut self) -> Result<usize, Refusal> {
        self.array().map(|bytes| usize::try_from(u64::from_le_bytes(bytes)).unwrap_or(usize::MAX))
    }

    /// The bytes up to the end of the line; skips the line end.
    pub(super) fn line(&mut self) -> Result<&'a [u8], Refusal> {
        let rest = &self.bytes[self.at..];
        let window = &rest[..rest.len().min(MAX_NAME + 1)];
        let length = window.iter().position(|byte| *byte == b'\n').ok_or(if rest.len() > MAX_NAME {
            Refusal("a name of more than 256 bytes")
        } else {
            CUT_OFF
        })?;
        self.at += length + 1;
        Ok(&rest[..length])
    }

    /// Fails if fewer than `length` bytes are left.
    pub(super) fn expect(&self, length: usize) -> Result<(), Refusal> {
        if length > self.bytes.len() - self.at { Err(CUT_OFF) } else { Ok(()) }
    }
}

const CUT_OFF: Refusal = Refusal("the pickle is cut off");
