//! The same items as `host/src/sync.rs`, based on loom.

use std::{
    cell::RefCell,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, PoisonError},
    time::Duration,
};

pub(crate) use loom::sync::{Mutex, MutexGuard};
use nix::errno::Errno;
pub(crate) use nix::sys::eventfd::EfdFlags;

pub(crate) use crate::atomic;

/// A wait may end at any time, because the host's waits have a limit: the caller must check its condition again.
#[derive(Debug, Default)]
pub(crate) struct Condvar;

/// Result of a wait; the host does not check why it ended.
pub(crate) struct Waited;

impl Drop for Waited {
    fn drop(&mut self) {
        loom::thread::yield_now();
    }
}

impl Condvar {
    pub(crate) fn new() -> Self {
        Self
    }

    pub(crate) fn wait_timeout<T>(&self, guard: MutexGuard<'_, T>, _: Duration) -> Result<Waited, PoisonError<Waited>> {
        drop(guard);
        Ok(Waited)
    }

    pub(crate) fn notify_all(&self) {}
}

/// An eventfd: a number that is read and zeroed in one step.
#[derive(Debug, Clone, Default)]
pub(crate) struct EventFd {
    inner: Arc<(Mutex<u64>, loom::sync::Condvar)>,
}

thread_local! {
    /// Loom runs all its threads on one thread.
    static LAST: RefCell<Option<EventFd>> = const { RefCell::new(None) };
}

impl EventFd {
    pub(crate) fn from_flags(_: EfdFlags) -> nix::Result<Self> {
        let made = Self::default();
        LAST.set(Some(made.clone()));
        Ok(made)
    }

    /// The descriptor that was created last.
    pub(crate) fn last() -> Self {
        LAST.take().unwrap()
    }

    pub(crate) fn write(&self, count: u64) -> nix::Result<usize> {
        *self.inner.0.lock().unwrap() += count;
        self.inner.1.notify_all();
        Ok(8)
    }

    pub(crate) fn read(&self) -> nix::Result<u64> {
        match std::mem::take(&mut *self.inner.0.lock().unwrap()) {
            0 => Err(Errno::EAGAIN),
            count => Ok(count),
        }
    }

    pub(crate) fn is_readable(&self) -> bool {
        *self.inner.0.lock().unwrap() > 0
    }

    /// Like `poll` without a limit: a thread that is not woken blocks, and loom reports it.
    pub(crate) fn wait(&self) {
        let mut count = self.inner.0.lock().unwrap();
        while *count == 0 {
            count = self.inner.1.wait(count).unwrap();
        }
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        unreachable!("a model waits on `EventFd::wait`")
    }
}
