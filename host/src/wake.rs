//! A descriptor that any thread can ring and one thread waits for.
//!
//! Ringing costs a system call only if the sleeper has not been rung since it last looked, so a flood of rings is cheap.

use std::{
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use crate::sync::{
    EfdFlags, EventFd,
    atomic::{AtomicBool, Ordering},
};

/// Both ends; cheap to clone. [any thread]
#[derive(Clone, Debug)]
pub(crate) struct Wake {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    fd: EventFd,
    /// Whether the descriptor is readable, or about to be.
    rung: AtomicBool,
}

impl Wake {
    pub(crate) fn new() -> std::io::Result<Self> {
        let fd = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        Ok(Self { inner: Arc::new(Inner { fd, rung: AtomicBool::new(false) }) })
    }

    /// Makes the descriptor readable. A thread that calls [`Wake::clear`] later sees everything written before.
    pub(crate) fn ring(&self) {
        // PAIR rung: with the swap in `clear`. If this finds `true`, the sleeper's swap comes later and sees our writes.
        if !self.inner.rung.swap(true, Ordering::AcqRel) {
            // The counter cannot overflow: one write for each `clear`.
            let _ = self.inner.fd.write(1);
        }
    }

    /// The sleeper calls this before it looks for work.
    pub(crate) fn clear(&self) {
        // A ringer may be between its swap and its write. Then the flag is left alone; otherwise the write would leave
        // the descriptor readable for ever, and the waiting thread would spin.
        if self.is_rung() && self.inner.fd.read().is_ok() {
            // PAIR rung: see `ring`. The descriptor is read first, so that the clearing thread sees a ring in between.
            self.inner.rung.swap(false, Ordering::AcqRel);
        }
    }

    /// Whether somebody rang since the last `clear`.
    pub(crate) fn is_rung(&self) -> bool {
        self.inner.rung.load(Ordering::Acquire)
    }

    /// The descriptor, for `poll`.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.inner.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn readable(wake: &Wake, timeout: Duration) -> bool {
        let mut fds = [PollFd::new(wake.descriptor(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::try_from(timeout).unwrap()).unwrap() == 1
    }

    #[test]
    fn a_ring_from_another_thread_ends_the_wait() {
        let wake = Wake::new().unwrap();
        let other = wake.clone();
        let ringer = std::thread::spawn(move || other.ring());
        assert!(readable(&wake, Duration::from_secs(5)));
        ringer.join().unwrap();
        wake.clear();
        assert!(!readable(&wake, Duration::ZERO));
    }

    #[test]
    fn however_rings_and_clears_meet_nothing_stays_readable() {
        let wake = Wake::new().unwrap();
        let other = wake.clone();
        let ringer = std::thread::spawn(move || (0..200_000).for_each(|_| other.ring()));
        while !ringer.is_finished() {
            wake.clear();
        }
        ringer.join().unwrap();
        wake.clear();
        assert!(!wake.is_rung() && !readable(&wake, Duration::ZERO));
    }

    #[test]
    fn many_rings_are_one() {
        let wake = Wake::new().unwrap();
        for _ in 0..1000 {
            wake.ring();
        }
        wake.clear();
        assert!(!wake.is_rung() && !readable(&wake, Duration::ZERO));
        wake.ring();
        assert!(readable(&wake, Duration::ZERO));
    }
}
