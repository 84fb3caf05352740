//! Waits for tokio I/O, for the host's stop, and for a deadline, on the thread that calls the source.
//!
//! Runs on the reader thread; owns a current-thread runtime, which lives as long as the source. Nothing happens between
//! the host's calls. Must not be called from inside a runtime: the host's reader threads are outside of one.

use std::{fmt, os::fd::OwnedFd};

use framegate_plugin_api::{Context as _, Deadline, HostContext, SourceError};
use tokio::{
    io::{Interest, unix::AsyncFd},
    runtime::Runtime,
    time::{Instant, sleep_until},
};

/// A runtime, with the host's stop registered in it.
pub struct Reactor {
    // Dropped in this order: the registration belongs to the runtime.
    stop: AsyncFd<OwnedFd>,
    runtime: Runtime,
    host: HostContext,
}

impl Reactor {
    /// Uses a runtime with I/O and time enabled.
    ///
    /// # Errors
    /// The machine refuses to watch the host's stop descriptor.
    pub fn new(runtime: Runtime, host: &HostContext) -> Result<Self, SourceError> {
        let entered = runtime.enter();
        // A descriptor of its own for the same stop: it stays open as long as the runtime watches it.
        let stop = host.stop_descriptor().try_clone_to_owned();
        #[allow(deprecated, reason = "the new name is unsafe, which sources are forbidden; this descriptor is owned")]
        let stop = stop
            .and_then(|stop| AsyncFd::with_interest(stop, Interest::READABLE))
            .context("the host's stop cannot be waited for")?;
        drop(entered);
        Ok(Self { stop, runtime, host: host.clone() })
    }

    /// Returns the future's result; `None` when the deadline passes or a stop is requested. The future is then dropped.
    pub fn wait<T>(&self, future: impl Future<Output = T>, deadline: Deadline) -> Option<T> {
        if self.host.stop_requested() {
            return None;
        }
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                value = future => Some(value),
                () = sleep_until(Instant::now() + deadline.left()) => None,
                rung = self.stop.readable() => {
                    // Clear this ring. `stop_requested` tells whether it still applies.
                    if let Ok(mut rung) = rung {
                        rung.clear_ready();
                    }
                    None
                }
            }
        })
    }

    /// The runtime, to start tasks on.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use super::*;
    use crate::testing::TestHost;

    #[test]
    fn a_wait_ends_with_its_value_its_deadline_or_a_stop() {
        let (host, context) = TestHost::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let reactor = Reactor::new(runtime, &context).unwrap();
        let long = Deadline::after(Duration::from_secs(3600));
        assert_eq!(reactor.wait(async { 5 }, long), Some(5));
        assert_eq!(reactor.wait(std::future::pending::<()>(), Deadline::after(Duration::from_millis(5))), None);
        let stopper = thread::spawn(move || host.stop());
        assert_eq!(reactor.wait(std::future::pending::<()>(), long), None);
        stopper.join().unwrap();
        assert_eq!(reactor.wait(async { 5 }, long), None);
    }
}
