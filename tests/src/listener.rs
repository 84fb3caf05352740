//! A worker in a separate process, `framegate listen`: a test may stop it as a debugger does, continue it, and kill it.

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
    /// Connects under a name. Its output is written to a file in `folder`.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn connect(name: &str, url: &str, folder: &Path) -> Self {
        let mut command = framegate::command();
        command.args(["listen", "--json", "--name", name, url]);
        Self { process: Process::start(name, &mut command, folder) }
    }

    /// Stops it: it neither reads nor pings, but keeps its connection.
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

    /// Kills it, and waits until it has ended.
    ///
    /// # Panics
    /// It cannot be killed.
    pub fn kill(mut self) {
        self.process.signal(Signal::SIGKILL);
        self.process.wait(Duration::from_secs(10));
    }

    /// The numbers of the received events, in order.
    #[must_use]
    pub fn numbers(&self) -> Vec<u64> {
        let lines = self.process.output();
        let lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter_map(|line| line["event_number"].as_u64()).collect()
    }

    /// Waits until it has received the event with this number.
    ///
    /// # Panics
    /// It does not arrive within `limit`.
    pub fn wait_for_number(&self, number: u64, limit: Duration) {
        wait_for(&format!("event {number}"), limit, || (self.numbers().last() == Some(&number)).then_some(()));
    }
}
