//! The orders of the forwarder to a reader.

use std::{
    convert::Infallible,
    sync::{Arc, mpsc},
    time::Duration,
};

use super::queue::Queue;

/// See the module. Answers come as items of the queue.
#[derive(Debug)]
pub(crate) enum Order {
    /// Close the run, if one is open, and open the one of a new scan.
    Open(Arc<Queue>),
    /// Close the run, if one is open.
    Close(Arc<Queue>),
    /// Wait until the stream's previous source has ended: two sources must not share the detector.
    Succeed(Predecessor),
    /// Give the event of this number, for on-demand sources.
    Trigger(u64),
    /// Set a parameter; ignored if the source has no such parameter.
    SetParameter { name: String, value: Arc<[u8]> },
}

/// A reader that is about to end.
#[derive(Debug)]
pub(crate) struct Predecessor {
    /// Disconnects when the reader's thread has dropped its source.
    pub(super) ended: mpsc::Receiver<Infallible>,
    /// How long to wait for a source that does not return.
    pub(super) limit: Duration,
}

impl Predecessor {
    /// Waits for its end; logs a warning if it does not end in time. [reader thread of the successor]
    pub(super) fn wait_with_a_word(&self) {
        if self.ended.recv_timeout(self.limit) != Err(mpsc::RecvTimeoutError::Disconnected) {
            tracing::warn!("the source of earlier scans does not return; the new one goes on without waiting");
        }
    }
}
