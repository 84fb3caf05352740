//! `framegate replay FILE`: plays a capture as a detector.
//!
//! Runs on the main thread; owns one bound socket. It reads one item at a time, so a capture may be larger than memory.
//! It knows no protocol: it sends the file's content.
//!
//! Neighbours: `capture::read` knows the files.

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use bytesize::ByteSize;
use framegate::capture::{Capture, Item};
use framegate_plugin_api::Address;
use indicatif::{ProgressBar, ProgressStyle};

use super::out;

/// Play a capture as a detector.
///
/// Binds a socket as a detector does and sends what FILE holds: the frames of a stream, if it was written by framegate or
/// dranspose, or the messages of a detector, if each item is the list of a message's parts. Compressed files (.gz) are
/// read too. Then point a source at it, for example: upstream_url = "tcp://localhost:9999".
///
/// Exit status: 0 when everything was sent, 1 when the file or the socket failed.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// The capture: .cbors, .cbor, or either with .gz
    file: PathBuf,
    /// Address to bind: tcp://HOST:PORT, where HOST is an address of this machine or *, or ipc://PATH
    #[arg(long, value_name = "URL", default_value = "tcp://*:9999", value_parser = to_bind)]
    bind: String,
    /// Kind of socket: what the detector has that is played
    #[arg(long, value_enum, default_value_t = Kind::Push)]
    socket: Kind,
    /// Messages a second; without it as fast as they are taken
    #[arg(long, value_name = "HZ", value_parser = rate)]
    rate: Option<f64>,
    /// Play the file this many times
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    repeat: u64,
    /// Play the file again and again, until interrupted
    #[arg(long = "loop", conflicts_with = "repeat")]
    forever: bool,
    /// The stream to play, from a capture that has several
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// With --socket pub: how long to wait for a subscriber before the first message; 0s: do not wait. Default: until
    /// one comes. (A push socket always waits for its peer.)
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    wait: Option<Duration>,
}

/// The kind of socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// Each message goes to one peer, none is lost
    Push,
    /// Each message goes to every subscriber, and is lost without one
    Pub,
}

/// Counts of sent data.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Played {
    messages: u64,
    bytes: u64,
}

/// Plays the file.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    // Fails before a peer is kept waiting.
    Capture::open(&args.file)?;
    let context = zmq::Context::new();
    let socket = bind(&context, &args)?;
    let bar = progress_bar(&args);
    if args.socket == Kind::Push {
        bar.set_message("waiting for a peer");
    }
    let started = Instant::now();
    let played = play(&args, &socket, &bar)?;
    let took = started.elapsed();
    bar.finish_and_clear();
    drop(socket);
    // Returns when the last message was handed to the network, or after the linger time.
    drop(context);
    out::note(format_args!(
        "replayed {} messages, {} in {:.1} s: {:.0} messages/s",
        played.messages,
        ByteSize(played.bytes),
        took.as_secs_f64(),
        played.messages as f64 / took.as_secs_f64().max(1e-9)
    ));
    Ok(ExitCode::SUCCESS)
}

fn bind(context: &zmq::Context, args: &Args) -> anyhow::Result<zmq::Socket> {
    // XPUB is PUB that also reports subscriptions.
    let kind = if args.socket == Kind::Push { zmq::PUSH } else { zmq::XPUB };
    let socket = context.socket(kind)?;
    socket.set_linger(LINGER_MS)?;
    socket.set_sndhwm(SEND_QUEUE)?;
    socket.set_ipv6(args.bind.starts_with("tcp://["))?;
    socket.bind(&args.bind).with_context(|| format!("cannot bind {}", args.bind))?;
    Ok(socket)
}

fn play(args: &Args, socket: &zmq::Socket, bar: &ProgressBar) -> anyhow::Result<Played> {
    if args.socket == Kind::Pub {
        wait_for_subscriber(socket, args.wait)?;
    }
    let mut played = Played::default();
    let mut choice = Choice { wanted: args.stream.clone(), seen: Vec::new() };
    let begin = Instant::now();
    let mut rounds = 0;
    while args.forever || rounds < args.repeat {
        let before = played.messages;
        let mut capture = Capture::open(&args.file)?;
        while let Some(item) = capture.next() {
            let Some(parts) = choice.parts(item?, &args.file)? else { continue };
            if let Some(rate) = args.rate {
                pace(begin + Duration::from_secs_f64(played.messages as f64 / rate));
            }
            let bytes = parts.iter().map(Vec::len).sum::<usize>() as u64;
            socket.send_multipart(parts, 0).context("cannot send")?;
            played.messages += 1;
            played.bytes += bytes;
            bar.set_position(capture.consumed());
            bar.set_message(format!("{} messages, {}", played.messages, ByteSize(played.bytes)));
            if args.socket == Kind::Pub {
                take_subscriptions(socket)?;
            }
        }
        if played.messages == before {
            bail!(choice.nothing(&args.file));
        }
        rounds += 1;
    }
    Ok(played)
}

