//! `framegate ingester` and `framegate http_ingester`: replace dranspose's commands, with the same flags and variables.
//!
//! The flags are those of dranspose 0.2.0 (`cli.py`), including abbreviations of long ones, which its argparse allows.

use std::process::ExitCode;

use framegate::settings::{
    dranspose::{self, Feed},
    layers::{Environment, drop_in},
};

use super::{run::serve, variables};

/// One ingester, with the command line of `dranspose ingester`.
///
/// Connects to a detector and forwards its events to dranspose's workers, as a dranspose controller says through Redis.
/// Runs until SIGTERM or SIGINT (ctrl-c). SIGHUP changes nothing.
#[derive(Debug, clap::Args)]
#[command(infer_long_args = true, after_help = examples(Feed::Connects))]
pub(crate) struct Args {
    #[command(flatten)]
    stream: Stream,
    /// What speaks the detector's protocol: a class of dranspose (also module:Class), the name of a plugin, or a path to a
    /// plugin's file
    #[arg(short = 'c', long = "ingesterclass", value_name = "CLASS")]
    class: String,
    /// The detector's address, such as tcp://host:9999; else the variable UPSTREAM_URL
    #[arg(short = 'u', long = "upstream_url", alias = "upstream-url", value_name = "URL")]
    upstream_url: Option<String>,
}

/// One ingester that is fed over HTTP, with the command line of `dranspose http_ingester`.
///
/// Listens for HTTP requests and forwards their events to dranspose's workers, as a dranspose controller says through Redis.
/// Runs until SIGTERM or SIGINT (ctrl-c). SIGHUP changes nothing.
#[derive(Debug, clap::Args)]
#[command(infer_long_args = true, after_help = examples(Feed::Listens))]
pub(crate) struct HttpArgs {
    #[command(flatten)]
    stream: Stream,
    /// What speaks the protocol: an app of dranspose (module:app), the name of a plugin,
    /// or a path to a plugin's file
    #[arg(short = 'c', long = "ingesterapp", value_name = "APP")]
    class: String,
    /// The address to listen on [default: *, all of IPv4 and IPv6]
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// The port to listen on [default: 5000]
    #[arg(short, long, value_name = "PORT")]
    port: Option<u16>,
}

#[derive(Debug, clap::Args)]
struct Stream {
    /// Name of the stream; else the variable INGESTER_STREAMS
    #[arg(short, long, value_name = "STREAM")]
    name: Option<String>,
}

/// Examples and the classes of dranspose, each with its plugin.
fn examples(feed: Feed) -> String {
    let of_feed = dranspose::CLASSES.iter().filter(|class| class.feed == feed);
    let line = |class: &dranspose::Class| format!("\n  {:<38} plugin {}", class.spelled(), class.plugin);
    let classes: String = of_feed.clone().map(line).collect();
    let class = of_feed.map(dranspose::Class::spelled).next().unwrap_or_default();
    let examples = match feed {
        Feed::Connects => format!(
            "  framegate ingester -n camera -c {class} -u tcp://detector:9999\n  \
               framegate ingester -n camera -c ./libmine.so -u tcp://detector:9999"
        ),
        Feed::Listens => format!("  framegate http_ingester -n motors -c {class} -p 5001"),
    };
    let variables = variables::of_drop_in();
    format!(
        "Examples:\n{examples}\n\nClasses of dranspose:{classes}\n\n\
         Environment variables (in upper or lower case; options override them):{variables}"
    )
}

/// Runs `framegate ingester`.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let flags = [("--name", &args.stream.name), ("--upstream_url", &args.upstream_url)];
    start(Feed::Connects, &args.class, &flags)
}

/// Runs `framegate http_ingester`.
pub(crate) fn run_http(args: &HttpArgs) -> anyhow::Result<ExitCode> {
    let port = args.port.map(|port| port.to_string());
    let flags = [("--name", &args.stream.name), ("--host", &args.host), ("--port", &port)];
    start(Feed::Listens, &args.class, &flags)
}

fn start(feed: Feed, class: &str, flags: &[(&'static str, &Option<String>)]) -> anyhow::Result<ExitCode> {
    let flags = flags.iter().filter_map(|(flag, value)| Some((*flag, (*value).clone()?))).collect();
    serve(drop_in(&Environment::new(std::env::vars_os()), feed, class, &flags), None)
}
