//! A child process: its start, what it prints, and its end.
//!
//! Used on the reader's thread: the kernel kills a child when the thread that started it ends (PR_SET_PDEATHSIG). A
//! second thread logs what the child prints, and ends with the child.
#![forbid(unsafe_code)]

use std::{
    io,
    os::{
        fd::OwnedFd,
        unix::{
            net::UnixStream,
            process::{CommandExt as _, ExitStatusExt as _},
        },
    },
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use framegate_plugin_abi::host::HostServices;
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::{
        signal::{Signal, killpg},
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
    unistd::Pid,
};

use crate::output::{Listener, in_a_line};

/// A running child. Dropping it kills it, and the processes that it has started.
#[derive(Debug)]
pub(crate) struct Process {
    /// `None`: it does not die, and waits for its end in [`LEFT`].
    child: Option<Child>,
    id: u32,
    killer: Killer,
    status: Option<ExitStatus>,
    /// The end of what it has printed.
    printed: Arc<Mutex<Vec<u8>>>,
    /// Its other end tells the thread to end.
    listens: Option<io::PipeWriter>,
    listener: Option<JoinHandle<()>>,
}

/// Children that were killed and have not died: a driver keeps them. They are looked at when another one ends.
static LEFT: Mutex<Vec<Child>> = Mutex::new(Vec::new());

impl Process {
    /// Starts a child whose standard input is the socket. `services` get what it prints, line by line.
    pub(crate) fn start(
        command: &mut Command,
        socket: UnixStream,
        services: Arc<dyn HostServices>,
    ) -> io::Result<Self> {
        let (prints, out) = io::pipe()?;
        fcntl(&prints, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let (told, listens) = io::pipe()?;
        let printed = Arc::<Mutex<Vec<u8>>>::default();
        command.stdin(OwnedFd::from(socket)).stdout(out.try_clone()?).stderr(out);
        // In its own process group, so that processes of the source end with it.
        let child = command.process_group(0).spawn();
        // The command keeps its ends of the pipes otherwise.
        command
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let listener = Listener::new(prints, told, services, printed.clone());
        let child = child?;
        let (id, listens) = (child.id(), Some(listens));
        let killer = Killer(Arc::new(Mutex::new(i32::try_from(id).ok())));
        let mut process = Self { id, child: Some(child), killer, status: None, printed, listens, listener: None };
        // If there is no thread for it, the child is killed.
        process.listener = Some(thread::Builder::new().name("child's output".into()).spawn(move || listener.run())?);
        Ok(process)
    }

    /// Its id.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Its exit status, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() && self.can_be_reaped() {
            // What it has started ends with it.
            let mut group = self.killer.lock();
            Killer::kill_group(*group);
            self.status = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if self.status.is_some() {
                *group = None;
            }
        }
        self.status
    }

    fn can_be_reaped(&self) -> bool {
        let looks = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let Ok(id) = i32::try_from(self.id) else { return false };
        !matches!(waitid(Id::Pid(Pid::from_raw(id)), looks), Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD))
    }

    /// Waits a moment for its end by itself, after its socket was closed.
    pub(crate) fn wait(&mut self, most: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + most;
        while self.ended().is_none() && Instant::now() < deadline {
            thread::park_timeout(Duration::from_millis(1));
        }
        self.status
    }

    /// Kills it and what it has started. Returns how it ended, and what it printed last: `crashed with SIGSEGV`, and
    /// ` (it printed: …)` or nothing.
    pub(crate) fn end(&mut self) -> (String, String) {
        if self.ended().is_none() {
            self.killer.kill();
            self.wait(DIES);
        }
        let how = match self.status {
            Some(status) => how_it_ended(status),
            None => {
                let mut left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
                left.retain_mut(|child| child.try_wait().ok().flatten().is_none());
                left.extend(self.child.take());
                format!("does not die (process {}): a driver of the system keeps it", self.id)
            }
        };
        drop(self.listens.take());
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
        (how, in_a_line(&self.printed.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Kills it and its process group, from any thread.
    pub(crate) fn killer(&self) -> Killer {
        self.killer.clone()
    }
}

/// Kills a process and its group. Does nothing when it was reaped: another group may have its number then. [any thread]
#[derive(Debug, Clone)]
pub struct Killer(Arc<Mutex<Option<i32>>>);

impl Killer {
    /// Kills it.
    pub fn kill(&self) {
        Self::kill_group(*self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, Option<i32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until the process is reaped nobody else can get the number of its group; the lock is held meanwhile.
    fn kill_group(group: Option<i32>) {
        if let Some(group) = group {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// `crashed with SIGSEGV`, `ended with exit status 1`
#[must_use]
pub fn how_it_ended(status: ExitStatus) -> String {
    match status.signal().map(|signal| (signal, Signal::try_from(signal))) {
        Some((_, Ok(signal))) => format!("crashed with {signal}"),
        Some((number, Err(_))) => format!("crashed with signal {number}"),
        None => format!("ended with exit status {}", status.code().unwrap_or_default()),
    }
}

/// How long a killed process may take to die.
const DIES: Duration = Duration::from_secs(1);
