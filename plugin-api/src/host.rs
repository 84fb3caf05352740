//! What the host offers a source.

use std::{
    fmt, io,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use crate::{Deadline, HostServices, LogLevel};

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
    /// Writes one line to the host's log, with the stream's name. Log one line for a change of state; count frequent
    /// events instead. The macros of `tracing` and `log` reach the same log.
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
    pub fn stop_descriptor(&self) -> BorrowedFd<'_> {
        self.services.stop_descriptor()
    }
    /// Waits until there is something to read from `descriptor`: data, a connection, an end, or an error. Returns false
    /// when the deadline has passed or a stop is requested; return from [`SourceRun::next`](crate::SourceRun::next)
    /// then.
    ///
    /// # Errors
    /// The machine cannot wait for this descriptor.
    pub fn wait_readable(&self, descriptor: impl AsFd, deadline: Deadline) -> io::Result<bool> {
        loop {
            let stop = PollFd::new(self.stop_descriptor(), PollFlags::POLLIN);
            let mut both = [stop, PollFd::new(descriptor.as_fd(), PollFlags::POLLIN)];
            let left = PollTimeout::try_from(deadline.left_ms()).unwrap_or(PollTimeout::MAX);
            match poll(&mut both, left) {
                Err(Errno::EINTR) => {}
                Err(problem) => return Err(problem.into()),
                Ok(0) if !deadline.passed() => {}
                Ok(_) => {
                    let [stop, own] = both.map(|one| one.any().unwrap_or(true));
                    return Ok(own && !stop);
                }
            }
        }
    }
}

impl fmt::Debug for HostContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostContext").field("stream", &self.stream).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, net::UdpSocket, thread, time::Duration};

    use crate::{Deadline, testing::TestHost};

    #[test]
    fn a_wait_ends_with_data_its_deadline_or_a_stop() {
        let (host, context) = TestHost::new();
        let (end, mut other) = std::io::pipe().unwrap();
        assert!(!context.wait_readable(&end, Deadline::after(Duration::from_millis(5))).unwrap());
        other.write_all(b"x").unwrap();
        let long = Deadline::after(Duration::from_secs(3600));
        assert!(context.wait_readable(&end, long).unwrap());
        // Its end is something to read too.
        let (end, _) = std::io::pipe().unwrap();
        assert!(context.wait_readable(&end, long).unwrap());
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let stopper = thread::spawn(move || host.stop());
        assert!(!context.wait_readable(&silent, long).unwrap());
        stopper.join().unwrap();
    }
}
