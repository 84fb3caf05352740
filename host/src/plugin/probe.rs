//! Tries a plugin out in a child process, before any of its code enters this one: it loads it, and creates a source with
//! the real settings. A host does so if [`Settings::probe`](crate::settings::Settings::probe) names a program; that program
//! is started with the arguments `plugin child probe`, and calls [`child()`].
//!
//! `Probe::try_out` runs on the thread of the new instance, and waits there. If the plugin harms the child (crash, hang,
//! memory, CPU time), it is refused. An error of `create` is not a refusal. An error about the settings is reported as it
//! is, and no code of the plugin enters this process; any other error may not occur in the host's own `create`, which
//! follows.

use std::{
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use framegate_plugin_abi::{
    caller::Fault,
    codes::{ErrorKind, LogLevel},
    host::HostServices,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    child::{self, Answers, Limits, NoAnswer},
    identity::SourceIdentity,
    inspect::{self, Trust},
    load,
    refusal::{self, Code, Refusal},
};

/// How to probe plugins.
#[derive(Debug, Clone)]
pub(crate) struct Probe {
    /// The command `framegate`.
    pub(crate) command: PathBuf,
    /// Time limit for loading and `create`.
    pub(crate) limit: Duration,
}

/// The result of probing a plugin that was not refused.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ProbeOutcome {
    /// It may be loaded.
    Passed,
    /// It was loaded, but not created, because only one instance can exist.
    Loaded,
    /// It works, but refuses these settings, with this message.
    WrongSettings(String),
}

/// The role of a child that probes: the last argument of its command line.
pub const ROLE: &str = "probe";

#[derive(Serialize, Deserialize)]
struct Task {
    path: PathBuf,
    /// Hash of the inspected content.
    sha256: String,
    /// Name, version and file, for messages.
    source: String,
    stream: String,
    settings: Value,
    beside: bool,
}

impl Probe {
    /// Loads the file in a child, creates an instance with these settings, and destroys it. `beside` another source: an
    /// exclusive source is only loaded, not created.
    pub(crate) fn try_out(
        &self,
        what: &SourceIdentity,
        stream: &str,
        settings: &Value,
        beside: bool,
    ) -> Result<ProbeOutcome, Refusal> {
        let path = what.file.as_deref().unwrap_or(Path::new(""));
        let source = what.to_string();
        let task = Task {
            path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
            sha256: what.sha256.clone().unwrap_or_default(),
            source: source.clone(),
            stream: stream.to_owned(),
            settings: settings.clone(),
            beside,
        };
        let limits = Limits { time: self.limit, for_each_step: false, memory: child::MEMORY };
        let fault = "this is a fault of the plugin: tell its author, or use another version of it; `framegate plugin check` says more";
        match child::ask(&mut Command::new(&self.command), ROLE, &task, limits) {
            Ok(outcome) => outcome,
            Err(NoAnswer::NoChild(why)) => {
                let found = format!("{source} cannot be tried out in a child process (probe): {why}");
                let remedy = "probe needs the command framegate of this version, in the PATH or where the program says; or set probe = false";
                Err(Refusal::new(Code::Probe, found, remedy))
            }
            Err(died @ NoAnswer::Died { .. }) => Err(Refusal::new(
                Code::Crash,
                format!("{source} {died}, in the child process in which it was tried out"),
                fault,
            )),
            Err(NoAnswer::TimedOut { at, limit }) => {
                let found = format!(
                    "{source} does not start: {at} did not return within {limit:?} in the child process in which it was tried out"
                );
                Err(Refusal::new(Code::Hang, found, format!("{fault}; or raise source_timeout if it is only slow")))
            }
        }
    }
}

/// The child's side of a probe: reads the task from standard input, and writes the answer to standard output.
///
/// # Errors
/// The task cannot be read, or the system refuses the limits.
pub fn child() -> io::Result<()> {
    let (answers, task): (Answers, Task) = Answers::begin()?;
    answers.answer(try_here(&task, &answers)?);
    Ok(())
}

fn try_here(task: &Task, answers: &Answers) -> io::Result<Result<ProbeOutcome, Refusal>> {
    // The host has checked who may write to the file; the hash shows that it is the same file.
    let trust = Trust { allow_writable: true, from_outside: false, pin: Some(&task.sha256) };
    answers.step("loading");
    let inspected = inspect::inspect(&task.path, trust);
    let plugin = match inspected.and_then(|inspected| load::load(&inspected, Box::leak(Box::default()))) {
        Ok(plugin) => plugin,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if task.beside && plugin.is_exclusive() {
        return Ok(Ok(ProbeOutcome::Loaded));
    }
    answers.step("create");
    let host = Arc::new(Silent(UnixStream::pair()?));
    let made = plugin.create(&task.stream, &task.settings.to_string(), host);
    Ok(match made {
        Ok(instance) => {
            answers.step("destroy");
            drop(instance);
            Ok(ProbeOutcome::Passed)
        }
        Err(Fault::Source(error)) if error.kind() == ErrorKind::Settings => {
            Ok(ProbeOutcome::WrongSettings(error.message().to_owned()))
        }
        Err(Fault::Source(_)) => Ok(ProbeOutcome::Passed),
        Err(fault) => Err(refusal::not_created(&task.source, &fault)),
    })
}

/// A host that ignores log lines and never requests a stop.
struct Silent((UnixStream, UnixStream));

impl HostServices for Silent {
    fn log(&self, _: LogLevel, _: &str) {}
    fn stop_requested(&self) -> bool {
        false
    }
    fn stop_descriptor(&self) -> BorrowedFd<'_> {
        self.0.0.as_fd()
    }
}
