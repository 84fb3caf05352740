//! A host as the tests see it, and the children that they start: this same program again, in a role.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]
#![allow(dead_code, reason = "each of the test programs uses a part of it")]

use std::{
    env,
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use framegate_isolation::{Apart, Frames, Launch};
use framegate_plugin_abi::{
    caller::{Fault, Limits},
    codes::{LogLevel, Progress},
    frame::Ledger,
    host::HostServices,
};
use serde_json::json;

pub(crate) mod puppet;
pub(crate) mod served;

/// The environment variable that makes this program a child.
const ROLE: &str = "FRAMEGATE_ISOLATION_CHILD";
/// No condition takes longer than this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The limit of a child that is expected to be killed for its silence.
pub(crate) const SHORT: Duration = Duration::from_millis(500);

/// In a child: plays the role, and does not return. Each test program calls it in its ignored test of the name `child`.
pub(crate) fn play() {
    match env::var(ROLE).as_deref() {
        Ok("puppet") => puppet::play(1),
        Ok("puppet of version 2") => puppet::play(2),
        Ok("served") => served::play(),
        // Somebody runs the ignored tests.
        _ => {}
    }
}

/// A child and its host.
pub(crate) struct Host {
    pub(crate) apart: Apart,
    pub(crate) log: Arc<Log>,
    pub(crate) ledger: &'static Ledger,
    /// The child's directory in /proc.
    pub(crate) process: PathBuf,
}

/// What the child has printed.
pub(crate) struct Log {
    lines: Mutex<Vec<(LogLevel, String)>>,
    never: (UnixStream, UnixStream),
}

impl HostServices for Log {
    fn log(&self, level: LogLevel, message: &str) {
        self.lines.lock().unwrap().push((level, message.to_owned()));
    }

    fn stop_requested(&self) -> bool {
        false
    }

    fn stop_descriptor(&self) -> BorrowedFd<'_> {
        self.never.0.as_fd()
    }
}

impl Log {
    pub(crate) fn lines(&self) -> Vec<(LogLevel, String)> {
        self.lines.lock().unwrap().clone()
    }
}

pub(crate) fn launch(limit: Duration) -> Launch {
    Launch { limit, shared_memory: 64 << 20, copy_below: 2048, code: 1 }
}

/// Starts a child in a role.
pub(crate) fn start_as(role: &str, launch: Launch, ledger: &'static Ledger) -> Result<Host, Fault> {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["child", "--exact", "--ignored", "--nocapture"]).env(ROLE, role);
    let log = Arc::new(Log { lines: Mutex::default(), never: UnixStream::pair().unwrap() });
    let apart = Apart::start(&mut command, launch, log.clone(), ledger)?;
    // Both roles give the number of their process as their version.
    let process = PathBuf::from("/proc").join(apart.hello().version.clone().unwrap());
    Ok(Host { apart, log, ledger, process })
}

/// A puppet with an open run.
pub(crate) fn puppet(limit: Duration) -> Host {
    let mut host = start_as("puppet", launch(limit), Box::leak(Box::default())).unwrap();
    host.apart.create("test", json!({})).unwrap();
    host.apart.open().unwrap();
    host
}

impl Host {
    /// Takes events until there are so many, or the source fails.
    pub(crate) fn events(&mut self, number: usize) -> Result<Vec<Frames>, Fault> {
        let mut events = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        while events.len() < number {
            assert!(Instant::now() < deadline, "{} of {number} events", events.len());
            self.next(&mut events)?;
        }
        Ok(events)
    }

    /// One call of `next`.
    pub(crate) fn next(&mut self, events: &mut Vec<Frames>) -> Result<Progress, Fault> {
        let limits = Limits { events: 64, bytes: 1 << 20 };
        self.apart.next(limits, Duration::from_millis(20), |_, _, frames| events.push(frames))
    }

    /// Orders something, and takes events until the source fails: in the answer to the order, or later.
    pub(crate) fn fails(&mut self, order: &str, value: &[u8]) -> (Vec<Frames>, String) {
        let mut events = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        let mut outcome = self.apart.set_parameter(order, value);
        while outcome.is_ok() {
            assert!(Instant::now() < deadline, "the source does not fail");
            outcome = self.next(&mut events).map(drop);
        }
        (events, outcome.unwrap_err().to_string())
    }

    /// Drops the host's side. Nothing may be left: no process, and no frame but those that are still held.
    pub(crate) fn ends(self, held: u64) -> &'static Ledger {
        let Self { apart, ledger, process, .. } = self;
        drop(apart);
        assert!(!process.exists(), "the process is there");
        assert_eq!(ledger.delivered() - ledger.released(), held, "frames that are held");
        ledger
    }
}

/// Waits for a condition.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// The bytes of frame `number`.
pub(crate) fn content(number: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(31) ^ at >> 8 ^ number.wrapping_mul(97)) as u8).collect()
}
