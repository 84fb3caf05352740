//! A running `framegate run`: the process, its configuration, and its reports over HTTP.
//!
//! Its state is read from the admin endpoint, as `framegate status` does.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output},
    time::Duration,
};

use anyhow::{Context as _, bail};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    framegate,
    process::{Process, free_port, wait_for},
    worker::Worker,
};

/// Time limit for a condition to become true.
pub const LIMIT: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub struct Host {
    process: Process,
    admin: SocketAddr,
}

impl Host {
    /// Starts `framegate run` in `folder`, with an admin endpoint and with `configuration`.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start(folder: &Path, configuration: &str) -> Self {
        let (path, admin) = write_configuration(folder, configuration);
        let mut command = framegate::command();
        command.current_dir(folder).args(["run", "--config"]).arg(path);
        Self::with(&mut command, folder, admin)
    }

    /// Starts a command with `admin` in its configuration.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn with(command: &mut Command, folder: &Path, admin: SocketAddr) -> Self {
        // Its temporary files are removed with the folder.
        Self { process: Process::start("framegate", command.env("TMPDIR", folder), folder), admin }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Connects a worker, whose waits end with this host.
    ///
    /// # Panics
    /// The address cannot be used.
    #[must_use]
    pub fn worker(&self, name: &str, url: &str) -> Worker {
        Worker::connect(name, url).of(self.process.watch())
    }

    /// The same, but it does not read until told to.
    ///
    /// # Panics
    /// The address cannot be used.
    #[must_use]
    pub fn stalled_worker(&self, name: &str, url: &str) -> Worker {
        Worker::stalled(name, url).of(self.process.watch())
    }

    /// Its peak memory in bytes, since its start or since [`Host::forget_peak`].
    ///
    /// # Panics
    /// It has ended.
    #[must_use]
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("a process has a status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells the peak");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("Linux tells it in KiB");
        kib << 10
    }

    /// Resets the peak memory (proc_pid_clear_refs(5)).
    ///
    /// # Panics
    /// It has ended.
    pub fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.id()), "5").expect("our own child allows it");
    }

    /// Its log so far, with every line that was logged before this call.
    #[must_use]
    pub fn log(&self) -> String {
        // A thread of its own writes the lines. It sleeps only when it has none left.
        let tasks = format!("/proc/{}/task", self.id());
        let is_busy = |task: std::io::Result<fs::DirEntry>| {
            let stat = task.and_then(|task| fs::read_to_string(task.path().join("stat"))).unwrap_or_default();
            ["(log) R", "(log) D"].iter().any(|writes| stat.contains(writes))
        };
        wait_for("the thread that writes the log", LIMIT, || {
            (!fs::read_dir(&tasks).into_iter().flatten().any(is_busy)).then_some(())
        });
        self.process.output()
    }

    /// The address of its admin endpoint.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The status of its first ingester.
    ///
    /// # Errors
    /// It does not answer, because it is starting or has ended.
    pub fn ingester(&self) -> anyhow::Result<Value> {
        let mut status: Value = serde_json::from_str(&self.get("/status")?)?;
        Ok(status["ingesters"][0].take())
    }

    /// The answer of the admin endpoint to a GET.
    ///
    /// # Errors
    /// It does not answer, or with a status other than 200.
    pub fn get(&self, path: &str) -> anyhow::Result<String> {
        match self.answer(path)? {
            (200, body) => Ok(body),
            (code, body) => bail!("it answers {code}: {body}"),
        }
    }

    /// The same for any HTTP status.
    ///
    /// # Errors
    /// It does not answer.
    pub fn answer(&self, path: &str) -> anyhow::Result<(u16, String)> {
        let mut stream = TcpStream::connect_timeout(&self.admin, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.admin)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no answer of HTTP")?;
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no answer of HTTP")?;
        Ok((code, body.to_owned()))
    }

    /// Its complete status.
    ///
    /// # Errors
    /// It does not answer, because it is starting or has ended.
    pub fn status(&self) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.get("/status")?)?)
    }

    /// Runs `framegate swap` with these arguments; returns its output and exit status.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn swap(&self, arguments: &[&str]) -> Output {
        let mut command = framegate::command();
        command.arg("swap").args(arguments).args(["--url", &self.admin.to_string()]);
        command.output().expect("the command starts")
    }

    /// Waits until `until` is true for its first ingester, and returns the ingester's status.
    ///
    /// # Panics
    /// It does not become true within [`LIMIT`], or the process has ended.
    pub fn wait_for(&mut self, what: &str, until: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for(what, LIMIT, || {
                if let Some(status) = self.process.ended() {
                    panic!("waited for {what}, but framegate has ended: {status}");
                }
                last = self.ingester().ok()?;
                until(&last).then(|| last.clone())
            })
        }));
        found.unwrap_or_else(|panic| {
            eprintln!("the last status: {last:#}");
            std::panic::resume_unwind(panic)
        })
    }

    /// The exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.ended()
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// It still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        self.process.wait(limit)
    }

    /// Sends a signal without waiting.
    ///
    /// # Panics
    /// It has ended.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Sends SIGTERM, and waits.
    ///
    /// # Panics
    /// It still runs after `limit`.
    pub fn stop(&mut self, limit: Duration) -> ExitStatus {
        self.process.stop(limit)
    }
}

/// Writes a configuration into `folder`, with an admin endpoint on a free port.
///
/// # Panics
/// It cannot be written.
#[must_use]
pub fn write_configuration(folder: &Path, rest: &str) -> (PathBuf, SocketAddr) {
    let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let path = folder.join("framegate.toml");
    fs::write(&path, format!("admin = \"{admin}\"\n{rest}")).expect("a temporary folder can be written to");
    (path, admin)
}
