//! A child process: its start, what it prints, and its end.
//!
//! Used on the reader's thread, which the kernel asks for: a child is told to end with the thread that started it. A
//! thread of its own passes on what the child prints; it ends with the child.
#![forbid(unsafe_code)]

use std::{
    io::{self, PipeReader, Read as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{
            net::UnixStream,
            process::{CommandExt as _, ExitStatusExt as _},
        },
    },
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use framegate_plugin_abi::{codes::LogLevel, host::HostServices};
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags},
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use crate::link;

/// A running child. Dropping it kills it, and the processes that it has started.
#[derive(Debug)]
pub(crate) struct Process {
    /// `None`: it does not die, and waits for its end in [`LEFT`].
    child: Option<Child>,
    id: u32,
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
        let mut listener =
            Listener { prints, told, services, printed: printed.clone(), line: Vec::new(), rate: Rate::new() };
        let child = child?;
        let listener = thread::Builder::new().name("child's output".into()).spawn(move || listener.run())?;
        Ok(Self {
            id: child.id(),
            child: Some(child),
            status: None,
            printed,
            listens: Some(listens),
            listener: Some(listener),
        })
    }

    /// Its exit status, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
        }
        self.status
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
        // Before it is reaped nobody else can get the number of its group.
        let by_itself = self.status.is_some();
        if !by_itself {
            self.kill();
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

    /// Kills it and its process group.
    pub(crate) fn kill(&self) {
        if let Ok(group) = i32::try_from(self.id) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
        // What it has started is in its group still.
        self.kill();
    }
}

/// Reads what a child prints.
struct Listener {
    prints: PipeReader,
    told: PipeReader,
    services: Arc<dyn HostServices>,
    printed: Arc<Mutex<Vec<u8>>>,
    /// The beginning of a line.
    line: Vec<u8>,
    rate: Rate,
}

impl Listener {
    fn run(&mut self) {
        loop {
            let mut ends = [
                PollFd::new(self.prints.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.told.as_fd(), PollFlags::POLLIN),
            ];
            if link::wait(&mut ends, Duration::MAX).is_err() {
                return;
            }
            let is_told = ends[1].any() == Some(true);
            if !self.read() || is_told {
                break;
            }
        }
        if !self.line.is_empty() {
            self.tell();
        }
        if let Some(more) = self.rate.left_out() {
            self.services.log(LogLevel::Warn, &more);
        }
    }

    /// Reads what there is. Returns whether there can be more.
    fn read(&mut self) -> bool {
        let mut piece = [0; 4096];
        // Endless output must not keep this from its end.
        for _ in 0..PIECES {
            match self.prints.read(&mut piece) {
                Ok(0) => return false,
                Ok(len) => self.take(&piece[..len]),
                Err(problem) if problem.kind() == io::ErrorKind::Interrupted => {}
                Err(problem) => return problem.kind() == io::ErrorKind::WouldBlock,
            }
        }
        true
    }

    fn take(&mut self, piece: &[u8]) {
        for byte in piece {
            if *byte == b'\n' {
                self.tell();
            } else if self.line.len() < LONGEST_LINE {
                self.line.push(*byte);
            }
        }
    }

    fn tell(&mut self) {
        let line = std::mem::take(&mut self.line);
        let (level, text) = level(&line);
        let text = String::from_utf8_lossy(text);
        if level <= LogLevel::Info {
            let mut printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
            printed.extend_from_slice(text.as_bytes());
            printed.push(b'\n');
            let over = printed.len().saturating_sub(TAIL);
            printed.drain(..over);
        }
        if let Some(more) = self.rate.left_out_before() {
            self.services.log(LogLevel::Warn, &more);
        }
        if self.rate.allows() {
            self.services.log(level, &text);
        }
    }
}

/// The level of a line, as in sd-daemon(3): `<4>text`. Without one it is information.
fn level(line: &[u8]) -> (LogLevel, &[u8]) {
    match line {
        [b'<', b'0'..=b'3', b'>', rest @ ..] => (LogLevel::Error, rest),
        [b'<', b'4', b'>', rest @ ..] => (LogLevel::Warn, rest),
        [b'<', b'5' | b'6', b'>', rest @ ..] => (LogLevel::Info, rest),
        [b'<', b'7', b'>', rest @ ..] => (LogLevel::Debug, rest),
        _ => (LogLevel::Info, line),
    }
}

/// Lets a child print so many lines in a second; counts the others.
struct Rate {
    since: Instant,
    lines: u32,
    left_out: u64,
}

impl Rate {
    fn new() -> Self {
        Self { since: Instant::now(), lines: 0, left_out: 0 }
    }

    fn allows(&mut self) -> bool {
        self.lines += 1;
        let allowed = self.lines <= LINES_A_SECOND;
        self.left_out += u64::from(!allowed);
        allowed
    }

    /// What to tell of the second before, if it is over.
    fn left_out_before(&mut self) -> Option<String> {
        if self.since.elapsed() < Duration::from_secs(1) {
            return None;
        }
        (self.since, self.lines) = (Instant::now(), 0);
        self.left_out()
    }

    fn left_out(&mut self) -> Option<String> {
        let left_out = std::mem::take(&mut self.left_out);
        (left_out > 0).then(|| format!("{left_out} more lines of the source's process are left out"))
    }
}

/// `crashed with SIGSEGV`, `ended the process with exit status 1`
#[must_use]
pub fn how_it_ended(status: ExitStatus) -> String {
    match status.signal().map(|signal| (signal, Signal::try_from(signal))) {
        Some((_, Ok(signal))) => format!("crashed with {signal}"),
        Some((number, Err(_))) => format!("crashed with signal {number}"),
        None => format!("ended the process with exit status {}", status.code().unwrap_or_default()),
    }
}

/// The end of a child's output, in one line, to append to a message: empty, or ` (it printed: …)`.
#[must_use]
pub fn in_a_line(printed: &[u8]) -> String {
    let text = String::from_utf8_lossy(printed);
    let words: Vec<_> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
    if words.is_empty() { String::new() } else { format!(" (it printed: {})", words.join(" ")) }
}

/// How long a killed process may take to die.
const DIES: Duration = Duration::from_secs(1);
/// Bytes of output that are kept for messages.
const TAIL: usize = 400;
/// Bytes of a line that are passed on.
const LONGEST_LINE: usize = 4096;
/// Pieces of output that are read at once: more than a pipe holds.
const PIECES: usize = 64;
const LINES_A_SECOND: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_level_of_its_prefix() {
        assert_eq!(level(b"<3>broken"), (LogLevel::Error, &b"broken"[..]));
        assert_eq!(level(b"<4>odd"), (LogLevel::Warn, &b"odd"[..]));
        assert_eq!(level(b"<6>so"), (LogLevel::Info, &b"so"[..]));
        assert_eq!(level(b"<7>x"), (LogLevel::Debug, &b"x"[..]));
        for plain in [&b"<8>x"[..], b"<", b"", b"plain"] {
            assert_eq!(level(plain), (LogLevel::Info, plain));
        }
    }
}
