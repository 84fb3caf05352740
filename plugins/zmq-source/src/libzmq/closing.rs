//! Terminates libzmq contexts, and limits the time to wait for it.
//!
//! Terminating a context waits for libzmq's own thread. This is short, unless the thread waits for a name server that
//! does not answer. Then the context terminates in the background; it has no connection left that could take a message
//! of the next run. The number of such contexts is limited.

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

/// A context that is terminating.
pub(crate) struct Closing {
    ended: Receiver<()>,
    state: Arc<AtomicU8>,
}

/// Terminates a context when dropped; its sockets are closed.
struct Ending {
    context: Option<Context>,
    state: Arc<AtomicU8>,
}

/// Starts to terminate a context whose sockets are closed.
pub(crate) fn close(context: Context) -> Closing {
    let (done, ended) = mpsc::channel::<()>();
    let state = Arc::new(AtomicU8::new(WAITED_FOR));
    let ending = Ending { context: Some(context), state: state.clone() };
    // If no thread can be started, it terminates here, however long it takes.
    let _ = thread::Builder::new().name("zmq-close".into()).spawn(move || {
        drop(ending);
        drop(done);
    });
    Closing { ended, state }
}

impl Closing {
    /// Waits until it has terminated; returns false at the deadline, and it continues in the background.
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

/// Whether so many contexts terminate in the background that no new one may be created.
pub(crate) fn are_too_many() -> bool {
    IN_BACKGROUND.load(Ordering::Relaxed) >= MOST
}

/// Contexts of this copy of the plugin that terminate in the background.
static IN_BACKGROUND: AtomicUsize = AtomicUsize::new(0);

/// Maximum number; each has two threads and some ten descriptors.
pub(crate) const MOST: usize = 8;

/// How long the end of a run waits until its connections are closed, all together.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

const WAITED_FOR: u8 = 0;
const LEFT: u8 = 1;
const ENDED: u8 = 2;
