//! `framegate listen URL`: a worker that shows what arrives.
//!
//! Runs on the main thread; owns one DEALER socket. To the ingester it is a worker like any other, so in standalone
//! mode it gets its share of the events. It keeps none of the data.
//!
//! Neighbour: [`tally`] counts and formats.

mod tally;

use std::{
    io::{self, IsTerminal, Write},
    net::ToSocketAddrs as _,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use framegate::names::WorkerName;
use framegate_plugin_api::Address;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use uuid::Uuid;

use super::{out, signals::Stop};
use tally::Tally;

/// Show what an ingester sends, as a worker of it.
///
/// Connects to URL as a worker and shows events, rates, and gaps in event numbers; the closing table has a row for each
/// stream. Without a controller (standalone) it takes its share of the events, as every worker does: beside other workers,
/// gaps are normal then. With a controller it gets only what is assigned to its name. Ends on ctrl-c.
///
/// Exit status: 0, also when events were missing; 1 when it could not connect or a message could not be understood.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// The ingester's URL, for example tcp://localhost:10000
    #[arg(value_parser = to_connect)]
    url: Address,
    /// Name of the worker; default: listen- and a random number
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Option<WorkerName>,
    /// Print a line of JSON for each event, and one for the sums at the end, instead of progress and table
    #[arg(long)]
    json: bool,
    /// End after this many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

/// Listens until it is interrupted or has enough.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let stop = Stop::listen(None)?;
    let tally = listen(&args, &|| stop.is_asked(), &mut io::stdout().lock())?;
    Ok(if tally.malformed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn listen(args: &Args, stop: &dyn Fn() -> bool, out: &mut dyn Write) -> anyhow::Result<Tally> {
    let service = Uuid::new_v4();
    let name = match &args.name {
        Some(name) => name.to_string(),
        None => format!("listen-{}", &service.simple().to_string()[..8]),
    };
    // libzmq would retry silently for ever.
    let (url, host) = (&args.url, args.url.host());
    let found = (host, url.port()).to_socket_addrs();
    let found =
        found.with_context(|| format!("cannot connect to {url}: this machine does not know the host {host}"))?;
    let context = zmq::Context::new();
    let socket = context.socket(zmq::DEALER)?;
    socket.set_identity(name.as_bytes())?;
    socket.set_linger(0)?;
    socket.set_rcvhwm(RECEIVE_QUEUE)?;
    socket.set_ipv6(found.into_iter().all(|address| address.is_ipv6()))?;
    socket.connect(&url.to_string()).with_context(|| format!("cannot connect to {url}"))?;

    let bar = progress_bar(args);
    bar.set_message(format!("worker {name} at {}: no event yet", args.url));
    let mut tally = Tally::default();
    let mut pinged: Option<Instant> = None;
    while !stop() && args.count.is_none_or(|count| tally.events < count) {
        if pinged.is_none_or(|at| at.elapsed() >= PING_EVERY) {
            // Without waiting: while there is no connection the socket has no room, and the next ping will do.
            match socket.send(&service.as_bytes()[..], zmq::DONTWAIT) {
                Ok(()) | Err(zmq::Error::EAGAIN) => pinged = Some(Instant::now()),
                Err(error) => return Err(error).context("cannot ping"),
            }
            bar.set_message(tally.line());
        }
        match socket.poll(zmq::POLLIN, POLL_MS) {
            Ok(0) | Err(zmq::Error::EINTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(error).context("cannot wait for messages"),
        }
        let parts = receive(&socket)?;
        match tally.take(&parts) {
            Ok(header) if args.json => {
                let line = json!({ "event_number": header.event_number, "streams": header.streams,
                    "created_at": header.created_at, "bytes": parts.iter().skip(1).map(|part| part.len()).sum::<usize>() });
                writeln!(out, "{line}")?;
            }
            Ok(_) => {}
            // The first one is shown, the others are only counted.
            Err(why) if tally.malformed == 1 => bar.suspend(|| out::note(format_args!("not an event message: {why}"))),
            Err(_) => {}
        }
        if tally.redraw() {
            bar.set_message(tally.line());
        }
    }
    bar.finish_and_clear();
    if args.json {
        writeln!(out, "{}", tally.json())?
    } else {
        writeln!(out, "{}", tally.table())?
    }
    Ok(tally)
}

fn receive(socket: &zmq::Socket) -> anyhow::Result<Vec<zmq::Message>> {
    let mut parts = Vec::with_capacity(4);
    loop {
        let mut part = zmq::Message::new();
        socket.recv(&mut part, 0).context("cannot receive")?;
        let more = part.get_more();
        parts.push(part);
        if !more {
            return Ok(parts);
        }
    }
}

fn to_connect(text: &str) -> Result<Address, String> {
    let address = Address::tcp(text)?;
    address.to_connect().map(|()| address)
}

fn name(text: &str) -> Result<WorkerName, String> {
    WorkerName::from_identity(text.as_bytes()).map_err(|error| error.to_string())
}

/// A line that is redrawn on a terminal; nothing elsewhere.
fn progress_bar(args: &Args) -> ProgressBar {
    if args.json || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {elapsed_precise}  {msg}").expect("the template is constant");
    let bar = ProgressBar::new_spinner().with_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// The same interval as dranspose's workers; an ingester forgets a worker after four seconds.
const PING_EVERY: Duration = Duration::from_secs(2);

/// Maximum delay before ctrl-c is noticed.
const POLL_MS: i64 = 100;

/// Number of messages that wait in the socket: few, because they may be large.
const RECEIVE_QUEUE: i32 = 16;

#[cfg(test)]
mod tests;
