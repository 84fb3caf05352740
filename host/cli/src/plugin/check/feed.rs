//! A detector simulated by the plugin's author: the command of `--feed`.
//!
//! Used on the child's main thread. The command runs in the child's process group, so it always ends with the child.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use framegate_plugin_api::Progress;

use super::{
    bench::{Event, PULL, Trial},
    process,
    upstream::Kind,
    verdict::Wrong,
};

/// Opens a run, and collects events until the command has ended and nothing more comes, or there are `most`. The run
/// stays open. `each` is called with every event at once.
pub(super) fn some(
    trial: &mut Trial<'_>,
    command: &str,
    most: usize,
    mut each: impl FnMut(&Event),
) -> Result<Vec<Event>, Wrong> {
    // A source that connects must find the command; a source that listens must be there first.
    let connects = matches!(trial.bench.task.upstream, Kind::Push | Kind::Pub | Kind::Tcp);
    let start = |trial: &Trial<'_>| Feed::start(command, trial.ports.first().copied());
    let early = connects.then(|| start(trial)).transpose()?;
    trial.open()?;
    let mut feed = early.map_or_else(|| start(trial), Ok)?;
    let (mut events, deadline) = (Vec::new(), Instant::now() + LONGEST);
    let mut quiet = false;
    while events.len() < most && Instant::now() < deadline {
        // Checked before the call: after the command's end there is one more call for its last data.
        let ended = feed.has_ended()?;
        let pulled = trial.next(PULL)?;
        pulled.events.iter().for_each(&mut each);
        let nothing = pulled.events.is_empty();
        events.extend(pulled.events);
        if pulled.progress == Progress::End || ended && nothing && quiet {
            break;
        }
        quiet = ended && nothing;
    }
    Ok(events)
}

/// The running command.
struct Feed(Child);

impl Feed {
    /// For the port in the settings, or the port at which the source listens.
    fn start(command: &str, port: Option<u16>) -> Result<Self, Wrong> {
        let bound =
            || process::listening().into_iter().chain(process::receiving()).next().map(|address| address.port());
        let Some(port) = port.or_else(bound) else {
            let why = "--feed: the source has no port here: its settings have none, and it listens on none".to_owned();
            return Err(Wrong::NotChecked(why));
        };
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(command.replace("{port}", &port.to_string())).env_remove("MALLOC_PERTURB_");
        let child = shell.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        child.map(Self).map_err(|problem| Wrong::NotChecked(format!("--feed: sh: {problem}")))
    }

    fn has_ended(&mut self) -> Result<bool, Wrong> {
        match self.0.try_wait() {
            Ok(None) => Ok(false),
            Ok(Some(status)) if status.success() => Ok(true),
            Ok(Some(status)) => Err(Wrong::NotChecked(format!("the command of --feed failed: {status}"))),
            Err(problem) => Err(Wrong::NotChecked(format!("--feed: {problem}"))),
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        // It may have ended already; otherwise it is no longer needed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How long the command may run before the check continues with what it has.
const LONGEST: Duration = Duration::from_secs(15);
