//! For the tests of sources: a host that keeps what it is told, and whose stop can be rung.

use std::{
    io::Write,
    os::{
        fd::{AsRawFd, RawFd},
        unix::net::UnixStream,
    },
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use framegate_plugin_api::{HostContext, HostServices, LogLevel};

/// A host for tests with real sockets: its stop can be rung, and it keeps what was logged.
#[derive(Debug)]
pub struct TestHost {
    /// Readable on the first end once something was written to the second.
    stop: (UnixStream, UnixStream),
    stopped: AtomicBool,
    lines: Mutex<Vec<(LogLevel, String)>>,
}

impl TestHost {
    /// A host, and the context that a source takes.
    ///
    /// # Panics
    /// The machine has no descriptors left.
    #[must_use]
    pub fn new() -> (Arc<Self>, HostContext) {
        let stop = UnixStream::pair().expect("a test can make a pair of sockets");
        let host = Arc::new(Self { stop, stopped: AtomicBool::new(false), lines: Mutex::default() });
        let context = HostContext::new("test", host.clone());
        (host, context)
    }

    /// Requests a stop, for ever.
    ///
    /// # Panics
    /// The machine refuses a byte.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        (&self.stop.1).write_all(&[1]).expect("the other end is open");
    }

    /// What was logged so far.
    ///
    /// # Panics
    /// A logging thread has panicked.
    #[must_use]
    pub fn lines(&self) -> Vec<(LogLevel, String)> {
        self.lines.lock().expect("nobody panics while logging").clone()
    }
}

impl HostServices for TestHost {
    fn log(&self, level: LogLevel, message: &str) {
        self.lines.lock().expect("nobody panics while logging").push((level, message.to_owned()));
    }
    fn stop_requested(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
    fn stop_descriptor(&self) -> RawFd {
        self.stop.0.as_raw_fd()
    }
}
