//! The error that a source returns when it cannot continue, and the buffer that carries it across the boundary.
#![allow(unsafe_code)]

use std::{error::Error, fmt, io, ptr, sync::Arc};

#[cfg(feature = "layout")]
use abi_stable::StableAbi;

use crate::codes::ErrorKind;

/// Why a source failed.
///
/// `?` turns a [`std::io::Error`] into one of kind [`Connect`](ErrorKind::Connect). Only kind and message cross the
/// boundary; [`Error::source`] is for the plugin itself.
#[derive(Debug, Clone)]
pub struct SourceError {
    kind: ErrorKind,
    message: String,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl SourceError {
    /// An error of the given kind; the message says what happened, where, and what to do.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }
    /// An error of the given kind that another error caused; its message is that error's.
    pub fn from_source(kind: ErrorKind, source: impl Error + Send + Sync + 'static) -> Self {
        Self { kind, message: source.to_string(), source: Some(Arc::new(source)) }
    }
    /// The same error, with what was attempted before its message: `CONTEXT: MESSAGE`.
    #[must_use]
    pub fn context(self, context: impl fmt::Display) -> Self {
        Self { message: format!("{context}: {}", self.message), ..self }
    }
    /// A setting or parameter is wrong.
    pub fn settings(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Settings, message)
    }
    /// The network or the machine refused.
    pub fn connect(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Connect, message)
    }
    /// The detector sent what its protocol does not allow.
    pub fn protocol(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Protocol, message)
    }
    /// The plugin itself is wrong.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }
    /// The cause of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
    /// The message alone.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for SourceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl PartialEq for SourceError {
    fn eq(&self, other: &Self) -> bool {
        (self.kind, &self.message) == (other.kind, &other.message)
    }
}

impl Eq for SourceError {}

impl From<io::Error> for SourceError {
    fn from(error: io::Error) -> Self {
        Self::from_source(ErrorKind::Connect, error)
    }
}

/// Where a plugin writes why a call failed. The host owns it; it is valid during the call.
#[repr(C)]
#[cfg_attr(feature = "layout", derive(StableAbi))]
#[derive(Debug)]
pub struct ErrorBuffer {
    /// Room for the message; not initialised.
    pub data: *mut u8,
    /// Capacity in bytes.
    pub capacity: usize,
    /// Length of the message in bytes, UTF-8; the plugin sets it. Longer messages are cut.
    pub len: usize,
    /// An [`ErrorKind`]'s code; the plugin sets it.
    pub kind: i32,
}

impl ErrorBuffer {
    /// Writes kind and message, cut to the capacity. Does nothing without a buffer.
    ///
    /// # Safety
    /// - `buffer` is null, or points to a buffer whose `data` has room for `capacity` bytes;
    /// - nobody else uses the buffer during the call.
    pub unsafe fn fill(buffer: *mut Self, kind: ErrorKind, message: &str) {
        // SAFETY: null, or valid and exclusive during the call, as the caller promises.
        let Some(buffer) = (unsafe { buffer.as_mut() }) else { return };
        let cut = (0..=message.len().min(buffer.capacity)).rev().find(|&at| message.is_char_boundary(at)).unwrap_or(0);
        buffer.kind = kind.code();
        buffer.len = cut;
        if cut > 0 {
            // SAFETY: `cut` is at most the message's length and at most `capacity`, the size of `data`; our message and
            // the host's buffer do not overlap.
            unsafe { ptr::copy_nonoverlapping(message.as_ptr(), buffer.data, cut) }
        }
    }
}
