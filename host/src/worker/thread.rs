//! A worker inside the program whose events go to a function, on a thread of its own.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::Duration,
};

use tokio::sync::watch;

use super::{Worker, WorkerEvent};
use crate::{events::WaitError, names::WorkerName, park::wait_for};

/// A worker inside the program that calls a function for each event, on a thread of its own. Dropping this does not end it:
/// it ends with the host.
pub struct WorkerThread {
    name: WorkerName,
    /// Closed when the thread ends; true if the function has panicked.
    panicked: watch::Receiver<bool>,
}

impl WorkerThread {
    /// Starts the thread.
    pub(super) fn start(
        mut worker: Worker,
        mut each: impl FnMut(WorkerEvent) + Send + 'static,
    ) -> std::io::Result<Self> {
        let name = worker.name.clone();
        let (sender, panicked) = watch::channel(false);
        let life = move || {
            while let Some(Ok(event)) = wait_for(worker.wait_async(), None) {
                let number = event.number();
                // A panic must not leave the function half done for the next event: it is not called again.
                if catch_unwind(AssertUnwindSafe(|| each(event))).is_err() {
                    tracing::error!(
                        "worker {} of this program panicked at event {number}; it gets nothing more\n  the panic's message \
                         stands above, or where this program writes it",
                        worker.name
                    );
                    sender.send_replace(true);
                    break;
                }
            }
        };
        thread::Builder::new().name(format!("worker {name}")).spawn(life)?;
        Ok(Self { name, panicked })
    }

    /// The worker's name.
    #[must_use]
    pub fn name(&self) -> &WorkerName {
        &self.name
    }

    /// Whether its function has panicked. Then the worker is gone.
    #[must_use]
    pub fn has_panicked(&self) -> bool {
        *self.panicked.borrow()
    }

    /// Waits for its end: the host has stopped and the function was called for every event, or the function has panicked.
    /// Blocks the thread.
    ///
    /// # Errors
    /// The time is up.
    pub fn wait(&self, limit: Duration) -> Result<(), WaitError> {
        wait_for(self.wait_async(), Some(limit)).ok_or(WaitError::TimedOut)
    }

    /// Does the same as [`WorkerThread::wait`] without blocking, and without a limit.
    pub async fn wait_async(&self) {
        let mut panicked = self.panicked.clone();
        while panicked.changed().await.is_ok() {}
    }
}

impl fmt::Debug for WorkerThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerThread").field("name", &self.name).finish_non_exhaustive()
    }
}
