//! What a child prints: lines of the host's log, with a limit.
//!
//! On a thread of its own, which ends with the child.
#![forbid(unsafe_code)]

use std::{
    io::{self, PipeReader, Read as _},
    os::fd::AsFd as _,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use framegate_plugin_abi::{codes::LogLevel, host::HostServices};
use nix::poll::{PollFd, PollFlags};

use crate::link;

/// Reads what a child prints.
pub(crate) struct Listener {
    prints: PipeReader,
    told: PipeReader,
    services: Arc<dyn HostServices>,
    printed: Arc<Mutex<Vec<u8>>>,
    /// The beginning of a line.
    line: Vec<u8>,
    rate: Rate,
}

impl Listener {
    /// For what comes through `prints`, until `told` is closed at its other end. `printed` gets the end of it.
    pub(crate) fn new(
        prints: PipeReader,
        told: PipeReader,
        services: Arc<dyn HostServices>,
        printed: Arc<Mutex<Vec<u8>>>,
    ) -> Self {
        Self { prints, told, services, printed, line: Vec::new(), rate: Rate::new() }
    }

    /// Passes on all of it.
    pub(crate) fn run(mut self) {
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
        let is_plain = text.len() == line.len();
        let text = String::from_utf8_lossy(text);
        // What the source logs itself is in the log; what its libraries print may be all that is known of its end.
        if is_plain {
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

/// The end of a child's output, in one line, to append to a message: empty, or ` (it printed: …)`.
#[must_use]
pub fn in_a_line(printed: &[u8]) -> String {
    let text = String::from_utf8_lossy(printed);
    let words: Vec<_> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
    if words.is_empty() { String::new() } else { format!(" (it printed: {})", words.join(" ")) }
}

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
