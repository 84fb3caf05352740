//! Reads the configuration file again when it changes, and on SIGHUP.
//!
//! Runs on a separate thread, so that waiting for a stop signal does not depend on a plugin. It checks the file once a
//! second, and reads it when it was the same at two checks: so it never reads a half-written file. It does not use
//! inotify, because inotify does not report changes that another machine makes, and configurations are often on NFS.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use framegate::{
    Reload, Swapper,
    settings::{
        LogLevel, SettingProblem,
        layers::{self, Checked, Environment, Flags, Wrong},
    },
};
use framegate_plugin_api::descriptors_left;

use super::machine::RESERVE;

/// A configuration file, and the settings beside it.
#[derive(Debug)]
pub(super) struct ConfigFile {
    path: PathBuf,
    environment: Environment,
    flags: Flags,
}

impl ConfigFile {
    pub(super) fn new(path: &Path, environment: Environment, flags: Flags) -> Self {
        Self { path: path.to_owned(), environment, flags }
    }

    /// Its current settings.
    ///
    /// # Errors
    /// All problems.
    pub(super) fn read(&self) -> Result<Checked, Wrong> {
        let shown = self.path.display();
        let bytes = fs::read(&self.path).map_err(|error| {
            let looked_for = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
            let text = format_args!(
                "the configuration file cannot be read: {error}\n  `framegate run --print-example` prints one to begin with"
            );
            Wrong::only(SettingProblem::new(Some(looked_for.display().to_string()), text))
        })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
            let place = format!("{shown}:{line}");
            Wrong::only(SettingProblem::new(Some(place), "not UTF-8\n  save the file as UTF-8 text"))
        })?;
        layers::run(&text, &shown.to_string(), &self.environment, &self.flags)
    }

    fn stamp(&self) -> Option<Stamp> {
        let about = fs::metadata(&self.path).ok()?;
        Some((about.dev(), about.ino(), about.size(), about.mtime(), about.mtime_nsec()))
    }
}

/// Differs after a file was written again or replaced: device, inode, size, time of the change.
type Stamp = (u64, u64, u64, i64, i64);

/// Reads the file again, and swaps what has changed.
#[derive(Debug)]
pub(super) struct Reloader {
    file: ConfigFile,
    /// The stamp of the file when it was last read.
    taken: Option<Stamp>,
    log_level: LogLevel,
}

impl Reloader {
    /// For a file that was just read.
    pub(super) fn new(file: ConfigFile, log_level: LogLevel) -> Self {
        let taken = file.stamp();
        Self { file, taken, log_level }
    }

    /// Starts the thread, which waits for the object that swaps sources, and runs for the life of the process. `hangups`
    /// has a message for each SIGHUP.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn begin(mut self, hangups: mpsc::Receiver<()>) -> io::Result<mpsc::Sender<Swapper>> {
        let (sender, started) = mpsc::channel::<Swapper>();
        let life = move || {
            // The host did not start.
            let Ok(swaps) = started.recv() else { return };
            let mut seen = self.taken;
            loop {
                let is_asked = match hangups.recv_timeout(LOOK) {
                    Ok(()) => true,
                    Err(mpsc::RecvTimeoutError::Timeout) => false,
                    // The thread that waits for signals ends only with the process.
                    Err(mpsc::RecvTimeoutError::Disconnected) => return,
                };
                let now = self.file.stamp();
                // Without descriptors neither the file nor a plugin could be read: checked again later.
                let has_changed =
                    now.is_some() && now != self.taken && now == seen && descriptors_left(RESERVE).is_ok();
                seen = now;
                if is_asked || has_changed {
                    self.taken = now;
                    self.reload(&swaps, if is_asked { "SIGHUP" } else { "it has changed" });
                }
            }
        };
        thread::Builder::new().name("reload".into()).spawn(life).map(|_| sender)
    }

    fn reload(&mut self, swaps: &Swapper, why: &str) {
        let shown = self.file.path.display();
        tracing::info!("reading {shown} again: {why}");
        let checked = match self.file.read() {
            Ok(checked) => checked,
            Err(wrong) => {
                for problem in wrong.problems {
                    tracing::error!("{problem}");
                }
                return tracing::error!("{shown} is wrong; nothing has changed");
            }
        };
        let Reload { swaps, mut needs_restart, .. } = swaps.reload(&checked.settings);
        if checked.log_level != self.log_level {
            needs_restart.push("log_level".to_owned());
        }
        if !needs_restart.is_empty() {
            tracing::warn!("{shown}: needs a restart to take effect: {}", needs_restart.join("; "));
        }
        let (ready, refused): (Vec<_>, Vec<_>) = swaps.into_iter().partition(|(_, outcome)| outcome.is_ok());
        let names = |swaps: &[(_, _)]| swaps.iter().map(|(stream, _)| format!(" {stream}")).collect::<String>();
        match (ready.is_empty(), refused.is_empty()) {
            (true, true) => tracing::info!("{shown}: no stream has changed"),
            (false, true) => tracing::info!("{shown}: new source from the next scan on:{}", names(&ready)),
            (true, false) => tracing::error!(
                "{shown}: old source stays, because the new one was refused (reason above):{}",
                names(&refused)
            ),
            (false, false) => tracing::error!(
                "{shown}: new source from the next scan on:{}; old source stays, because the new one was refused \
                 (reason above):{}",
                names(&ready),
                names(&refused)
            ),
        }
    }
}

/// Interval of the checks, and how long a file must be unchanged.
const LOOK: Duration = Duration::from_secs(1);
