//! What a source in a child has of the host: its log, through standard error, and its stop signal, the socket.
#![forbid(unsafe_code)]

use std::{
    io::{self, Write as _},
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::OnceLock,
    time::Duration,
};

use framegate_plugin_abi::{codes::LogLevel, host::HostServices};
use nix::poll::{PollFd, PollFlags};

use crate::link;

/// See the module.
pub(super) struct Services {
    stop: UnixStream,
    level: OnceLock<LogLevel>,
}

impl Services {
    pub(super) fn new(stop: UnixStream) -> Self {
        Self { stop, level: OnceLock::new() }
    }

    /// The most detailed level of the host's log, in its word.
    pub(super) fn set_level(&self, level: &str) {
        let _ = self.level.set(match level {
            "error" => LogLevel::Error,
            "warn" => LogLevel::Warn,
            "info" => LogLevel::Info,
            _ => LogLevel::Debug,
        });
    }
}

impl HostServices for Services {
    fn log(&self, level: LogLevel, message: &str) {
        if level > self.log_level() {
            return;
        }
        let prefix = match level {
            LogLevel::Error => 3,
            LogLevel::Warn => 4,
            LogLevel::Info => 6,
            LogLevel::Debug => 7,
        };
        let lines: String = message.lines().map(|line| format!("<{prefix}>{line}\n")).collect();
        // An error means that nobody listens.
        let _ = io::stderr().write_all(lines.as_bytes());
    }

    fn log_level(&self) -> LogLevel {
        self.level.get().copied().unwrap_or(LogLevel::Debug)
    }

    fn stop_requested(&self) -> bool {
        let mut ends = [PollFd::new(self.stop.as_fd(), PollFlags::POLLIN)];
        link::wait(&mut ends, Duration::ZERO).is_ok() && ends[0].any() == Some(true)
    }

    fn stop_descriptor(&self) -> BorrowedFd<'_> {
        self.stop.as_fd()
    }
}
