//! `framegate status`: asks a running framegate over its admin endpoint, and shows the answer.
//!
//! Runs on the main thread. Neighbour: [`tables`] formats the tables.

mod tables;

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

use super::{
    endpoint::{self, Endpoint, RunningHost},
    signals::Stop,
};

/// Show what a running framegate does.
///
/// Asks its admin endpoint and shows, for each ingester, its state, streams, workers with their queues, and all losses
/// with their reasons. Current faults are marked with `!`.
///
/// Without --url and FRAMEGATE_ADMIN it shows every framegate that answers at 127.0.0.1, ports 9180 to 9189. `framegate
/// run` uses these ports, unless its `admin` names another address.
///
/// Events and messages: skipped = a message of the detector gave no event; discarded = no worker was to get the event;
/// dropped = memory was full, its source had failed or its worker was evicted; replaced = it still waited when a new
/// scan started; lost = it was on a connection that ended. Missing events were assigned and never read, because their
/// source had failed. Counts of streams and workers are of the current scan.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  framegate status
  framegate status --watch
  framegate status --url http://127.0.0.1:9180 --json | jq .ingesters[0].faults

Exit status: 0; 1 when there was no answer.")]
pub(crate) struct Args {
    /// Where the admin endpoint is: http://host:port or host:port; else the variable FRAMEGATE_ADMIN
    #[arg(long, value_name = "URL", value_parser = endpoint::url)]
    url: Option<String>,
    /// Print each answer as it comes, in JSON, one a line
    #[arg(long)]
    json: bool,
    /// Ask again every second, until ctrl-c
    #[arg(long)]
    watch: bool,
}

/// Asks and shows.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let out = &mut io::stdout().lock();
    let named = Endpoint::named(args.url.as_deref())?;
    let look = || -> anyhow::Result<String> {
        let hosts = match &named {
            Some(endpoint) => vec![RunningHost::of(endpoint.clone())?],
            None => RunningHost::all()?,
        };
        let shown = |host: RunningHost| if args.json { host.body } else { tables::text(&host.status) };
        let shown: Vec<_> = hosts.into_iter().map(shown).collect();
        Ok(shown.join(if args.json { "\n" } else { "\n\n" }))
    };
    if !args.watch {
        writeln!(out, "{}", look()?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let stop = Stop::listen(None)?;
    while !stop.is_asked() {
        // An unreachable endpoint may be reachable again a second later.
        let shown = look().unwrap_or_else(|error| format!("{error:#}"));
        if io::stdout().is_terminal() && !args.json {
            // Moves to the upper left corner, and clears everything below.
            write!(out, "\x1b[H\x1b[J")?;
        }
        writeln!(out, "{shown}")?;
        stop.wait(EVERY);
    }
    Ok(ExitCode::SUCCESS)
}

/// The interval at which ingesters' rates change.
const EVERY: Duration = Duration::from_secs(1);
