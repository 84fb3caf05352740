//! A program that runs for a test, and ends with it.
//!
//! Owns the process and the file with its output. Ends the process by its id, on request or when dropped, regardless of
//! the test's outcome; never touches a process that it did not start.

use std::{
    collections::VecDeque,
    fs::{self, File},
    os::{
        fd::AsRawFd as _,
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener},
    },
    path::{Path, PathBuf},
    process::{self, Child, Command, ExitStatus, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        signal::{Signal, kill},
        socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt},
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
    unistd::Pid,
};

/// A running program.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program; its output is written to `NAME.log` in `folder`.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(name: &str, command: &mut Command, folder: &Path) -> Self {
        let log = folder.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log).expect("the test's folder can be written");
        let err = out.try_clone().expect("a descriptor is free");
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self { name: name.to_owned(), child, log }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its output so far.
    #[must_use]
    pub fn output(&self) -> String {
        text(&fs::read(&self.log).unwrap_or_default())
    }

    /// The exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child can be waited for")
    }

    /// For waits on something that does not come any more once it has ended.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch(self.child.id())
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// If it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let name = self.name.clone();
        wait_for(&format!("{name} to end"), limit, || self.ended())
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// It has ended.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).expect("a process id is an i32");
        kill(Pid::from_raw(id), signal).expect("our own child can be signalled");
    }

    /// Asks it to stop, as a service manager does, and waits.
    ///
    /// # Panics
    /// If it still runs after `limit`.
    pub fn stop(&mut self, limit: Duration) -> ExitStatus {
        if self.ended().is_none() {
            self.signal(Signal::SIGTERM);
        }
        self.wait(limit)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if thread::panicking() {
            let output = self.output();
            let from = output.char_indices().rev().nth(TAIL_CHARS).map_or(0, |(at, _)| at);
            eprintln!("--- {} printed:\n{}---", self.name, &output[from..]);
        }
        // It has already ended: both do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Tells whether a child has ended, without taking its exit status from its owner.
#[derive(Debug, Clone, Copy)]
pub struct Watch(u32);

impl Watch {
    /// Whether it has ended.
    ///
    /// # Panics
    /// A process id is not an `i32`.
    #[must_use]
    pub fn has_ended(self) -> bool {
        let id = Id::Pid(Pid::from_raw(self.0.try_into().expect("a process id is an i32")));
        // An error: its owner has taken its exit status.
        waitid(id, WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT) != Ok(WaitStatus::StillAlive)
    }
}

/// Sets a resource limit of a running process (setrlimit(2)), by its name in prlimit(1): the soft limit, or the hard
/// limit's value.
///
/// # Panics
/// There is no such process, or no `prlimit`.
pub fn limit(process: u32, resource: &str, most: Option<u64>) {
    let of = |most: &str| {
        let mut command = Command::new("prlimit");
        let output = command.args(["--pid", &process.to_string(), &format!("--{resource}{most}")]).output();
        let output = output.expect("prlimit is part of every Linux");
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let most = most.map_or_else(
        || of("").split_whitespace().rev().nth(1).expect("it stands before the unit").to_owned(),
        |most| most.to_string(),
    );
    of(&format!("={most}:"));
}

/// The output of a program.
#[must_use]
pub fn text(printed: &[u8]) -> String {
    String::from_utf8_lossy(printed).into_owned()
}

/// Waits until `condition` gives a value.
///
/// # Panics
/// It gives none within `limit`; the message has `what`.
pub fn wait_for<T>(what: &str, limit: Duration, condition: impl FnMut() -> Option<T>) -> T {
    comes_within(limit, condition).unwrap_or_else(|| panic!("waited {limit:?} in vain for {what}"))
}

/// Waits until `condition` gives a value; `None` if it gives none within `limit`.
pub fn comes_within<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        let value = condition();
        if value.is_some() || Instant::now() >= deadline {
            return value;
        }
        thread::sleep(POLL);
    }
}

/// A loopback TCP port that was free a moment ago, that no other test gets, and that no outgoing connection uses by
/// chance.
///
/// # Panics
/// If no port is free.
#[must_use]
pub fn free_port() -> u16 {
    static GIVEN: Mutex<VecDeque<(u16, UnixListener)>> = Mutex::new(VecDeque::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    // Each process starts at another port, so that fewer ports must be checked.
    let start = u16::try_from(process::id().wrapping_mul(97) % u32::from(PORTS)).expect("PORTS is an u16");
    let start = given.back().map_or(FIRST_PORT + start, |(port, _)| port + 1);
    let free = |port: u16| {
        let claim = claim(port)?;
        is_free(port).then_some((port, claim))
    };
    let found = (0..PORTS).find_map(|next| free(FIRST_PORT + (start - FIRST_PORT + next) % PORTS));
    let (port, claim) = found.expect("one of thousands of ports is free");
    given.push_back((port, claim));
    if given.len() > MOST_CLAIMS {
        given.pop_front();
    }
    port
}

/// Whether nobody listens at a port. Does not listen itself: another thread may start a program meanwhile, which has a
/// copy of every descriptor until its own code begins, and would keep the port from its user for so long.
fn is_free(port: u16) -> bool {
    let probe = || {
        let probe = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        // As everybody does who binds a port to listen; of two such sockets the second fails if the first listens.
        setsockopt(&probe, sockopt::ReuseAddr, &true)?;
        bind(probe.as_raw_fd(), &SockaddrIn::new(0, 0, 0, 0, port))
    };
    probe().is_ok()
}

/// A name that only one process of a machine can have, as long as it lives. Without it, another test would also find
/// the port free until it is bound.
fn claim(port: u16) -> Option<UnixListener> {
    let name = SocketAddr::from_abstract_name(format!("framegate-tests/port/{port}")).ok()?;
    UnixListener::bind_addr(&name).ok()
}

/// How often a condition is checked.
const POLL: Duration = Duration::from_millis(20);

/// Below the range that Linux uses for local ports of outgoing connections (32768 to 60999).
const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 12_000;
/// A soak run takes new ports for an hour. Each claim is a descriptor.
const MOST_CLAIMS: usize = 256;

/// How much of a program's output is shown when its test fails.
const TAIL_CHARS: usize = 4000;

#[cfg(test)]
mod tests {
    use std::{
        net::TcpListener,
        sync::atomic::{AtomicBool, Ordering},
    };

    use super::*;

    /// A program that is just starting has a copy of every descriptor of this process for a moment.
    #[test]
    fn a_free_port_is_free_also_while_other_threads_start_programs() {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        Command::new("true").status().expect("it starts");
                    }
                });
            }
            let taken = (0..1000).filter(|_| TcpListener::bind(("127.0.0.1", free_port())).is_err()).count();
            done.store(true, Ordering::Relaxed);
            assert_eq!(taken, 0);
        });
    }
}
