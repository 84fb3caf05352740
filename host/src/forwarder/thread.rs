//! The forwarder's own thread: takes its turns, waits in between, and closes everything at the end.

use std::{
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use uuid::Uuid;

use super::Forwarder;
use crate::{
    ingester::command::Command,
    names::ScanId,
    output::{router::Router, watch::Watch},
    turns::{Bell, Turns},
    wake::Wake,
};

/// A forwarder, and what its thread waits for.
pub(crate) struct ForwarderThread {
    pub(crate) forwarder: Forwarder,
    pub(crate) watch: Watch,
    pub(crate) wake: Wake,
}

/// How long control may take to end. The host waits less, but its time began earlier.
const CONTROL_ENDS: Duration = Duration::from_millis(1000);
/// A disk that takes nothing for so long hangs. On a busy machine a slow one may take a while for a piece.
const DISK_ANSWERS: Duration = Duration::from_secs(2);
/// A worker that has just read our address pings within milliseconds; the rest is for a busy machine.
const LAST_PINGS: Duration = Duration::from_millis(60);

impl ForwarderThread {
    /// The thread's main loop. Ends after [`Command::Stop`], or when control is gone.
    pub(crate) fn run(self) {
        let Self { mut forwarder, mut watch, wake } = self;
        let turns = Arc::new_cyclic(|turns: &Weak<Turns<Forwarder>>| {
            forwarder.bell = Bell::new(wake.clone(), turns.clone());
            Turns::new(forwarder, wake)
        });
        while let Some(Some(patience)) = turns.own(|forwarder| forwarder.turn(&watch)) {
            watch.wait(patience);
        }
        // `None`: a short turn has panicked, and this thread ends as if it had panicked itself.
        if let Some(forwarder) = turns.end() {
            forwarder.close(watch);
        }
    }
}

impl Forwarder {
    /// Closes sources, capture and socket, in this order, each with a time limit.
    fn close(mut self, mut watch: Watch) {
        let limit = Instant::now() + Duration::from_millis(400);
        // The remaining events are shown as queued.
        self.take_items();
        for (stream, input) in self.inputs.iter_mut().enumerate() {
            input.reader.stop();
            drop(input.next.take());
            if let Some(queue) = input.queue.take() {
                self.ingester.left_behind(stream, queue.abandon());
            }
        }
        let last = ScanId(Uuid::nil());
        self.dump.close(last);
        for input in &mut self.inputs {
            input.reader.join(limit);
        }
        self.wait_for_disk(last, limit);
        self.publish(Instant::now(), true);
        self.dump.join(limit);
        outlive_control(&self.commands, &mut self.router, &mut watch);
    }

    /// Waits for the capture to close, at least until `limit`. A disk that is slow and takes something has the rest of the
    /// grace.
    fn wait_for_disk(&mut self, closes: ScanId, limit: Instant) {
        let latest = self.state.stop_at.map_or(limit, |stop_at| stop_at.max(limit));
        // Hanging readers may have used up the limit.
        let mut until = (Instant::now() + DISK_ANSWERS).min(latest).max(limit);
        let mut left = self.dump.left_to_write();
        while self.dump.closed() != Some(closes) && Instant::now() < until {
            thread::park_timeout(Duration::from_millis(2));
            let now_left = self.dump.left_to_write();
            if now_left < left {
                left = now_left;
                until = (Instant::now() + DISK_ANSWERS).min(latest).max(limit);
            }
        }
    }
}

/// Keeps the socket open until control has removed its published state. A dranspose worker that pings a closed socket
/// can no longer end: it waits without a limit until its ping is taken.
fn outlive_control(commands: &mpsc::Receiver<Command>, router: &mut Router, watch: &mut Watch) {
    let (mut limit, mut gone) = (Instant::now() + CONTROL_ENDS, false);
    while Instant::now() < limit {
        if !gone && commands.is_closed() {
            gone = true;
            limit = limit.min(Instant::now() + LAST_PINGS);
        }
        router.note(watch);
        router.receive(Instant::now(), |_| None);
        watch.wait(Duration::from_millis(5));
    }
}
