//! What a source says when it cannot go on, and whose fault it is.

/// Why a source failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    kind: ErrorKind,
    message: String,
}

/// Whose fault a [`SourceError`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The person who configured the stream: a setting or parameter is wrong.
    Settings,
    /// The network or the machine: an address cannot be used, a connection broke for good.
    Connect,
    /// The detector: it sent what its protocol does not allow, and the run cannot go on.
    Protocol,
    /// The plugin itself.
    Internal,
}

impl SourceError {
    /// An error of the given kind; the message says what happened, where, and what to do.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
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
    /// Whose fault it is.
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
