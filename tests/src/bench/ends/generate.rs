//! Detectors on plain TCP, each with a thread. A thread waits only for the network and, at a fixed rate, for the clock.

use std::{
    io::{BufRead as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
};

use anyhow::Context as _;

use super::{
    Load, SERIES_END, START, Said,
    block::{Block, FILLING, SIZE},
    due_ns, now_ns, say, sleep_until, zmtp,
};

/// Reports that it is ready, waits for a line, sends everything, and stays: its usage must still be read.
pub(crate) fn run(load: &Load) -> anyhow::Result<()> {
    let bind = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).context("a detector's port is taken");
    let listeners = load.ports.iter().map(bind).collect::<Result<Vec<_>, _>>()?;
    say(&Said::Ready)?;
    wait_for_go()?;
    let start = now_ns() + HEAD_START;
    thread::scope(|scope| {
        let detect = |listener: TcpListener| scope.spawn(move || detect(load, &listener, start));
        let all: Vec<_> = listeners.into_iter().map(detect).collect();
        all.into_iter().try_for_each(|one| one.join().ok().context("a detector has panicked")?)
    })?;
    loop {
        thread::park();
    }
}

pub(crate) fn wait_for_go() -> anyhow::Result<()> {
    std::io::stdin().lock().read_line(&mut String::new()).context("nobody says go")?;
    Ok(())
}

fn detect(load: &Load, listener: &TcpListener, start: u64) -> anyhow::Result<()> {
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    zmtp::shake_hands(&mut stream, "PUSH", "")?;
    if load.rate.is_some() {
        sleep_until(start);
    }
    stream.write_all(&zmtp::message(START.as_bytes()))?;
    match load.rate {
        None => flood(load, &mut stream)?,
        Some(rate) => pace(load, rate, &mut stream, start)?,
    }
    stream.write_all(&zmtp::message(SERIES_END.as_bytes()))?;
    // Closing the connection would discard unread bytes.
    loop {
        thread::park();
    }
}

fn flood(load: &Load, stream: &mut TcpStream) -> anyhow::Result<()> {
    let mut block = Block::new(load.payload, load.parts, usize::MAX);
    let filling = vec![FILLING; SIZE];
    let mut sent = 0;
    while sent < load.events {
        let images = block.images().min(usize::try_from(load.events - sent)?);
        stream.write_all(block.numbered(sent, images))?;
        fill(stream, &filling, block.filling)?;
        sent += images as u64;
    }
    Ok(())
}

fn pace(load: &Load, rate: f64, stream: &mut TcpStream, start: u64) -> anyhow::Result<()> {
    let mut block = Block::new(load.payload, load.parts, 1);
    let filling = vec![FILLING; SIZE];
    for image in 0..load.events {
        let due = start + due_ns(image, rate);
        sleep_until(due);
        block.stamp(due);
        stream.write_all(block.numbered(image, 1))?;
        fill(stream, &filling, block.filling)?;
    }
    Ok(())
}

fn fill(stream: &mut TcpStream, filling: &[u8], mut left: usize) -> anyhow::Result<()> {
    while left > 0 {
        let now = left.min(filling.len());
        stream.write_all(&filling[..now])?;
        left -= now;
    }
    Ok(())
}

/// Time from the line to the first image at a fixed rate: enough for the handshake.
pub(crate) const HEAD_START: u64 = 200_000_000;
