//! The command `framegate`: its command line, and the process's exit status.
//!
//! Uses the library of the same name as every other program does. Runs on the main thread. Each subcommand is a file with its arguments and a `run`; nothing else of the program reads
//! arguments or the environment.
#![forbid(unsafe_code)]

mod endpoint;
mod ingester;
mod listen;
mod logs;
mod machine;
mod out;
mod plugin;
mod reload;
mod replay;
mod run;
mod signals;
mod status;
mod swap;
mod variables;
mod words;

use std::{fmt::Display, process::ExitCode};

use clap::{Parser, Subcommand};
use framegate::settings::SettingsError;

/// Forwards detector data to the dranspose workers that compute on it.
#[derive(Debug, Parser)]
#[command(name = "framegate", version, after_help = AFTER_HELP, max_term_width = 100)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Ingester(ingester::Args),
    #[command(name = "http_ingester")]
    HttpIngester(ingester::HttpArgs),
    Plugin(plugin::Args),
    Listen(listen::Args),
    Status(status::Args),
    Swap(swap::Args),
    Replay(replay::Args),
}

const AFTER_HELP: &str = "\
Exit status: 0 success, also after SIGTERM or SIGINT; 1 failure at run time, such as a port that is in use; 2 wrong \
command line or settings; 3 a plugin was refused.

Log lines and errors go to stderr, results to stdout. Colours are used on a terminal only, and never if the variable \
NO_COLOR is set.";

fn main() -> ExitCode {
    framegate::allocator::keep_large_buffers();
    let done = match Args::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Ingester(args) => ingester::run(&args),
        Command::HttpIngester(args) => ingester::run_http(&args),
        Command::Plugin(args) => plugin::run(&args),
        Command::Listen(args) => listen::run(args),
        Command::Status(args) => status::run(&args),
        Command::Swap(args) => swap::run(&args),
        Command::Replay(args) => replay::run(args),
    };
    match done {
        Ok(status) => status,
        Err(error) if out::is_closed(&error) => ExitCode::SUCCESS,
        Err(error) => match error.downcast_ref::<SettingsError>() {
            // Variables that commands without a configuration read.
            Some(wrong) => fail(wrong.problems(), WRONG_SETTINGS),
            None => fail(&[format!("{error:#}")], FAILURE),
        },
    }
}

/// A failure at run time: a port in use, a file that cannot be read, …
const FAILURE: u8 = 1;
/// The command line or the settings are wrong. Clap uses the same code.
const WRONG_SETTINGS: u8 = 2;
/// A plugin was refused, or not found.
const REFUSED: u8 = 3;

/// Prints the problems, with hidden characters escaped.
fn fail(problems: &[impl Display], status: u8) -> ExitCode {
    for problem in problems {
        out::note(format_args!("framegate: {problem}"));
    }
    if problems.len() > 1 {
        out::note(format_args!("framegate: {} problems", problems.len()));
    }
    status.into()
}
