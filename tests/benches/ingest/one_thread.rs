//! A relay like the one of libzmq, without libzmq: ZeroMQ's protocol by hand on both sides, in one thread.
//!
//! Whole messages go in turn to the connected workers, each with a header part. There are no checks, limits or
//! statistics, so its cost is the practical bound for a forwarder: it has the system calls and copies that the job
//! needs, and no other thread to wake.

use std::{
    io::{self, IoSlice, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    ops::Range,
};

use anyhow::{Context as _, ensure};
use framegate_tests::bench::ends::zmtp::{self, Extent};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::{relay::HEADER, roles::Forwarding};

/// Prints `ready` when its workers are connected, and forwards until an end goes.
pub(crate) fn run(plan: &Forwarding) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", plan.port))?;
    let workers = (0..plan.workers).map(|_| Ok(Worker::new(accept(&listener)?))).collect::<anyhow::Result<Vec<_>>>()?;
    let mut output = Output { workers, number: 0, broadcast: plan.broadcast, header: header()? };
    let mut inputs =
        plan.upstreams.iter().map(|upstream| Ok(Input::new(connect(upstream)?))).collect::<anyhow::Result<Vec<_>>>()?;
    println!("ready");
    // A detector answers only after the start.
    inputs.iter_mut().try_for_each(|input| zmtp::shake_hands(&mut input.stream, "PULL", ""))?;

    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let streams = inputs.iter().map(|input| &input.stream).chain(output.workers.iter().map(|worker| &worker.stream));
    for (index, stream) in streams.enumerate() {
        epoll.add(stream, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
    }
    let mut ready = [EpollEvent::empty(); 64];
    let mut ping = [0; 256];
    loop {
        let count = epoll.wait(&mut ready, EpollTimeout::NONE)?;
        for event in &ready[..count] {
            let index = usize::try_from(event.data())?;
            match inputs.get_mut(index) {
                Some(input) => input.forward(&mut output)?,
                None => {
                    let worker = &mut output.workers[index - inputs.len()];
                    ensure!(worker.stream.read(&mut ping)? > 0, "a worker has gone");
                }
            }
        }
    }
}

/// The next worker, after its handshake.
pub(crate) fn accept(listener: &TcpListener) -> anyhow::Result<TcpStream> {
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    zmtp::shake_hands(&mut stream, "ROUTER", "")?;
    Ok(stream)
}

/// A connection to a detector, before its handshake.
pub(crate) fn connect(upstream: &str) -> anyhow::Result<TcpStream> {
    let address = upstream.strip_prefix("tcp://").context("not an address for TCP")?;
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The header part in wire format.
fn header() -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    zmtp::head(&mut bytes, HEADER.len(), true);
    bytes.write_all(HEADER.as_bytes())?;
    Ok(bytes)
}

/// Memory that begins with a page, as the kernel's does when a message comes alone. On AMD Zen the kernel's copy takes twice
/// as long if the target begins up to some 30 bytes later in its page than the source, and memory from malloc begins 16
/// bytes behind a page (decision 0027).
pub(crate) struct Pages {
    bytes: Vec<u8>,
    start: usize,
}

impl Pages {
    pub(crate) fn new(length: usize) -> Self {
        let bytes = vec![0; length + PAGE];
        let start = bytes.as_ptr().align_offset(PAGE);
        Self { bytes, start }
    }

    pub(crate) fn get(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }
}

const PAGE: usize = 4096;

/// A detector's connection.
struct Input {
    stream: TcpStream,
    /// Holds at least the largest message.
    buffer: Pages,
    /// Bytes received, from the beginning of a message.
    filled: usize,
    /// Bytes that this message has, so far as known.
    needed: usize,
}

impl Input {
    fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: Pages::new(0), filled: 0, needed: 0 }
    }

    /// Reads once, and forwards each message that is whole.
    fn forward(&mut self, output: &mut Output) -> anyhow::Result<()> {
        // Only a little beyond a large message: its successor's beginning has to be moved.
        let room = BUFFER.max(self.needed + BEYOND);
        if self.buffer.get().len() < room {
            let mut larger = Pages::new(room);
            larger.get()[..self.filled].copy_from_slice(&self.buffer.get()[..self.filled]);
            self.buffer = larger;
        }
        let buffer = self.buffer.get();
        let count = self.stream.read(&mut buffer[self.filled..room])?;
        ensure!(count > 0, "a detector has gone");
        self.filled += count;
        let mut start = 0;
        loop {
            match zmtp::extent(&buffer[start..self.filled]) {
                Extent::Whole { bytes, is_single } => {
                    output.add(buffer, start..start + bytes, is_single);
                    start += bytes;
                }
                Extent::AtLeast(needed) => {
                    self.needed = needed;
                    break;
                }
            }
        }
        output.workers.iter_mut().try_for_each(|worker| worker.flush(buffer))?;
        buffer.copy_within(start..self.filled, 0);
        self.filled -= start;
        Ok(())
    }
}

/// The workers.
struct Output {
    workers: Vec<Worker>,
    /// Number of the next message.
    number: usize,
    broadcast: bool,
    header: Vec<u8>,
}

impl Output {
    /// Adds a message to what the next worker, or each one, is to get.
    fn add(&mut self, buffer: &[u8], message: Range<usize>, is_single: bool) {
        let next = self.number % self.workers.len();
        self.number += 1;
        // As with the relay of libzmq, the header and the end of a run are single parts, which every worker gets.
        let to = if self.broadcast || is_single { &mut self.workers[..] } else { &mut self.workers[next..=next] };
        for worker in to {
            worker.copied.extend_from_slice(&self.header);
            if message.len() < COPIED {
                worker.copied.extend_from_slice(&buffer[message.clone()]);
            } else {
                worker.large.push((worker.copied.len(), message.clone()));
            }
        }
    }
}

/// A worker's connection, with what it is to get.
struct Worker {
    stream: TcpStream,
    /// Headers and small messages.
    copied: Vec<u8>,
    /// Large messages, as ranges of the input's buffer; each follows so many bytes of `copied`.
    large: Vec<(usize, Range<usize>)>,
}

impl Worker {
    fn new(stream: TcpStream) -> Self {
        Self { stream, copied: Vec::new(), large: Vec::new() }
    }

    /// Sends everything, in as few calls as possible. Waits while the worker does not read.
    fn flush(&mut self, buffer: &[u8]) -> io::Result<()> {
        let mut slices = Vec::with_capacity(2 * self.large.len() + 1);
        let mut sent = 0;
        for (before, message) in &self.large {
            slices.push(IoSlice::new(&self.copied[sent..*before]));
            slices.push(IoSlice::new(&buffer[message.clone()]));
            sent = *before;
        }
        slices.push(IoSlice::new(&self.copied[sent..]));
        let mut slices = &mut slices[..];
        // Empty ones are left out.
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            let written = self.stream.write_vectored(slices)?;
            IoSlice::advance_slices(&mut slices, written);
        }
        self.copied.clear();
        self.large.clear();
        Ok(())
    }
}

/// Bytes to read at once: hundreds of small messages, and few enough for the cache.
const BUFFER: usize = 128 << 10;
/// Bytes to read beyond the end of a message that is larger than that.
const BEYOND: usize = 2 << 10;
/// Below this, a copy is cheaper than a piece of its own for the kernel.
const COPIED: usize = 2 << 10;
