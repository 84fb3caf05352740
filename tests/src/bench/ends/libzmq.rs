//! Detectors and workers on libzmq, as at a beamline. They need much of a small machine's CPU.

use std::{
    sync::{Mutex, PoisonError},
    thread,
    time::Instant,
};

use anyhow::Context as _;
use uuid::Uuid;

use super::{
    Load, PING, SERIES_END, START, Said, Work,
    block::{FILLING, WIDTH, image, write_stamp},
    due_ns,
    generate::{HEAD_START, wait_for_go},
    name, now_ns,
    record::Record,
    say, sleep_until, zmtp,
};

/// Like the detectors on TCP.
pub(crate) fn generate(load: &Load) -> anyhow::Result<()> {
    let context = zmq::Context::new();
    let mut sockets = Vec::new();
    for port in &load.ports {
        let push = context.socket(zmq::PUSH)?;
        // About 64 MiB, so that large images do not fill the machine's memory.
        push.set_sndhwm(i32::try_from((64 << 20) / (load.payload * load.parts + 1024))?.clamp(4, 10_000))?;
        push.bind(&format!("tcp://127.0.0.1:{port}"))?;
        sockets.push(push);
    }
    say(&Said::Ready)?;
    wait_for_go()?;
    let start = now_ns() + HEAD_START;
    thread::scope(|scope| {
        let all: Vec<_> = sockets.into_iter().map(|push| scope.spawn(move || detect(load, &push, start))).collect();
        all.into_iter().try_for_each(|one| one.join().ok().context("a detector has panicked")?)
    })
}

fn detect(load: &Load, push: &zmq::Socket, start: u64) -> anyhow::Result<()> {
    let (text, [frame, number]) = image(if load.parts == 1 { load.payload } else { 0 });
    let mut last = if load.parts == 1 { Vec::new() } else { vec![FILLING; load.payload] };
    if load.rate.is_some() {
        sleep_until(start);
    }
    push.send(START, 0)?;
    for image in 0..load.events {
        let mut first = text.clone();
        for place in [frame, number] {
            first.replace_range(place..place + WIDTH, &format!("{image:>WIDTH$}"));
        }
        if let Some(rate) = load.rate {
            let due = start + due_ns(image, rate);
            sleep_until(due);
            write_stamp(&mut last, due);
        }
        push.send(&first, if load.parts > 1 { zmq::SNDMORE } else { 0 })?;
        for part in 1..load.parts {
            push.send(&last[..], if part + 1 < load.parts { zmq::SNDMORE } else { 0 })?;
        }
    }
    push.send(SERIES_END, 0)?;
    // Closing would wait until everything is sent; the run's end kills the process before.
    loop {
        thread::park();
    }
}

/// Like the workers on TCP, but with a thread and a socket for each connection.
pub(crate) fn receive(work: &Work) -> anyhow::Result<()> {
    let record = Mutex::new(Record::new(work));
    thread::scope(|scope| {
        for worker in 0..work.workers {
            let service = Uuid::new_v4();
            for port in &work.ports {
                let record = &record;
                scope.spawn(move || {
                    if let Err(error) = serve(work, worker, *port, service, record) {
                        eprintln!("{}: {error:#}", name(worker));
                    }
                });
            }
        }
        say(&Said::Ready)
    })
}

fn serve(work: &Work, worker: usize, port: u16, service: Uuid, record: &Mutex<Record>) -> anyhow::Result<()> {
    let dealer = zmq::Context::new().socket(zmq::DEALER)?;
    dealer.set_identity(name(worker).as_bytes())?;
    dealer.set_rcvtimeo(200)?;
    dealer.connect(&format!("tcp://127.0.0.1:{port}"))?;
    let is_last = worker == work.workers - 1;
    let record = || record.lock().unwrap_or_else(PoisonError::into_inner);
    let mut ping_at = Instant::now();
    let mut part = zmq::Message::new();
    for turn in 0u64.. {
        // Not for every message: at 64 bytes, reading the clock would distort the result.
        if turn % 64 == 0 && Instant::now() >= ping_at {
            dealer.send(&service.as_bytes()[..], 0)?;
            ping_at = Instant::now() + PING;
        }
        if is_last && work.stalls_after.is_some_and(|after| record().messages() >= after) {
            // Only keeps its connection.
            loop {
                thread::park();
            }
        }
        match dealer.recv(&mut part, 0) {
            Ok(()) => {}
            Err(zmq::Error::EAGAIN) => {
                // No message has arrived: an additional ping does no harm.
                dealer.send(&service.as_bytes()[..], 0)?;
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        while part.get_more() {
            dealer.recv(&mut part, 0)?;
        }
        if !(work.apart && is_last) {
            let mut record = record();
            record.message(zmtp::read_stamp(&part));
            record.tell()?;
        }
    }
    Ok(())
}
