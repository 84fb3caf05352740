//! Stops a host, in the right order and within its time, on whatever thread asks: also on one of an async runtime.
//!
//! Waits by looking, not with the runtime: a runtime must not be entered from within another.

use std::{
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::Host;
use crate::ingester::command::Command;

impl Host {
    /// Delivers what is queued for at most `shutdown_grace`, then stops sources, closes captures, and removes what was
    /// published. Takes at most the grace and a second, whatever plugins and disks do.
    ///
    /// Blocks the calling thread for that time; an async program uses [`Host::stop`].
    pub fn shutdown(mut self) {
        self.end();
    }

    /// Does what [`Host::shutdown`] does, on a thread of its own, so that the caller's runtime goes on. Works on every
    /// executor. Once it has been polled, it is carried out even if the future is dropped.
    ///
    /// Blocks only if the system has no thread for it.
    pub async fn stop(self) {
        let (done, ended) = oneshot::channel();
        let life = move || {
            self.shutdown();
            let _ = done.send(());
        };
        // Without a thread the host is dropped here, which stops it.
        drop(thread::Builder::new().name("stop".into()).spawn(life));
        let _ = ended.await;
    }

    pub(super) fn end(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        let deadline = Instant::now() + self.grace + Duration::from_millis(600);
        for ingester in &self.ingesters {
            let mut order = Command::Stop { grace: self.grace };
            while let Err(full) = ingester.commands.try_command(order) {
                if Instant::now() >= deadline {
                    break;
                }
                order = full;
                thread::park_timeout(LOOK);
            }
        }
        for ingester in &self.ingesters {
            let stopped = || ingester.report.borrow().state == "stopped" || ingester.has_ended();
            wait_until(deadline, stopped);
        }
        // What was published goes first, then the sockets that it names: whoever reads an address finds somebody there.
        self.stop_control.send_replace(true);
        if let Some(control) = self.control.take()
            && !wait_until(deadline + Duration::from_millis(300), || control.is_finished())
        {
            tracing::warn!("control does not end in time; what it published in Redis may stay there for 10 s");
        }
        let threads: Vec<_> = self.ingesters.drain(..).filter_map(|ingester| ingester.thread).collect();
        let deadline = Instant::now() + Duration::from_millis(100);
        for thread in threads {
            if wait_until(deadline, || thread.is_finished()) {
                let _ = thread.join();
            }
        }
        runtime.shutdown_background();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.end();
    }
}

/// Whether it came true before the deadline.
fn wait_until(deadline: Instant, is_true: impl Fn() -> bool) -> bool {
    while !is_true() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::park_timeout(LOOK);
    }
    true
}

/// How late something is seen.
const LOOK: Duration = Duration::from_millis(2);
