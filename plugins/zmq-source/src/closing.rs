//! Ends contexts of libzmq, and waits for that no longer than it may.
//!
//! A context's end waits for libzmq's own thread. That is a moment, unless the thread is asking a name server that does not answer. Then the context
//! ends in the background: it has no connection that could take a message of the next run. How many do is limited.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use framegate_plugin_api::Deadline;
use zmq::Context;

/// A context that is ending.
pub(crate) struct Closing {
    ended: Receiver<()>,
    state: Arc<AtomicU8>,
}

/// Ends a context, whose sockets are closed, when it is dropped.
struct Ending {
    context: Option<Context>,
    state: Arc<AtomicU8>,
}

/// Begins to end a context whose sockets are closed.
pub(crate) fn close(context: Context) -> Closing {
    let (done, ended) = mpsc::channel::<()>();
    let state = Arc::new(AtomicU8::new(WAITED_FOR));
    let ending = Ending { context: Some(context), state: state.clone() };
    // Without a thread it ends here, which takes as long as it takes.
    let _ = thread::Builder::new().name("zmq-close".into()).spawn(move || {
        drop(ending);
        drop(done);
    });
    Closing { ended, state }
}

impl Closing {
    /// Waits until it has ended; false if it has not by then, and goes on in the background.
    pub(crate) fn wait(self, deadline: Deadline) -> bool {
        if self.ended.recv_timeout(deadline.left()) != Err(RecvTimeoutError::Timeout) {
            return true;
        }
        let left = self.state.compare_exchange(WAITED_FOR, LEFT, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if left {
            IN_BACKGROUND.fetch_add(1, Ordering::Relaxed);
        }
        !left
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        drop(self.context.take());
        if self.state.swap(ENDED, Ordering::Relaxed) == LEFT {
            IN_BACKGROUND.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Whether so many contexts end in the background that no other must be made before one of them has ended.
pub(crate) fn are_too_many() -> bool {
    IN_BACKGROUND.load(Ordering::Relaxed) >= MOST
}

/// Contexts of this copy of the plugin.
static IN_BACKGROUND: AtomicUsize = AtomicUsize::new(0);

/// Each has two threads and some ten descriptors.
pub(crate) const MOST: usize = 8;

/// How long the end of a run waits for its connections to be closed, all together.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

const WAITED_FOR: u8 = 0;
const LEFT: u8 = 1;
const ENDED: u8 = 2;
