//! A detector that the author plays: the command of `--feed`.
//!
//! On the child's main thread. The command runs in the child's process group, so it ends with the child, whatever becomes of it.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use framegate_plugin_api::{Event, Progress};

use super::{
    bench::{PULL, Trial},
    process,
    upstream::Kind,
    verdict::Wrong,
};

/// Opens a run, and collects events until the command has ended and nothing more comes, or there are `most`. The run stays open. `each`
/// sees every event as soon as it is here.
pub(super) fn some(trial: &mut Trial<'_>, most: usize, mut each: impl FnMut(&Event)) -> Result<Vec<Event>, Wrong> {
    // Who connects finds the command there; who listens is there first.
    let connects = matches!(trial.upstream(), Kind::Push | Kind::Pub | Kind::Tcp);
    let early = if connects { Some(Feed::start(trial.feed(), trial.ports.first().copied())?) } else { None };
    trial.open()?;
    let mut feed = match early {
        Some(feed) => feed,
        None => Feed::start(trial.feed(), trial.ports.first().copied())?,
    };
    let (mut events, deadline) = (Vec::new(), Instant::now() + LONGEST);
    let mut quiet = false;
    while events.len() < most && Instant::now() < deadline {
        // Looked at before the call: what the command sent last is waited for once more.
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

/// The command while it runs.
struct Feed(Child);

impl Feed {
    /// For the port that the settings were given, or the one at which the source is.
    fn start(command: &str, port: Option<u16>) -> Result<Self, Wrong> {
        let bound =
            || process::listening().into_iter().chain(process::receiving()).next().map(|address| address.port());
        let Some(port) = port.or_else(bound) else {
            let why = "--feed: the source has no port here: none in its settings, and it listens on none".to_owned();
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
        // It has ended already, or nobody needs it any more.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How long the command may run before the check goes on with what it has.
const LONGEST: Duration = Duration::from_secs(15);
