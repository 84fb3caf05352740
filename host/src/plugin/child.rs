//! A child process in which a plugin's code runs first: a crash, a hang or exhausted memory there harms only the child.
//!
//! [`ask`] runs on the caller's thread, and waits there; the child is the command `framegate` with a hidden sub-command.
//! It gets its task as JSON on its standard input and writes lines of JSON to its standard output: the current step, and
//! finally its answer. The plugin's own output goes to the child's standard error; its end is kept.
//!
//! Processes that the plugin starts are ended with the child, as long as they stay in its process group. A process that
//! starts its own session (setsid(2)) leaves the group; the host does not find it, and it keeps running.

use std::{
    cell::RefCell,
    fs::{self, File},
    io::{self, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use framegate_isolation::{how_it_ended, in_a_line};
use nix::{
    sys::{
        prctl,
        resource::{Resource, setrlimit},
        signal::{Signal, killpg},
    },
    unistd::{Pid, dup, dup2_stdout},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    copy::prefix_of_copies,
    talk::{ChildOutput, Talk},
};

/// The limits of a child.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Limits {
    /// Time until the answer, or for each of its steps.
    pub time: Duration,
    /// Whether `time` is for each step.
    pub for_each_step: bool,
    /// Size of its private memory in bytes (RLIMIT_DATA).
    pub memory: u64,
}

/// The memory limit of a plugin in a child: enough for the buffers of vendors' libraries, with room to spare.
pub const MEMORY: u64 = 8 << 30;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// The program is missing, or the system cannot start a process.
    #[error("{0}")]
    NoChild(String),
    /// The child has died. `at`: its last step.
    #[error("{how} in {at}{said}")]
    Died {
        /// Its last step.
        at: String,
        /// `crashed with SIGSEGV`
        how: String,
        /// The end of its output, to append to the message: empty, or ` (it printed: …)`.
        said: String,
    },
    /// It took too long, and was killed.
    #[error("{at} did not return within {limit:.1?}")]
    TimedOut {
        /// The step that did not end.
        at: String,
        /// Its time limit.
        limit: Duration,
    },
}

/// A line from the child.
#[derive(Serialize, Deserialize)]
enum ChildMessage<A> {
    Step(String),
    Answer(A),
}

/// Runs a child and returns its answer: `COMMAND plugin child ROLE`.
///
/// # Errors
/// Why there is no answer.
pub fn ask<A: DeserializeOwned>(
    command: &mut Command,
    role: &str,
    task: &impl Serialize,
    limits: Limits,
) -> Result<A, NoAnswer> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |problem: io::Error| NoAnswer::NoChild(format!("{program}: {problem}"));
    let task = serde_json::to_vec(&(limits, task)).map_err(|problem| NoAnswer::NoChild(problem.to_string()))?;
    command.args(["plugin", "child", role]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // In its own process group, so that processes of the plugin end with it.
    let child = command.process_group(0).spawn().map_err(failed)?;
    let mut child = Guard { child, status: None };
    let mut talk = Talk::with(&mut child.child, task).map_err(failed)?;
    let mut at = "its start".to_owned();
    let mut deadline = Instant::now() + limits.time;
    loop {
        match talk.receive(deadline).map_err(failed)? {
            ChildOutput::Line(line) => match serde_json::from_slice::<ChildMessage<A>>(&line) {
                Ok(ChildMessage::Answer(answer)) => return Ok(answer),
                Ok(ChildMessage::Step(step)) => {
                    at = step;
                    if limits.for_each_step {
                        deadline = Instant::now() + limits.time;
                    }
                }
                Err(problem) => {
                    let line = String::from_utf8_lossy(&line);
                    return Err(NoAnswer::NoChild(format!("it answers {:.100} ({problem})", line.trim_end())));
                }
            },
            ChildOutput::TimedOut => return Err(NoAnswer::TimedOut { at, limit: limits.time }),
            ChildOutput::Ended => {
                let status = child.end().map_err(failed)?;
                return Err(NoAnswer::Died { at, how: how(status, limits), said: in_a_line(talk.printed()) });
            }
        }
    }
}

/// Always kills the child and the processes that it has started.
struct Guard {
    child: Child,
    /// Its exit status, once it is reaped.
    status: Option<ExitStatus>,
}

impl Guard {
    fn end(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        // Before reaping: until then no other process can get the group's number, and processes may be left in the group.
        if let Ok(group) = i32::try_from(self.child.id()) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let status = self.child.wait()?;
        self.status = Some(status);
        Ok(status)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.end();
        // If it died while loading the plugin, the private copy still exists.
        let prefix = prefix_of_copies(self.child.id());
        let entries = fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
        let left = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
        left.for_each(|entry| drop(fs::remove_file(entry.path())));
    }
}

/// How it ended; a child also has a limit of CPU time.
fn how(status: ExitStatus, limits: Limits) -> String {
    match status.signal() {
        Some(signal) if signal == Signal::SIGXCPU as i32 => {
            format!("used more than {} s of CPU time", cpu_seconds(limits.time))
        }
        _ => how_it_ended(status),
    }
}

/// CPU time limit: a quarter of the child's time, in whole seconds.
fn cpu_seconds(time: Duration) -> u64 {
    (time.as_secs() / 4).max(1)
}

/// The child's side.
#[derive(Debug)]
#[non_exhaustive]
pub struct Answers {
    to: File,
    /// The last reported step; a repeated step is reported once.
    at: RefCell<String>,
}

impl Answers {
    /// Call this first in a child: reads its limits and its task.
    ///
    /// # Errors
    /// The task cannot be read, or the system refuses the limits.
    pub fn begin<T: DeserializeOwned>() -> io::Result<(Self, T)> {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        let (limits, task): (Limits, T) = serde_json::from_reader(io::stdin().lock())?;
        setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
        setrlimit(Resource::RLIMIT_DATA, limits.memory, limits.memory)?;
        let seconds = cpu_seconds(limits.time);
        setrlimit(Resource::RLIMIT_CPU, seconds, seconds + 1)?;
        // Output of the plugin must not be taken for an answer.
        let answers = File::from(dup(io::stdout())?);
        dup2_stdout(io::stderr())?;
        Ok((Self { to: answers, at: RefCell::default() }, task))
    }

    /// Reports the next step.
    pub fn step(&self, step: &str) {
        if *self.at.borrow() != step {
            step.clone_into(&mut self.at.borrow_mut());
            self.line(&ChildMessage::<Value>::Step(step.to_owned()));
        }
    }

    /// Writes the answer.
    pub fn answer(&self, answer: impl Serialize) {
        self.line(&ChildMessage::Answer(answer));
    }

    fn line(&self, line: &impl Serialize) {
        let mut text = serde_json::to_vec(line).expect("our own answers have a JSON form");
        text.push(b'\n');
        // An error means that the parent no longer listens.
        let _ = (&self.to).write_all(&text);
    }
}