/// The stream of a dump to play.
#[derive(Debug)]
struct Choice {
    /// The requested stream, or the only one.
    wanted: Option<String>,
    /// All streams of the file so far, for messages.
    seen: Vec<String>,
}

impl Choice {
    /// The message of an item; `None` if the item has nothing of the stream.
    fn parts(&mut self, item: Item, file: &Path) -> anyhow::Result<Option<Vec<Vec<u8>>>> {
        let event = match item {
            Item::Message(parts) => return Ok(Some(parts)),
            Item::Event(event) => event,
        };
        for stream in &event.streams {
            if !self.seen.contains(&stream.name) && self.seen.len() < STREAMS_SHOWN {
                self.seen.push(stream.name.clone());
            }
        }
        if self.wanted.is_none() {
            match &event.streams[..] {
                [] => return Ok(None),
                [only] => self.wanted = Some(only.name.clone()),
                _ => {
                    bail!("{} has several streams: choose one with --stream: {}", file.display(), self.seen.join(", "))
                }
            }
        }
        let wanted = |name: &str| self.wanted.as_deref() == Some(name);
        let frames = event.streams.into_iter().find(|stream| wanted(&stream.name)).map(|stream| stream.frames);
        // ZeroMQ has no message without parts; an event without frames cannot be played.
        Ok(frames.filter(|frames| !frames.is_empty()))
    }

    fn nothing(&self, file: &Path) -> String {
        match &self.wanted {
            Some(wanted) if !self.seen.is_empty() => {
                format!("{} has nothing to play of stream {wanted:?}; it has: {}", file.display(), self.seen.join(", "))
            }
            _ => format!("{} has nothing to play", file.display()),
        }
    }
}

/// Waits for the first subscription.
fn wait_for_subscriber(socket: &zmq::Socket, wait: Option<Duration>) -> anyhow::Result<()> {
    if wait.is_some_and(|wait| wait.is_zero()) {
        return Ok(());
    }
    let millis = wait.map_or(-1, |wait| i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
    if socket.poll(zmq::POLLIN, millis)? == 0 {
        bail!("nobody has subscribed within {}", humantime::format_duration(wait.unwrap_or_default()));
    }
    take_subscriptions(socket)
}

/// Reads the messages of subscribers, so that they do not pile up.
fn take_subscriptions(socket: &zmq::Socket) -> anyhow::Result<()> {
    loop {
        match socket.recv_multipart(zmq::DONTWAIT) {
            Ok(_) => {}
            Err(zmq::Error::EAGAIN) => return Ok(()),
            Err(error) => return Err(error).context("cannot receive subscriptions"),
        }
    }
}

fn pace(until: Instant) {
    std::thread::sleep(until.saturating_duration_since(Instant::now()));
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && (1e-6..=1e9).contains(&rate) => Ok(rate),
        _ => Err("a number of messages a second above 0".into()),
    }
}

/// Checks an address like sources do; here the port may also be `*`, any free one.
fn to_bind(text: &str) -> Result<String, String> {
    if text.strip_prefix("ipc://").is_some_and(|path| !path.is_empty()) {
        return Ok(text.to_owned());
    }
    let (checked, any) = match text.strip_suffix(":*") {
        Some(host) => (format!("{host}:1"), true),
        None => (text.to_owned(), false),
    };
    let address = Address::tcp(&checked)?;
    address.to_bind()?;
    Ok(if any { text.to_owned() } else { address.to_string() })
}

/// A progress bar on a terminal; nothing elsewhere.
fn progress_bar(args: &Args) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    if args.forever {
        // There is no end that a bar could show.
        let style =
            ProgressStyle::with_template("{spinner} {elapsed_precise}  {msg}").expect("the template is constant");
        return ProgressBar::new_spinner().with_style(style);
    }
    let len = std::fs::metadata(&args.file).map_or(0, |file| file.len());
    let style = ProgressStyle::with_template("{wide_bar} {percent:>3} %  {msg}").expect("the template is constant");
    ProgressBar::new(len).with_style(style)
}

/// How long the last messages may wait for a slow peer.
const LINGER_MS: i32 = 10_000;

/// Number of messages that wait in the socket: few, because they may be large.
const SEND_QUEUE: i32 = 100;

/// Maximum number of stream names that are kept for messages.
const STREAMS_SHOWN: usize = 32;

#[cfg(test)]
mod tests;
