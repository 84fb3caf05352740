//! A worker that is a process of its own, `framegate listen`: a test may stop it as a debugger does, wake it, and kill it.

use std::{path::Path, time::Duration};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    framegate,
    process::{Process, wait_for},
};

/// See the module.
#[derive(Debug)]
pub struct Listener {
    process: Process,
}

impl Listener {
    /// Connects under a name. What it prints goes to a file in `folder`.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn connect(name: &str, url: &str, folder: &Path) -> Self {
        let mut command = framegate::command();
        command.args(["listen", "--json", "--name", name, url]);
        Self { process: Process::start(name, &mut command, folder) }
    }

    /// It does nothing any more: it neither reads nor pings, and keeps its connection.
    ///
    /// # Panics
    /// It has ended.
    pub fn pause(&self) {
        self.process.signal(Signal::SIGSTOP);
    }

    /// Ends a [`Listener::pause`].
    ///
    /// # Panics
    /// It has ended.
    pub fn resume(&self) {
        self.process.signal(Signal::SIGCONT);
    }

    /// Kills it, and waits until it is gone.
    ///
    /// # Panics
    /// It cannot be killed.
    pub fn kill(mut self) {
        self.process.signal(Signal::SIGKILL);
        self.process.wait(Duration::from_secs(10));
    }

    /// The numbers of the events that it got, in the order in which they came.
    #[must_use]
    pub fn numbers(&self) -> Vec<u64> {
        let lines = self.process.output();
        let lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter_map(|line| line["event_number"].as_u64()).collect()
    }

    /// Waits until it has got the event of this number.
    ///
    /// # Panics
    /// It does not come within `limit`.
    pub fn wait_for_number(&self, number: u64, limit: Duration) {
        wait_for(&format!("event {number}"), limit, || (self.numbers().last() == Some(&number)).then_some(()));
    }
}
