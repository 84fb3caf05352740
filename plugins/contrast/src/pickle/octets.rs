//! Bytes in a pickle, and how they are decoded. Pure.

use std::borrow::Cow;

use crate::pickle::cursor::Span;

/// `bytes` or `bytearray`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Octets {
    pub(super) span: Span,
    /// Protocol 2 has no bytes, so they are written as a text with the same code points.
    pub(super) as_text: bool,
    /// A `bytearray`.
    pub(super) is_array: bool,
}

impl Octets {
    /// The number of bytes.
    pub(super) fn length(self, bytes: &[u8]) -> usize {
        let written = self.span.of(bytes);
        if self.as_text {
            // For a code point up to 255, a second UTF-8 byte is 0b10xx_xxxx.
            written.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
        } else {
            written.len()
        }
    }

    /// The bytes themselves.
    pub(super) fn decode(self, bytes: &[u8]) -> Cow<'_, [u8]> {
        let written = self.span.of(bytes);
        if !self.as_text || written.is_ascii() {
            return Cow::Borrowed(written);
        }
        let text = std::str::from_utf8(written).unwrap_or_default();
        text.chars().map(|char| u32::from(char) as u8).collect()
    }
}
