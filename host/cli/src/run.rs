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
use framegate::{
    Host, Problem, StartError,
    settings::{
        example,
        layers::{self, Environment, Wrong},
    },
    threads,
};

use super::{
    FAILURE, REFUSED, WRONG_SETTINGS, fail, logs,
    machine::Machine,
    out,
    reload::{ConfigFile, Reloader},
    signals::Stop,
    variables,
};

/// Run ingesters from a configuration file.
///
/// Runs until SIGTERM or SIGINT (ctrl-c), then delivers queued events for up to `shutdown_grace` (default 1 s) and
/// exits with 0; a second signal ends it at once. When the configuration file changes, or on SIGHUP, streams with a
/// changed source are swapped when the next scan starts, and the log lists the changes that need a restart. Standalone
/// with `scans` set, it ends by itself after the last scan.
#[derive(Debug, clap::Args)]
#[command(after_help = after_help())]
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

fn after_help() -> String {
    format!(
        "Examples:\n  framegate run --print-example > framegate.toml\n  framegate run --config framegate.toml\n  \
         framegate run --config framegate.toml --admin 0.0.0.0:9180 --log-level DEBUG\n\n\
         Environment variables override the file, options override both. In upper or lower case; those of Redis not \
         with [standalone]:{}\n\nExit status: see framegate --help.",
        variables::of_run()
    )
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Some(config) = &args.config else {
        out::line(example().trim_end())?;
        return Ok(ExitCode::SUCCESS);
    };
    let flags = [("--admin", &args.admin), ("--log-level", &args.log_level)];
    let flags = flags.into_iter().filter_map(|(flag, value)| Some((flag, value.clone()?))).collect();
    let file = ConfigFile::new(config, Environment::new(std::env::vars_os()), flags);
    serve(file.read(), Some(file))
}

/// Runs a host until it is done or a signal comes. `file` is the configuration that may change while it runs.
pub(super) fn serve(checked: Result<layers::Checked, Wrong>, file: Option<ConfigFile>) -> anyhow::Result<ExitCode> {
    let checked = match checked {
        Ok(checked) => checked,
        Err(wrong) => return Ok(fail(&all_problems(wrong), WRONG_SETTINGS)),
    };
    // The log's writer panics if its thread cannot be started.
    threads::can_be_had(1).with_context(|| no_thread("for the log"))?;
    let _flush = logs::init(checked.log_level).context("cannot start logging")?;
    let mut machine = Machine::prepare(&checked.settings)?;
    let (hangup, hangups) = mpsc::sync_channel(1);
    let has_file = file.is_some();
    let stop = Stop::listen(Some(Box::new(move || {
        if has_file {
            // If the channel is full, the file is read again anyway.
            let _ = hangup.try_send(());
        } else {
            tracing::info!("SIGHUP: this ingester has no configuration file to read again; nothing changes");
        }
    })));
    let stop = stop.with_context(|| no_thread("that handles signals"))?;
    let reloader = file.map(|file| Reloader::new(file, checked.log_level).begin(hangups)).transpose();
    let reloader = reloader.with_context(|| no_thread("that watches the configuration file"))?;
    let settings = checked.settings;
    let grace = settings.shutdown_grace;
    let main = thread::current();
    let (sender, started) = mpsc::sync_channel(1);
    end_with_a_panic_of_the_start();
    let start = thread::Builder::new().name(START.into()).spawn(move || {
        // The receiver is gone if a signal came first; then the host is dropped, which stops it.
        let _ = sender.send(Host::builder(settings).start());
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
    Ok(failure.map_or(ExitCode::SUCCESS, |failure| fail(&[failure.to_string()], FAILURE)))
}

/// The problems of a configuration, and of the sources that it names correctly.
fn all_problems(wrong: Wrong) -> Vec<Problem> {
    let mut problems: Vec<_> = wrong.problems.into_iter().map(Problem::Setting).collect();
    if let Some(rest) = wrong.rest {
        problems.extend(Host::builder(*rest).source_problems());
    }
    problems
}

fn no_thread(what: &str) -> String {
    format!("no thread {what} ({})", threads::REMEDY)
}

fn status(error: &StartError) -> u8 {
    let problems = error.problems();
    if problems.iter().any(|problem| matches!(problem, Problem::Plugin { .. })) {
        REFUSED
    } else if problems.iter().any(|problem| matches!(problem, Problem::Setting(_) | Problem::SourceSettings { .. })) {
        WRONG_SETTINGS
    } else {
        FAILURE
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
