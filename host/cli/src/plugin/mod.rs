//! `framegate plugin`: shows what is known about plugin files without running any of them (`list`, `info`), and tests
//! them (`check`).
//!
//! Runs on the main thread. The process that a person starts runs no code of a plugin: checks run in a child.

mod check;
mod found;

use std::process::ExitCode;

use framegate::{
    plugin::{Trust, probe, serve},
    settings::layers::{self, Environment},
};

/// List plugins, describe them, and check whether they keep the rules.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    List(found::ListArgs),
    Info(found::InfoArgs),
    Check(check::Args),
    Serve(ServeArgs),
    /// Runs code of a plugin for another framegate, which says which on standard input
    #[command(hide = true)]
    Child(ChildArgs),
}

/// Run a source for another framegate, at standard input (`isolate`)
#[derive(Debug, clap::Args)]
#[command(hide = true)]
struct ServeArgs {
    /// The plugin's file
    #[arg(value_name = "FILE#sha256:HASH", required_unless_present = "command", conflicts_with = "command")]
    plugin: Option<String>,
    /// A program that is the source, and its arguments
    #[arg(value_name = "COMMAND", last = true)]
    command: Vec<String>,
    /// Most bytes of memory of its own
    #[arg(long, value_name = "BYTES", default_value_t = 8 << 30)]
    data_limit: u64,
}

#[derive(Debug, clap::Args)]
struct ChildArgs {
    role: String,
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let allow_writable = layers::allow_writable_plugins(&Environment::new(std::env::vars_os()))?;
    let trust = Trust { allow_writable, ..Trust::default() };
    match &args.command {
        Command::List(args) => found::run_list(args, trust),
        Command::Info(args) => found::run_info(args, trust),
        Command::Check(args) => check::run(args, trust),
        Command::Serve(ServeArgs { plugin, command, data_limit }) => match plugin {
            Some(plugin) => Ok(serve::plugin(plugin, *data_limit).map(|()| ExitCode::SUCCESS)?),
            None => match serve::program(command, *data_limit)? {},
        },
        Command::Child(args) => match args.role.as_str() {
            check::ROLE => check::child().map(|()| ExitCode::SUCCESS),
            probe::ROLE => Ok(probe::child().map(|()| ExitCode::SUCCESS)?),
            role => anyhow::bail!("there is no role {role:?}: this sub-command is for framegate itself"),
        },
    }
}
