//! A child process in which code of a plugin runs first: it may crash, hang, or eat memory there at no one's cost.
//!
//! [`ask`] runs on whatever thread wants to know, and waits there; the child is the command `framegate` with a sub-command that
//! people do not see. It gets its task as JSON on its standard input and answers in lines of JSON on its standard output: first
//! which step it is at, last its answer. What the plugin itself prints goes to the child's standard error, of which the end is kept.
//!
//! What the plugin starts ends with the child, as long as it stays in the child's process group. A process that starts a session of
//! its own (setsid(2)) leaves the group; the host does not find it, and it keeps running.

use std::{
    cell::RefCell,
    fs::{self, File},
    io::{self, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

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
    talk::{Heard, Talk},
};

/// What a child may use.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Limits {
    /// Until it has answered.
    pub(crate) time: Duration,
    /// Bytes of memory of its own (RLIMIT_DATA).
    pub(crate) memory: u64,
}

/// The memory that a plugin gets in a child: what vendors' libraries take for their buffers, with room to spare.
pub(crate) const MEMORY: u64 = 8 << 30;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// The program is not there, or the machine refuses a process.
    #[error("{0}")]
    NoChild(String),
    /// The child has died. `at`: its last step.
    #[error("{how} in {at}{said}")]
    Died {
        /// Its last step.
        at: String,
        /// `crashed with SIGSEGV`
        how: String,
        /// The end of what was printed, to be put behind: empty, or ` (it printed: …)`.
        said: String,
    },
    /// It took too long, and was ended.
    #[error("{at} did not return within {limit:.1?}")]
    Late {
        /// The step that did not end.
        at: String,
        /// Its time.
        limit: Duration,
    },
}

/// A line of the child's.
#[derive(Serialize, Deserialize)]
enum Line<A> {
    Step(String),
    Answer(A),
}

/// Asks a child: `COMMAND plugin child ROLE`.
pub(crate) fn ask<A: DeserializeOwned>(
    command: &mut Command,
    role: &str,
    task: &impl Serialize,
    limits: Limits,
) -> Result<A, NoAnswer> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |problem: io::Error| NoAnswer::NoChild(format!("{program}: {problem}"));
    let task = serde_json::to_vec(&(limits, task)).map_err(|problem| NoAnswer::NoChild(problem.to_string()))?;
    command.args(["plugin", "child", role]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own, so that what the plugin starts ends with it.
    let child = command.process_group(0).spawn().map_err(failed)?;
    let mut child = Guard { child, status: None };
    let mut talk = Talk::with(&mut child.child, task).map_err(failed)?;
    let mut at = "its start".to_owned();
    let deadline = Instant::now() + limits.time;
    loop {
        match talk.hear(deadline).map_err(failed)? {
            Heard::Line(line) => match serde_json::from_slice::<Line<A>>(&line) {
                Ok(Line::Answer(answer)) => return Ok(answer),
                Ok(Line::Step(step)) => at = step,
                Err(problem) => {
                    let line = String::from_utf8_lossy(&line);
                    return Err(NoAnswer::NoChild(format!("it answers {:.100} ({problem})", line.trim_end())));
                }
            },
            Heard::Late => return Err(NoAnswer::Late { at, limit: limits.time }),
            Heard::Ended => {
                let status = child.end().map_err(failed)?;
                return Err(NoAnswer::Died { at, how: how(status, limits), said: in_a_line(talk.printed()) });
            }
        }
    }
}

/// Ends the child and what it has started, whatever the outcome.
struct Guard {
    child: Child,
    /// When it is reaped.
    status: Option<ExitStatus>,
}

impl Guard {
    fn end(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        // Before it is reaped, ended or not: the group's number is still its own, also for those who are left in it.
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
        // If it died while it loaded the plugin, the private copy is still there.
        let prefix = prefix_of_copies(self.child.id());
        let entries = fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
        let left = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
        left.for_each(|entry| drop(fs::remove_file(entry.path())));
    }
}

/// `crashed with SIGSEGV`, `ended with exit status 1`
fn how(status: ExitStatus, limits: Limits) -> String {
    match status.signal().map(|signal| (signal, Signal::try_from(signal))) {
        Some((_, Ok(Signal::SIGXCPU))) => format!("used more than {} s of CPU time", cpu_seconds(limits.time)),
        Some((_, Ok(signal))) => format!("crashed with {signal}"),
        Some((number, Err(_))) => format!("crashed with signal {number}"),
        None => format!("ended the process with exit status {}", status.code().unwrap_or_default()),
    }
}

/// The end of what was printed, in one line.
fn in_a_line(printed: &[u8]) -> String {
    let text = String::from_utf8_lossy(printed);
    let words: Vec<_> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
    if words.is_empty() { String::new() } else { format!(" (it printed: {})", words.join(" ")) }
}

/// A child may compute for a quarter of its time; the limit is in whole seconds.
fn cpu_seconds(time: Duration) -> u64 {
    (time.as_secs() / 4).max(1)
}

/// The child's own side.
#[derive(Debug)]
pub(crate) struct Answers {
    to: File,
    /// The last step; a step is said once, however often it is made.
    at: RefCell<String>,
}

impl Answers {
    /// To be called first thing in a child: takes its limits and its task.
    pub(crate) fn begin<T: DeserializeOwned>() -> anyhow::Result<(Self, T)> {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        let (limits, task): (Limits, T) = serde_json::from_reader(io::stdin().lock())?;
        setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
        setrlimit(Resource::RLIMIT_DATA, limits.memory, limits.memory)?;
        let seconds = cpu_seconds(limits.time);
        setrlimit(Resource::RLIMIT_CPU, seconds, seconds + 1)?;
        // What a plugin prints must not be taken for an answer.
        let answers = File::from(dup(io::stdout())?);
        dup2_stdout(io::stderr())?;
        Ok((Self { to: answers, at: RefCell::default() }, task))
    }

    /// Says what comes next.
    pub(crate) fn step(&self, step: &str) {
        if *self.at.borrow() != step {
            step.clone_into(&mut self.at.borrow_mut());
            self.line(&Line::<Value>::Step(step.to_owned()));
        }
    }

    /// The answer.
    pub(crate) fn answer(&self, answer: impl Serialize) {
        self.line(&Line::Answer(answer));
    }

    fn line(&self, line: &impl Serialize) {
        let mut text = serde_json::to_vec(line).expect("our own answers have a JSON form");
        text.push(b'\n');
        // Nobody listens: then nobody wants to know.
        let _ = (&self.to).write_all(&text);
    }
}
