//! A child process in which code of a plugin runs first: it may crash, hang, or eat memory there at no one's cost.
//!
//! [`ask`] runs on whatever thread wants to know, and waits there; the child is the command `framegate` with a sub-command that
//! people do not see. It gets its task as JSON on its standard input and answers in lines of JSON on its standard output: first
//! which step it is at, last its answer. What the plugin itself prints goes to the child's standard error, of which the end is kept.

use std::{
    cell::RefCell,
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
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

use super::load;

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
    let mut child = Guard(child);
    let (lines, heard) = mpsc::channel();
    // It ends when the child's end of the pipe is closed; the child may not read it at all.
    let mut stdin = child.0.stdin.take();
    thread::spawn(move || stdin.as_mut().map(|stdin| stdin.write_all(&task)));
    let out = child.0.stdout.take();
    thread::spawn(move || {
        let lines_of = out.map(|out| io::BufRead::lines(io::BufReader::new(out.take(MOST_SAID))));
        lines_of.into_iter().flatten().map_while(Result::ok).for_each(|line| drop(lines.send(line)));
    });
    let err = child.0.stderr.take();
    let (said, tail) = mpsc::channel();
    thread::spawn(move || drop(said.send(err.map(end_of).unwrap_or_default())));

    let mut at = "its start".to_owned();
    let deadline = Instant::now() + limits.time;
    loop {
        match heard.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => match serde_json::from_str::<Line<A>>(&line) {
                Ok(Line::Answer(answer)) => return Ok(answer),
                Ok(Line::Step(step)) => at = step,
                Err(problem) => return Err(NoAnswer::NoChild(format!("it answers {line:.100} ({problem})"))),
            },
            Err(mpsc::RecvTimeoutError::Timeout) => return Err(NoAnswer::Late { at, limit: limits.time }),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let status = child.0.wait().map_err(failed)?;
                let said = tail.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
                return Err(NoAnswer::Died { at, how: how(status, limits), said });
            }
        }
    }
}

/// Ends the child and what it has started, whatever the outcome.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // Its process is not waited for yet, so the group's number is still its own.
        if let (Ok(None), Ok(group)) = (self.0.try_wait(), i32::try_from(self.0.id())) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            let _ = self.0.wait();
        }
        // If it died while it loaded the plugin, the private copy is still there.
        let prefix = load::prefix_of_copies(self.0.id());
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

/// The last lines of what was printed, in one.
fn end_of(mut from: impl Read) -> String {
    let (mut kept, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(n @ 1..) = from.read(&mut piece) {
        kept.extend_from_slice(&piece[..n]);
        kept.drain(..kept.len().saturating_sub(TAIL));
    }
    let text = String::from_utf8_lossy(&kept);
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

/// Bytes of answers that are read at most.
const MOST_SAID: u64 = 16 << 20;
/// Bytes of what was printed that are kept.
const TAIL: usize = 400;
