//! A detector that sends a run as fast as the receiver takes it, with a limited window.

use std::{
    io::{BufRead as _, BufReader, BufWriter, ErrorKind, Write as _},
    net::{TcpListener, TcpStream},
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use framegate_tests::captures::Parts;

use crate::{
    rows::{Detector, Row, Traffic},
    worker::Got,
};

/// A detector before its receiver is there.
pub(crate) enum Bound {
    Zmq(zmq::Socket),
    Tcp(TcpListener),
    /// Sardana connects to its receiver.
    Http(u16),
}

/// Parameters and progress of a run.
pub(crate) struct Run<'a> {
    pub(crate) traffic: &'a Traffic,
    pub(crate) loops: u64,
    /// Messages that workers get per repetition; the next is the maximum in flight.
    pub(crate) outputs: u64,
    pub(crate) window: u64,
    /// Messages that the worker gets of the whole run.
    pub(crate) total: u64,
    /// What the worker has received.
    pub(crate) got: &'a Got,
}

impl Bound {
    pub(crate) fn new(row: &Row, port: u16) -> anyhow::Result<Self> {
        let kind = match row.detector {
            Detector::Tcp => return Ok(Self::Tcp(TcpListener::bind(("127.0.0.1", port))?)),
            Detector::Http => return Ok(Self::Http(port)),
            Detector::Push => zmq::PUSH,
            // XPUB sees the subscription, PUB does not.
            Detector::Publish => zmq::XPUB,
        };
        let socket = zmq::Context::new().socket(kind)?;
        // Unsent messages wait; the window limits them.
        socket.set_sndhwm(0)?;
        socket.set_linger(0)?;
        socket.set_rcvtimeo(LIMIT.as_millis() as i32)?;
        socket.set_sndtimeo(LIMIT.as_millis() as i32)?;
        socket.bind(&format!("tcp://127.0.0.1:{port}"))?;
        Ok(Self::Zmq(socket))
    }

    /// Sends one run as soon as its receiver is there.
    pub(crate) fn run(self, run: &Run<'_>) -> anyhow::Result<()> {
        match self {
            Self::Zmq(socket) => {
                if socket.get_socket_type()? == zmq::XPUB {
                    socket.recv_bytes(0).context("nobody subscribes")?;
                }
                run.send(|message| Ok(socket.send_multipart(message, 0)?))?;
                // Closing the socket drops what was not sent yet.
                run.wait_for(run.total)
            }
            Self::Tcp(listener) => {
                let mut stream = accept(&listener, run)?;
                BufReader::new(&stream).read_line(&mut String::new())?;
                stream.write_all(b"OK\n")?;
                let mut stream = BufWriter::new(stream);
                run.send(|message| Ok(message.iter().try_for_each(|part| stream.write_all(part))?))?;
                stream.flush()?;
                run.wait_for(run.total)
            }
            Self::Http(port) => post_all(run, port),
        }
    }
}

impl Run<'_> {
    fn send(&self, mut send: impl FnMut(&Parts) -> anyhow::Result<()>) -> anyhow::Result<()> {
        self.traffic.start.iter().try_for_each(&mut send)?;
        for number in 0..self.loops {
            self.wait_for((number * self.outputs).saturating_sub(self.window))?;
            self.traffic.repeated.iter().try_for_each(&mut send)?;
        }
        self.traffic.end.iter().try_for_each(&mut send)
    }

    /// Waits until the worker has `messages` messages.
    fn wait_for(&self, messages: u64) -> anyhow::Result<()> {
        while self.seen() < messages {
            self.pause()?;
        }
        Ok(())
    }

    fn seen(&self) -> u64 {
        // Relaxed: only the value matters.
        self.got.messages.load(Ordering::Relaxed)
    }

    fn pause(&self) -> anyhow::Result<()> {
        ensure!(!self.got.is_over.load(Ordering::Relaxed), "it was over before all was sent");
        thread::sleep(PAUSE);
        Ok(())
    }
}

fn accept(listener: &TcpListener, run: &Run<'_>) -> anyhow::Result<TcpStream> {
    listener.set_nonblocking(true)?;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => run.pause()?,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Several clients post the records at the same time, so that waiting for answers is not the bottleneck.
fn post_all(run: &Run<'_>, port: u16) -> anyhow::Result<()> {
    let post = |agent: &ureq::Agent, message: &Parts| {
        let path = String::from_utf8_lossy(&message[0]);
        let url = format!("http://127.0.0.1:{port}/v1/{path}");
        agent.post(url).content_type("application/json").send(&message[1]).map(|mut answer| {
            let _ = answer.body_mut().read_to_vec();
        })
    };
    let agent = ureq::Agent::new_with_defaults();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        run.pause()?;
    }
    // dranspose's ingester drops posts that arrive before its first assignment.
    while run.seen() == 0 {
        run.traffic.start.iter().try_for_each(|message| post(&agent, message))?;
        let posted = Instant::now();
        while run.seen() == 0 && posted.elapsed() < Duration::from_secs(1) {
            run.pause()?;
        }
    }
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                scope.spawn(move || {
                    let agent = ureq::Agent::new_with_defaults();
                    let own = (client..run.loops).step_by(CLIENTS as usize);
                    for _ in own {
                        run.traffic.repeated.iter().try_for_each(|message| post(&agent, message))?;
                    }
                    Ok::<(), ureq::Error>(())
                })
            })
            .collect();
        for client in clients {
            let posted = client.join();
            ensure!(posted.is_ok_and(|posted| posted.is_ok()), "a post was not taken");
        }
        Ok(())
    })?;
    Ok(run.traffic.end.iter().try_for_each(|message| post(&agent, message))?)
}

const CLIENTS: u64 = 4;
const PAUSE: Duration = Duration::from_micros(200);
const LIMIT: Duration = Duration::from_secs(60);
