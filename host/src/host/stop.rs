//! Stops a host, in the right order and within its time, on any thread, including a thread of an async runtime.
//!
//! Waits by polling, not with the runtime: a runtime must not be entered from within another.

use std::{
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::Host;
use crate::ingester::{command::Command, report::IngesterState};

impl Host {
    /// Delivers queued events for at most `shutdown_grace`, then stops sources, closes captures, and removes published
    /// state. Takes at most the grace and a second, even if plugins or disks hang.
    ///
    /// Blocks the calling thread for that time; an async program uses [`Host::shutdown_async`].
    pub fn shutdown(mut self) {
        self.end();
    }

    /// Does the same as [`Host::shutdown`], on its own thread, so that the caller's runtime continues. Works on every
    /// executor. Once polled, it completes even if the future is dropped.
    ///
    /// Blocks only if the system cannot start a thread.
    pub async fn shutdown_async(self) {
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
            while let Err(full) = ingester.handle.commands.try_command(order) {
                if Instant::now() >= deadline {
                    break;
                }
                order = full;
                thread::park_timeout(LOOK);
            }
        }
        for ingester in &self.ingesters {
            let stopped = || ingester.handle.report.borrow().state == IngesterState::Stopped || ingester.has_ended();
            wait_until(deadline, stopped);
        }
        // Published state is removed before the sockets close: the published address always has a listener.
        self.stop_control.send_replace(true);
        if let Some(control) = self.control.take()
            && !wait_until(deadline + Duration::from_millis(300), || control.is_finished())
        {
            tracing::warn!("control did not stop in time; this ingester's keys may stay in Redis for 10 s");
        }
        let threads: Vec<_> = self.ingesters.drain(..).filter_map(|ingester| ingester.thread).collect();
        // They still answer the last pings; then the ports are free.
        let last = deadline + Duration::from_millis(400);
        for thread in threads {
            if wait_until(last, || thread.is_finished()) {
                let _ = thread.join();
            }
        }
        wait_until(last, || self.keeper.is_finished());
        runtime.shutdown_background();
        self.news.close();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.end();
    }
}

/// Whether the condition became true before the deadline.
fn wait_until(deadline: Instant, is_true: impl Fn() -> bool) -> bool {
    while !is_true() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::park_timeout(LOOK);
    }
    true
}

/// Polling interval.
const LOOK: Duration = Duration::from_millis(2);
