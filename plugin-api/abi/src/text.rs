//! Text and bytes that are borrowed for a call, and the callback that takes a long text from a plugin.
#![allow(unsafe_code)]

use std::{ffi::c_void, slice};

#[cfg(feature = "layout")]
use abi_stable::StableAbi;

/// Bytes that the caller keeps unchanged during the call; UTF-8 if the field or parameter is documented as text.
#[repr(C)]
#[cfg_attr(feature = "layout", derive(StableAbi))]
#[derive(Debug, Clone, Copy)]
pub struct Text {
    /// First byte; may be dangling when `len` is 0.
    pub data: *const u8,
    /// Number of bytes.
    pub len: usize,
}

impl Text {
    /// Borrows `text`.
    #[must_use]
    pub const fn new(text: &str) -> Self {
        Self::bytes(text.as_bytes())
    }

    /// Borrows `bytes`.
    #[must_use]
    pub const fn bytes(bytes: &[u8]) -> Self {
        Self { data: bytes.as_ptr(), len: bytes.len() }
    }

    /// The bytes, for as long as the caller keeps them. A null pointer gives an empty slice.
    ///
    /// # Safety
    /// - `data` is null, or points to `len` bytes that stay readable and unchanged during `'a`.
    #[must_use]
    pub unsafe fn as_bytes<'a>(self) -> &'a [u8] {
        if self.data.is_null() || self.len == 0 || self.len > isize::MAX as usize {
            return &[];
        }
        // SAFETY: `data` is not null and points to `len` readable bytes that nobody changes during `'a`, as the caller
        // promises; `len` does not exceed `isize::MAX`.
        unsafe { slice::from_raw_parts(self.data, self.len) }
    }

    /// The text, or an error.
    ///
    /// # Safety
    /// - As for [`Text::as_bytes`].
    ///
    /// # Errors
    /// When the bytes are not UTF-8.
    pub unsafe fn as_str<'a>(self) -> Result<&'a str, std::str::Utf8Error> {
        // SAFETY: the caller promises what `as_bytes` asks for.
        std::str::from_utf8(unsafe { self.as_bytes() })
    }
}

/// A host function that takes text, with its context; valid during one call.
#[repr(C)]
#[cfg_attr(feature = "layout", derive(StableAbi))]
#[derive(Debug, Clone, Copy)]
pub struct Sink {
    /// Passed to `take` unchanged.
    pub context: *mut c_void,
    /// `[instance thread, inside the call that got the sink]` Takes a text, or the next piece of it.
    pub take: unsafe extern "C" fn(context: *mut c_void, text: Text),
}

impl Sink {
    /// Hands over one text.
    ///
    /// # Safety
    /// - The call that got the sink is still running, and this is its thread.
    pub unsafe fn give(&self, text: &str) {
        // SAFETY: the caller promises that the sink is still valid; the text lives during the call.
        unsafe { (self.take)(self.context, Text::new(text)) }
    }
}
