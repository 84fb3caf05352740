//! The words between the host and a child, over the child's pipes.
//!
//! Runs on the thread that waits for the answer. What the child has started may hold the other ends for as long as it likes: nobody
//! here waits for them to be closed, and what is heard is limited.

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
    /// None when all is said, or the child has closed it.
    to: Option<(ChildStdin, Vec<u8>)>,
    answers: Option<ChildStdout>,
    prints: Option<ChildStderr>,
    /// Its other end is closed when the child has ended.
    alive: io::PipeReader,
    has_ended: bool,
    /// Answers that were not asked for yet.
    heard: Vec<u8>,
    left_to_hear: usize,
    /// The end of what was printed.
    printed: Vec<u8>,
}

/// What there is to hear.
#[derive(Debug)]
pub(super) enum Heard {
    /// A line of the child's answers.
    Line(Vec<u8>),
    /// The child has ended, and there is no line left of it. It is not reaped.
    Ended,
    /// The deadline is over.
    Late,
}

impl Talk {
    /// Takes the pipes of a child, to which `task` is said.
    pub(super) fn with(child: &mut Child, task: Vec<u8>) -> io::Result<Self> {
        let (alive, closes) = io::pipe()?;
        let id = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
        thread::Builder::new().name("child".into()).spawn(move || {
            let _closes = closes;
            // It stays as it is, for whoever reaps it. Whatever else goes wrong here, it is no child of ours any more.
            while waitid(Id::Pid(id), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(Errno::EINTR) {}
        })?;
        let (to, answers, prints) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let ends = [to.as_ref().map(AsFd::as_fd), answers.as_ref().map(AsFd::as_fd), prints.as_ref().map(AsFd::as_fd)];
        for end in ends.into_iter().flatten() {
            fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        let to = to.map(|to| (to, task));
        let (heard, printed) = (Vec::new(), Vec::new());
        Ok(Self { to, answers, prints, alive, has_ended: false, heard, left_to_hear: MOST_HEARD, printed })
    }

    /// Waits for the next line.
    pub(super) fn hear(&mut self, deadline: Instant) -> io::Result<Heard> {
        loop {
            if let Some(end) = self.heard.iter().position(|byte| *byte == b'\n') {
                let rest = self.heard.split_off(end + 1);
                return Ok(Heard::Line(std::mem::replace(&mut self.heard, rest)));
            }
            if self.has_ended {
                return Ok(Heard::Ended);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Heard::Late);
            }
            // What it said before it ended is there when its end is seen.
            self.has_ended = self.wait(PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX))?;
            self.exchange();
        }
    }

    /// The end of what was printed.
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

    /// Says and hears what can be said and heard without waiting.
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
                Ok(n) if n > 0 && n <= self.left_to_hear => {
                    self.left_to_hear -= n;
                    self.heard.extend_from_slice(&piece[..n]);
                }
                Err(problem) if is_for_later(&problem) => break,
                Ok(_) | Err(_) => self.answers = None,
            }
        }
        // Who prints for ever must not keep us from the clock.
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

/// Bytes of answers that are heard at most.
const MOST_HEARD: usize = 16 << 20;
/// Bytes of what was printed that are kept.
const TAIL: usize = 400;
/// Pieces of what was printed that are read in one go: more than a pipe holds.
const PIECES: usize = 64;
