//! What the host offers a source.

use std::{fmt, os::fd::RawFd, sync::Arc};

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Something is broken.
    Error,
    /// Something is odd, and was dealt with.
    Warn,
    /// A change of state, for the operator.
    Info,
    /// For developers.
    Debug,
}

/// The host's side of a [`HostContext`]; implemented by the host and by the boundary. Authors of plugins do not need it.
pub trait HostServices: Send + Sync {
    /// Writes one line to the host's log, with the stream's name. [any thread]
    fn log(&self, level: LogLevel, message: &str);
    /// Whether the current call should return soon. [any thread]
    fn stop_requested(&self) -> bool;
    /// A descriptor that is readable while a stop is requested; never read from it. [any thread]
    fn stop_descriptor(&self) -> RawFd;
}

/// What the host offers a source: its log, the stream's name, and when to stop. Cheap to clone, usable on any thread.
#[derive(Clone)]
pub struct HostContext {
    stream: Arc<str>,
    services: Arc<dyn HostServices>,
}

impl HostContext {
    /// Made by the host, one for each instance.
    pub fn new(stream: &str, services: Arc<dyn HostServices>) -> Self {
        Self { stream: stream.into(), services }
    }
    /// The stream this source feeds.
    #[must_use]
    pub fn stream(&self) -> &str {
        &self.stream
    }
    /// Writes one line to the host's log. One line for a change of state; count what happens often.
    pub fn log(&self, level: LogLevel, message: impl AsRef<str>) {
        self.services.log(level, message.as_ref());
    }
    /// Whether the current call should return soon.
    #[must_use]
    pub fn stop_requested(&self) -> bool {
        self.services.stop_requested()
    }
    /// A descriptor that becomes readable when a stop is requested, to wait on beside one's own. Never read from it.
    #[must_use]
    pub fn stop_descriptor(&self) -> RawFd {
        self.services.stop_descriptor()
    }
}

impl fmt::Debug for HostContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostContext").field("stream", &self.stream).finish_non_exhaustive()
    }
}
