//! The measuring side's view of an end: a process that reports its progress, and ends with the run.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use serde::Serialize;

use super::Said;

/// See the module.
#[derive(Debug)]
pub struct End {
    child: Child,
    /// From a reading thread, so that a hanging end stops the run with an error.
    said: Receiver<Said>,
}

impl End {
    /// Starts this program in the role of an end.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(role: &str, plan: &impl Serialize) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["role", role, &serde_json::to_string(plan)?]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let out = BufReader::new(child.stdout.take().context("its output is a pipe")?);
        let (tell, said) = channel();
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let Ok(word) = serde_json::from_str(&line) else { break };
                if tell.send(word).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, said })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its next report.
    ///
    /// # Errors
    /// There is no report within `limit`, or it has ended.
    pub fn next(&self, limit: Duration) -> anyhow::Result<Said> {
        self.said.recv_timeout(limit).context("an end says nothing more")
    }

    /// Waits for its first report.
    ///
    /// # Errors
    /// It does not arrive.
    pub fn wait_until_ready(&self, limit: Duration) -> anyhow::Result<()> {
        ensure!(matches!(self.next(limit)?, Said::Ready), "an end does not start");
        Ok(())
    }

    /// Tells the generator to start.
    ///
    /// # Errors
    /// It has ended.
    pub fn go(&mut self) -> anyhow::Result<()> {
        let to = self.child.stdin.as_mut().context("its input is a pipe")?;
        Ok(writeln!(to, "go")?)
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
