//! `framegate run --config FILE`: runs ingesters from a configuration file; and the life of a host with signals, which
//! the drop-in commands share.
//!
//! The host starts on a separate thread, so that a signal is handled even if a plugin hangs during the start.

use std::{
    panic,
    path::PathBuf,
    process::{self, ExitCode},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::Context as _;

use super::{
    FAILURE, REFUSED, WRONG_SETTINGS, fail,
    machine::Machine,
    out,
    reload::{ConfigFile, Reloader},
    signals::Stop,
};
use crate::{
    host::{Host, Linked, StartError},
    observe::logs,
    settings::{
        SettingsError,
        layers::{self, Environment, RunFlags},
    },
    threads,
};

/// Run ingesters from a configuration file.
///
/// Runs until SIGTERM or SIGINT (ctrl-c), then delivers queued events for up to `shutdown_grace` (default 1 s) and
/// exits with 0; a second signal ends it at once. When the configuration file changes, or on SIGHUP, streams with a
/// changed source are swapped when the next scan starts, and the log lists the changes that need a restart. Standalone
/// with `scans` set, it ends by itself after the last scan.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The configuration file (TOML)
    #[arg(short, long, value_name = "FILE", required_unless_present = "print_example")]
    config: Option<PathBuf>,
    /// Where status and metrics are served over HTTP, or off; default 127.0.0.1:9180, or the next free port up to 9189
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// The least serious level that is logged: DEBUG, INFO, WARNING or ERROR; default INFO
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Print a configuration file with every key, its meaning and its default
    #[arg(long)]
    print_example: bool,
}

const AFTER_HELP: &str = "\
Examples:
  framegate run --print-example > framegate.toml
  framegate run --config framegate.toml
  framegate run --config framegate.toml --admin 0.0.0.0:9180 --log-level DEBUG

Environment variables override the file, options override both. In upper or lower case:
  SERVICE_REDIS_DSN  address of Redis, else REDIS_URL; not with [standalone]
  FRAMEGATE_REDIS_USER, FRAMEGATE_REDIS_PASSWORD or FRAMEGATE_REDIS_PASSWORD_FILE, FRAMEGATE_REDIS_CA,
  FRAMEGATE_REDIS_CERTIFICATE, FRAMEGATE_REDIS_KEY  like the keys redis_user, redis_password, …; not with [standalone]
  BUILD_META_FILE    build information to publish
  LOG_LEVEL          DEBUG, INFO, WARNING or ERROR
  FRAMEGATE_ADMIN    address that serves status and metrics over HTTP, or off
  FRAMEGATE_CAPTURE_ROOT  folder that all captures must be in
  FRAMEGATE_PLUGIN_PATH  folders with plugins, separated by :, searched after plugin_dirs
  FRAMEGATE_ALLOW_WRITABLE_PLUGINS  true: accept plugin files that others may write to

Exit status: see framegate --help.";

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Some(config) = &args.config else {
        out::line(include_str!("../../examples/framegate.toml").trim_end())?;
        return Ok(ExitCode::SUCCESS);
    };
    let flags = RunFlags { admin: args.admin.clone(), log_level: args.log_level.clone() };
    let file = ConfigFile::new(config, Environment::new(std::env::vars_os()), flags);
    serve(file.read(), Some(file))
}

/// Runs a host until it is done or a signal comes. `file` is the configuration that may change while it runs.
pub(super) fn serve(
    checked: Result<layers::Checked, SettingsError>,
    file: Option<ConfigFile>,
) -> anyhow::Result<ExitCode> {
    let checked = match checked {
        Ok(checked) => checked,
        Err(error) => return Ok(fail(error.problems(), WRONG_SETTINGS)),
    };
    // The log's writer panics if its thread cannot be started.
    threads::can_be_had(1).with_context(|| no_thread("for the log"))?;
    let _flush = logs::init(checked.log_level).context("cannot start logging")?;
    let mut machine = Machine::prepare(&checked.settings)?;
    let stop = if file.is_some() { Stop::listen() } else { Stop::listen_beyond_hangup() };
    let stop = stop.with_context(|| no_thread("that handles signals"))?;
    let reloader = file.map(|file| Reloader::listen(file, checked.log_level)).transpose();
    let reloader = reloader.context("cannot handle SIGHUP")?.map(Reloader::begin).transpose();
    let reloader = reloader.with_context(|| no_thread("that watches the configuration file"))?;
    let settings = checked.settings;
    let grace = settings.shutdown_grace;
    let main = thread::current();
    let (sender, started) = mpsc::sync_channel(1);
    end_with_a_panic_of_the_start();
    let start = thread::Builder::new().name(START.into()).spawn(move || {
        // The receiver is gone if a signal came first; then the host is dropped, which stops it.
        let _ = sender.send(Host::start(settings, Linked::none()));
        main.unpark();
    });
    start.with_context(|| no_thread("that starts the host"))?;
    let host = loop {
        if let Ok(host) = started.try_recv() {
            break host;
        }
        if stop.is_asked() {
            // Nothing is published before the host has started; so a hanging start may be abandoned.
            match started.recv_timeout(grace) {
                Ok(host) => break host,
                Err(_) => return Ok(ExitCode::SUCCESS),
            }
        }
        stop.wait(CHECK);
    };
    let host = match host {
        Ok(host) => host,
        Err(error) => return Ok(fail(error.problems(), status(&error))),
    };
    if let Some(reloader) = reloader {
        // Its thread waits for this message.
        let _ = reloader.send(host.swapper());
    }
    let mut failure = None;
    while !stop.is_asked() && !host.is_done() && failure.is_none() {
        stop.wait(CHECK);
        machine.look();
        failure = host.failure();
    }
    if stop.is_asked() {
        tracing::info!("stopping; delivering queued events for up to {}", humantime::format_duration(grace));
    }
    host.shutdown();
    // A service manager restarts it after this exit status.
    Ok(failure.map_or(ExitCode::SUCCESS, |failure| fail(&[failure], FAILURE)))
}

fn no_thread(what: &str) -> String {
    format!("no thread {what} ({})", threads::REMEDY)
}

fn status(error: &StartError) -> u8 {
    match (error.is_plugin_refused(), error.is_settings_wrong()) {
        (true, _) => REFUSED,
        (false, true) => WRONG_SETTINGS,
        (false, false) => FAILURE,
    }
}

/// A panic of that thread ends the process. Unwinding could wait for ever for unfinished work that cannot be ended:
/// tokio's runtime does so when there is no memory for its second thread.
fn end_with_a_panic_of_the_start() {
    let say = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        say(panic);
        if thread::current().name() == Some(START) {
            fail(&["the start failed; see the lines above".to_owned()], FAILURE);
            process::exit(FAILURE.into());
        }
    }));
}

/// The thread that starts the host.
const START: &str = "start";
/// Polling interval for the end of a standalone host. Signals are noticed at once.
const CHECK: Duration = Duration::from_millis(100);
