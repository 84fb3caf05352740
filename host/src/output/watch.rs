//! The wait for the workers' port, and for a wake from other threads.
//!
//! Belongs to the forwarder's own thread, and needs nothing that the forwarder uses meanwhile.

use std::{io, os::fd::AsRawFd as _, time::Duration};

use mio::{Events, Interest, Poll, Registry, Token, event::Event, unix::SourceFd};

use crate::wake::Wake;

/// See the module.
#[derive(Debug)]
pub(crate) struct Watch {
    poll: Poll,
    /// What the last wait has found.
    events: Events,
    /// Ends a wait from other threads.
    wake: Wake,
}

const WAKE: Token = Token(usize::MAX - 1);
/// Further events are found by the next wait.
const EVENTS: usize = 256;

impl Watch {
    /// # Errors
    /// There is no descriptor for it.
    pub(crate) fn new(wake: Wake) -> io::Result<Self> {
        let poll = Poll::new()?;
        poll.registry().register(&mut SourceFd(&wake.descriptor().as_raw_fd()), WAKE, Interest::READABLE)?;
        Ok(Self { poll, events: Events::with_capacity(EVENTS), wake })
    }

    /// Where sockets are added, by any thread.
    pub(super) fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// Waits until something can be read or written, the wake rings, or the time is up.
    pub(crate) fn wait(&mut self, limit: Duration) {
        // The descriptor signals a ring only once, and an earlier wait may have consumed it.
        let limit = if self.wake.is_rung() { Duration::ZERO } else { limit };
        // An error here is EINTR; the caller looks for work in any case.
        let _ = self.poll.poll(&mut self.events, Some(limit));
        self.wake.clear();
    }

    /// What the last wait has found.
    pub(super) fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(|event| event.token() != WAKE)
    }
}
