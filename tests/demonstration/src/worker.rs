//! A worker of the demonstration: receives events like a dranspose worker, and checks every byte.
//!
//! Runs on its own thread and owns one DEALER socket. It only reports to the [`Tally`].

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use framegate_stins_detector as simulate;
use serde::Deserialize;
use uuid::Uuid;

use crate::tally::Tally;

/// The header of a message, as far as needed here.
#[derive(Debug, Deserialize)]
struct Header {
    event_number: u64,
    streams: std::collections::BTreeMap<String, StreamHeader>,
}

#[derive(Debug, Deserialize)]
struct StreamHeader {
    length: usize,
}

/// The first part of a STINS message, as far as needed here.
#[derive(Debug, Deserialize)]
#[serde(tag = "htype", rename_all = "snake_case")]
enum Stins {
    Header { filename: String },
    Image { frame: u32, shape: Vec<usize> },
    SeriesEnd,
}

/// Receives events until the program ends.
pub(crate) fn work(index: usize, url: &str, tally: &Tally) -> anyhow::Result<()> {
    let context = zmq::Context::new();
    let socket = context.socket(zmq::DEALER)?;
    socket.set_identity(format!("worker{}", index + 1).as_bytes())?;
    socket.set_linger(0)?;
    socket.connect(url).with_context(|| format!("cannot connect to {url}"))?;
    let service = Uuid::new_v4();
    let mut ping_at = Instant::now();
    let mut scan = 0;
    loop {
        if Instant::now() >= ping_at {
            // A worker that does not ping for four seconds is considered gone.
            socket.send(&service.as_bytes()[..], 0)?;
            ping_at = Instant::now() + Duration::from_secs(1);
        }
        if socket.poll(zmq::POLLIN, 100)? > 0 {
            let parts = socket.recv_multipart(0)?;
            if let Err(wrong) = take(index, &parts, &mut scan, tally) {
                tally.wrong(format!("worker{}: {wrong:#}", index + 1));
            }
        }
    }
}

/// Compares one message with what the detector has sent.
fn take(index: usize, parts: &[Vec<u8>], scan: &mut u32, tally: &Tally) -> anyhow::Result<()> {
    let [header, frames @ ..] = parts else { bail!("a message without parts") };
    let header: Header = serde_json::from_slice(header).context("a header that is none")?;
    let length = header.streams.get(crate::STREAM).context("a message without the stream")?.length;
    let number = header.event_number;
    if length != frames.len() || frames.is_empty() {
        bail!("event {number}: the header names {length} frames, {} came", frames.len());
    }
    match (serde_json::from_slice(&frames[0]).context("not what a detector sends")?, &frames[1..]) {
        (Stins::Header { filename }, []) => {
            *scan = scan_of(&filename).with_context(|| format!("event {number}: an unknown file {filename}"))?;
            expect(number, 0)?;
            tally.started(*scan, index);
        }
        (Stins::Image { frame, shape }, [image]) => {
            expect(number, u64::from(frame) + 1)?;
            let bytes = shape.iter().product();
            if *image != simulate::image(*scan, frame, bytes) {
                bail!("event {number} of scan {}: the image differs from the one that was sent", *scan + 1);
            }
            tally.image(*scan, index, frame);
        }
        (Stins::SeriesEnd, []) => tally.ended(*scan, index),
        (message, more) => bail!("event {number}: {message:?} with {} parts more", more.len()),
    }
    Ok(())
}

fn expect(number: u64, expected: u64) -> anyhow::Result<()> {
    if number != expected {
        bail!("event number {number} came with what was sent as number {expected}");
    }
    Ok(())
}

/// `/data/simulated_0.h5` is scan 0.
fn scan_of(filename: &str) -> Option<u32> {
    filename.strip_prefix("/data/simulated_")?.strip_suffix(".h5")?.parse().ok()
}
