//! What the host offers a source.

use std::{fmt, os::fd::RawFd, sync::Arc};

use crate::{HostServices, LogLevel};

/// What the host offers a source: its log, the stream's name, and the stop request. Cheap to clone, usable on any
/// thread.
#[derive(Clone)]
pub struct HostContext {
    stream: Arc<str>,
    services: Arc<dyn HostServices>,
}

impl HostContext {
    /// Creates a context; the host creates one for each instance.
    pub fn new(stream: &str, services: Arc<dyn HostServices>) -> Self {
        Self { stream: stream.into(), services }
    }
    /// The stream this source feeds.
    #[must_use]
    pub fn stream(&self) -> &str {
        &self.stream
    }
    /// Writes one line to the host's log. Log one line for a change of state; count frequent events instead.
    pub fn log(&self, level: LogLevel, message: impl AsRef<str>) {
        self.services.log(level, message.as_ref());
    }
    /// Whether the current call should return soon.
    #[must_use]
    pub fn stop_requested(&self) -> bool {
        self.services.stop_requested()
    }
    /// A descriptor that becomes readable when a stop is requested, to wait on beside your own. Never read from it.
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
