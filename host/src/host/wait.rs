//! Waits for a host, and for changes of its state.

use std::time::Duration;

use tokio::sync::watch;

use super::Host;
use crate::{
    events::WaitError,
    observe::status::{Observer, Status},
    park::wait_for,
};

/// A thread or task of a host has died. That is a bug; the rest continues, but the program should be restarted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} has died; this is a bug, the log may say more")]
#[non_exhaustive]
pub struct HostFailure {
    /// What has died.
    pub what: String,
}

/// A subscription to the state of a host: always the latest. It may outlive a borrow of the host.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/counter.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let host = host()?;
/// use std::time::Duration;
///
/// let mut watch = host.watch();
/// let mut scan = host.scan().begin()?;
/// while watch.status().ingesters[0].ready != Some(scan.id()) {
///     watch.wait(Duration::from_secs(10))?;
/// }
/// scan.finish(Duration::from_secs(10))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Watch {
    bell: watch::Receiver<bool>,
    observer: Observer,
}

impl Watch {
    pub(super) fn new(bell: watch::Receiver<bool>, observer: Observer) -> Self {
        Self { bell, observer }
    }

    /// The state now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.observer.status()
    }

    /// Waits until the state has changed since the last call, and returns it. Counts change it up to five times a second,
    /// everything else at once. Blocks the thread.
    ///
    /// # Errors
    /// The time is up, or the host has stopped.
    pub fn wait(&mut self, limit: Duration) -> Result<Status, WaitError> {
        wait_for(self.wait_async(), Some(limit)).unwrap_or(Err(WaitError::TimedOut))
    }

    /// Does the same as [`Watch::wait`] without blocking, and without a limit.
    ///
    /// # Errors
    /// The host has stopped.
    pub async fn wait_async(&mut self) -> Result<Status, WaitError> {
        let open = !*self.bell.borrow() && self.bell.changed().await.is_ok() && !*self.bell.borrow();
        if open { Ok(self.status()) } else { Err(WaitError::Stopped) }
    }
}

impl Host {
    /// Waits until the host is done: standalone after the configured number of scans, otherwise never. Then
    /// [`Host::shutdown`] ends it. Blocks the thread.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/counter.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let host = host()?;
    /// use std::time::Duration;
    ///
    /// // This host is controlled by its program, so it is never done.
    /// assert!(!host.wait_timeout(Duration::from_millis(10))?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A part of the host has died.
    pub fn wait(&self) -> Result<(), HostFailure> {
        wait_for(self.wait_async(), None).unwrap_or(Ok(()))
    }

    /// Does the same as [`Host::wait`], at most for this time. Returns whether the host is done.
    ///
    /// # Errors
    /// A part of the host has died.
    pub fn wait_timeout(&self, limit: Duration) -> Result<bool, HostFailure> {
        match wait_for(self.wait_async(), Some(limit)) {
            Some(done) => done.map(|()| true),
            None => Ok(false),
        }
    }

    /// Does the same as [`Host::wait`] without blocking.
    ///
    /// # Errors
    /// A part of the host has died.
    pub async fn wait_async(&self) -> Result<(), HostFailure> {
        let mut bell = self.news.bell();
        loop {
            if self.is_done() {
                return Ok(());
            }
            if let Some(failure) = self.failure() {
                return Err(failure);
            }
            // This host holds the other end.
            let _ = bell.changed().await;
        }
    }
}
