//! The processes of a run that are made from this program: load, workers, the bare relay, and a host with a linked source.

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use framegate::{Linked, settings::Settings};
use framegate_stins::Stins;
use uuid::Uuid;

use crate::relay;

/// Plays the role that the arguments name.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["relay", upstream, port, workers, broadcast] => {
            relay::run(zmq::PULL, upstream, port, workers.parse()?, broadcast.parse()?)
        }
        ["workers", port, count, broadcast, events] => {
            let copies = if broadcast.parse()? { count.parse()? } else { 1 };
            work(port, count.parse()?, events.parse::<u64>()? * copies)
        }
        ["host", configuration] => host(configuration),
        ["load", upstream, payload, events] => load(upstream, payload.parse()?, events.parse()?),
        _ => bail!("unknown role {args:?}"),
    }
}

/// A program that embeds a host, as the command does, and has the STINS source linked in.
fn host(configuration: &str) -> anyhow::Result<()> {
    framegate::allocator::keep_large_buffers();
    let settings = Settings::from_toml(&fs::read_to_string(configuration)?)?;
    let _host = framegate::Host::start(settings, Linked::none().with::<Stins>(LINKED))?;
    // Ends when the run's measuring is over.
    loop {
        thread::park();
    }
}

/// What the source that is linked in is called in the configuration.
pub(crate) const LINKED: &str = "linked-stins";

/// A detector that sends one run as fast as it is taken.
fn load(upstream: &str, payload: usize, events: u64) -> anyhow::Result<()> {
    let context = zmq::Context::new();
    let push = context.socket(zmq::PUSH)?;
    // About 64 MiB, so that large images do not fill the machine.
    push.set_sndhwm(i32::try_from((64 << 20) / (payload + 1024))?.clamp(4, 10_000))?;
    push.bind(upstream)?;
    let image = vec![7; payload];
    push.send(r#"{"htype":"header","filename":"bench","msg_number":0}"#, 0)?;
    for frame in 0..events {
        let header = format!(
            r#"{{"htype":"image","frame":{frame},"shape":[{payload}],"type":"uint8","compression":"none","msg_number":{}}}"#,
            frame + 1
        );
        push.send(&header, zmq::SNDMORE)?;
        push.send(&image, 0)?;
    }
    push.send(&format!(r#"{{"htype":"series_end","msg_number":{}}}"#, events + 1), 0)?;
    // The end of the process waits until all is sent; the run's end kills it before.
    drop(push);
    drop(context);
    Ok(())
}

/// All workers of a run. Says `ready`, and then the seconds between the first and the last of the images.
fn work(port: &str, count: usize, images: u64) -> anyhow::Result<()> {
    let seen = Arc::new(AtomicU64::new(0));
    let first = Arc::new(Mutex::new(None));
    for index in 0..count {
        let (seen, first, url) = (seen.clone(), first.clone(), format!("tcp://127.0.0.1:{port}"));
        thread::spawn(move || {
            if let Err(error) = worker(index, &url, images, &seen, &first) {
                eprintln!("worker {index}: {error:#}");
            }
        });
    }
    println!("ready");
    // Ends when the run's measuring is over.
    loop {
        thread::park();
    }
}

fn worker(
    index: usize,
    url: &str,
    images: u64,
    seen: &AtomicU64,
    first: &Mutex<Option<Instant>>,
) -> anyhow::Result<()> {
    let context = zmq::Context::new();
    let dealer = context.socket(zmq::DEALER)?;
    dealer.set_identity(format!("worker{index}").as_bytes())?;
    dealer.set_rcvtimeo(200)?;
    dealer.connect(url)?;
    let service = Uuid::new_v4();
    let mut ping_at = Instant::now();
    let mut part = zmq::Message::new();
    for turn in 0u64.. {
        // Not at every message: asking for the time would count at 64 bytes.
        if turn % 64 == 0 && Instant::now() >= ping_at {
            dealer.send(&service.as_bytes()[..], 0)?;
            ping_at = Instant::now() + Duration::from_secs(1);
        }
        let mut parts = 0;
        loop {
            match dealer.recv(&mut part, 0) {
                Ok(()) => parts += 1,
                Err(zmq::Error::EAGAIN) => break,
                Err(error) => return Err(error.into()),
            }
            if !part.get_more() {
                break;
            }
        }
        // Header, image header and image: the run's own header and end have fewer.
        if parts == 3 {
            let number = seen.fetch_add(1, Ordering::Relaxed) + 1;
            if number == 1 {
                *first.lock().expect("no holder panics") = Some(Instant::now());
            }
            if number == images {
                let began = first.lock().expect("no holder panics").context("there was a first one")?;
                println!("{}", began.elapsed().as_secs_f64());
            }
        }
    }
    Ok(())
}
