//! Exchanges messages between the host and a child, over the child's pipes.
//!
//! Runs on the thread that waits for the answer. Processes of the child may keep the other ends open for ever: nothing
//! here waits for them to be closed, and the amount of input is limited.

use std::{
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd},
    process::{Child, ChildStderr, ChildStdin, ChildStdout},
    thread,
    time::Instant,
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::wait::{Id, WaitPidFlag, waitid},
    unistd::Pid,
};

/// See the module.
#[derive(Debug)]
pub(super) struct Talk {
    /// The unsent rest of the task; `None` when everything is sent, or the child has closed the pipe.
    to: Option<(ChildStdin, Vec<u8>)>,
    answers: Option<ChildStdout>,
    prints: Option<ChildStderr>,
    /// Its other end is closed when the child has ended.
    alive: io::PipeReader,
    has_ended: bool,
    /// Received answers that were not taken yet.
    received: Vec<u8>,
    left_to_receive: usize,
    /// The end of the child's output.
    printed: Vec<u8>,
}

/// The next thing from the child.
#[derive(Debug)]
pub(super) enum ChildOutput {
    /// A line of the child's answers.
    Line(Vec<u8>),
    /// The child has ended, and no line is left. It is not reaped.
    Ended,
    /// The deadline has passed.
    TimedOut,
}

impl Talk {
    /// Takes the pipes of a child, and sends it `task`.
    pub(super) fn with(child: &mut Child, task: Vec<u8>) -> io::Result<Self> {
        let (alive, closes) = io::pipe()?;
        let id = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
        thread::Builder::new().name("child".into()).spawn(move || {
            let _closes = closes;
            // The child stays unreaped, for its guard. Any other error means that it is no longer our child.
            while waitid(Id::Pid(id), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(Errno::EINTR) {}
        })?;
        let (to, answers, prints) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let ends = [to.as_ref().map(AsFd::as_fd), answers.as_ref().map(AsFd::as_fd), prints.as_ref().map(AsFd::as_fd)];
        for end in ends.into_iter().flatten() {
            fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        let to = to.map(|to| (to, task));
        let (received, printed) = (Vec::new(), Vec::new());
        Ok(Self { to, answers, prints, alive, has_ended: false, received, left_to_receive: MOST_RECEIVED, printed })
    }

    /// Waits for the next line.
    pub(super) fn receive(&mut self, deadline: Instant) -> io::Result<ChildOutput> {
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let rest = self.received.split_off(end + 1);
                return Ok(ChildOutput::Line(std::mem::replace(&mut self.received, rest)));
            }
            if self.has_ended {
                return Ok(ChildOutput::Ended);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(ChildOutput::TimedOut);
            }
            // Lines that it wrote before it ended have arrived when its end is seen.
            self.has_ended = self.wait(PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX))?;
            self.exchange();
        }
    }

    /// The end of the child's output.
    pub(super) fn printed(&self) -> &[u8] {
        &self.printed
    }

    /// Waits until there is something to do. Returns whether the child has ended.
    fn wait(&self, limit: PollTimeout) -> io::Result<bool> {
        fn of(end: Option<BorrowedFd<'_>>, flags: PollFlags) -> Option<PollFd<'_>> {
            end.map(|end| PollFd::new(end, flags))
        }
        let mut ends = vec![PollFd::new(self.alive.as_fd(), PollFlags::POLLIN)];
        ends.extend(of(self.to.as_ref().map(|(to, _)| to.as_fd()), PollFlags::POLLOUT));
        ends.extend(of(self.answers.as_ref().map(AsFd::as_fd), PollFlags::POLLIN));
        ends.extend(of(self.prints.as_ref().map(AsFd::as_fd), PollFlags::POLLIN));
        match poll(&mut ends, limit) {
            Ok(_) | Err(Errno::EINTR) => Ok(ends[0].any().unwrap_or_default()),
            Err(problem) => Err(problem.into()),
        }
    }

    /// Sends and receives as much as is possible without waiting.
    fn exchange(&mut self) {
        if let Some((to, task)) = &mut self.to {
            match to.write(task) {
                Ok(written) => drop(task.drain(..written)),
                Err(problem) if is_for_later(&problem) => {}
                // It may not read it at all.
                Err(_) => task.clear(),
            }
        }
        self.to.take_if(|(_, task)| task.is_empty());
        let mut piece = [0; 4096];
        while let Some(answers) = &mut self.answers {
            match answers.read(&mut piece) {
                Ok(n) if n > 0 && n <= self.left_to_receive => {
                    self.left_to_receive -= n;
                    self.received.extend_from_slice(&piece[..n]);
                }
                Err(problem) if is_for_later(&problem) => break,
                Ok(_) | Err(_) => self.answers = None,
            }
        }
        // Endless output must not keep us from checking the deadline.
        for _ in 0..PIECES {
            let Some(prints) = &mut self.prints else { break };
            match prints.read(&mut piece) {
                Ok(n) if n > 0 => {
                    self.printed.extend_from_slice(&piece[..n]);
                    self.printed.drain(..self.printed.len().saturating_sub(TAIL));
                }
                Err(problem) if is_for_later(&problem) => break,
                Ok(_) | Err(_) => self.prints = None,
            }
        }
    }
}

fn is_for_later(problem: &io::Error) -> bool {
    matches!(problem.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Maximum number of bytes of answers.
const MOST_RECEIVED: usize = 16 << 20;
/// Number of output bytes that are kept.
const TAIL: usize = 400;
/// Number of output pieces that are read at once: more than a pipe holds.
const PIECES: usize = 64;
