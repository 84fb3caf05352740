//! A worker: receives events from an ingester as dranspose's workers do.
//!
//! A thread owns the DEALER socket, pings, and passes received messages on. A test may make it stop reading or pinging.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::Value;
use uuid::Uuid;

use crate::process::Watch;

/// Time limit for a message.
pub const LIMIT: Duration = Duration::from_secs(60);

/// See the module. Dropping it closes the connection.
#[derive(Debug)]
pub struct Worker {
    name: String,
    service_uuid: Uuid,
    switches: Arc<Switches>,
    messages: Receiver<Message>,
    thread: Option<JoinHandle<()>>,
    host: Option<Watch>,
}

/// A message for one event.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The header as received.
    pub header: Vec<u8>,
    /// The frames of all streams, in the header's order.
    pub frames: Vec<Vec<u8>>,
}

/// How a worker reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    AtOnce,
    NotYet,
    Every(Duration),
}

#[derive(Debug)]
struct Switches {
    alive: AtomicBool,
    reads: AtomicBool,
    pings: AtomicBool,
    pings_again: AtomicBool,
}

impl Worker {
    /// Connects under a name, and starts to ping and to read.
    ///
    /// # Panics
    /// The address cannot be used.
    #[must_use]
    pub fn connect(name: &str, url: &str) -> Self {
        Self::start(name, url, Reads::AtOnce)
    }

    /// Connects and pings, but reads nothing until [`Worker::read`].
    ///
    /// # Panics
    /// The address cannot be used.
    #[must_use]
    pub fn stalled(name: &str, url: &str) -> Self {
        Self::start(name, url, Reads::NotYet)
    }

    /// Reads one message per `every`.
    ///
    /// # Panics
    /// The address cannot be used.
    #[must_use]
    pub fn slow(name: &str, url: &str, every: Duration) -> Self {
        Self::start(name, url, Reads::Every(every))
    }

    fn start(name: &str, url: &str, reads: Reads) -> Self {
        let socket = zmq::Context::new().socket(zmq::DEALER).expect("a socket can be made");
        let set = || {
            socket.set_identity(name.as_bytes())?;
            socket.set_linger(0)?;
            // The socket holds as little as possible, so that the other side notices a worker that does not read.
            socket.set_rcvhwm(1)?;
            if reads != Reads::AtOnce {
                socket.set_rcvbuf(64 << 10)?;
            }
            socket.connect(url)
        };
        set().unwrap_or_else(|error| panic!("worker {name}: {url}: {error}"));
        let service_uuid = Uuid::new_v4();
        let reads_now = reads != Reads::NotYet;
        let switches =
            Switches { alive: true.into(), reads: reads_now.into(), pings: true.into(), pings_again: true.into() };
        let switches = Arc::new(switches);
        let (sender, messages) = channel();
        let for_thread = switches.clone();
        let every = if let Reads::Every(every) = reads { every } else { Duration::ZERO };
        let thread = thread::spawn(move || serve(&socket, service_uuid, every, &for_thread, &sender));
        Self { name: name.to_owned(), service_uuid, switches, messages, thread: Some(thread), host: None }
    }

    /// Waits for messages only while this process, which sends them, runs.
    #[must_use]
    pub fn of(mut self, host: Watch) -> Self {
        self.host = Some(host);
        self
    }

    /// Pings once only. A host that ends with its last scan answers a later ping with a reset, and a reset takes along what
    /// the kernel holds for a worker that is still reading.
    #[must_use]
    pub fn pinging_once(self) -> Self {
        self.switches.pings_again.store(false, Ordering::Relaxed);
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The payload of its pings.
    #[must_use]
    pub fn service_uuid(&self) -> Uuid {
        self.service_uuid
    }

    /// Switches reading on or off.
    pub fn read(&self, reads: bool) {
        self.switches.reads.store(reads, Ordering::Relaxed);
    }

    /// Switches pinging on or off.
    pub fn ping(&self, pings: bool) {
        self.switches.pings.store(pings, Ordering::Relaxed);
    }

    /// Ends it abruptly, like a killed process; returns all messages read so far.
    #[must_use]
    pub fn end(&mut self) -> Vec<Message> {
        self.switches.alive.store(false, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.messages.try_iter().collect()
    }

    /// The next message.
    ///
    /// # Panics
    /// None arrives within [`LIMIT`], or the host has ended.
    #[must_use]
    pub fn next(&self) -> Message {
        let name = &self.name;
        self.within(LIMIT).unwrap_or_else(|| {
            let why = if self.host_has_ended() { ": framegate has ended" } else { "" };
            panic!("worker {name} waited in vain for a message{why}")
        })
    }

    /// The next message, if it arrives within this time and before the host has ended.
    #[must_use]
    pub fn within(&self, limit: Duration) -> Option<Message> {
        let deadline = Instant::now() + limit;
        loop {
            let ended = self.host_has_ended();
            let left = deadline.saturating_duration_since(Instant::now());
            match self.messages.recv_timeout(left.min(if ended { ON_ITS_WAY } else { WATCH })) {
                Ok(message) => return Some(message),
                Err(RecvTimeoutError::Timeout) if ended || Instant::now() >= deadline => return None,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => panic!("worker {}: its thread has panicked", self.name),
            }
        }
    }

    fn host_has_ended(&self) -> bool {
        self.host.is_some_and(Watch::has_ended)
    }

    /// All messages up to and including the first for which `is_last` is true.
    ///
    /// # Panics
    /// One does not arrive within [`LIMIT`] after the previous one, or the host has ended.
    #[must_use]
    pub fn until(&self, is_last: impl Fn(&Message) -> bool) -> Vec<Message> {
        let mut all = Vec::new();
        loop {
            all.push(self.within(LIMIT).unwrap_or_else(|| {
                let after = all.len();
                let why = if self.host_has_ended() { ": framegate has ended" } else { "" };
                panic!("worker {} waited in vain for the rest after {after} messages{why}", self.name)
            }));
            if all.last().is_some_and(&is_last) {
                return all;
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

impl Message {
    /// The event's number.
    ///
    /// # Panics
    /// The header is invalid.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.header()["event_number"].as_u64().expect("a header has an event number")
    }

    /// The header as JSON.
    ///
    /// # Panics
    /// It is invalid.
    #[must_use]
    pub fn header(&self) -> Value {
        serde_json::from_slice(&self.header).expect("a header is JSON")
    }

    /// The frames of one stream; `None` if the message does not have the stream.
    ///
    /// # Panics
    /// The header does not match the frames.
    #[must_use]
    pub fn stream(&self, name: &str) -> Option<&[Vec<u8>]> {
        let header = self.header();
        let mut first = 0;
        for (stream, value) in header["streams"].as_object().expect("a header has streams") {
            let length = value["length"].as_u64().and_then(|length| usize::try_from(length).ok());
            let frames = first..first + length.expect("a stream has a length");
            if stream == name {
                return Some(&self.frames[frames]);
            }
            first = frames.end;
        }
        None
    }
}

fn serve(socket: &zmq::Socket, service_uuid: Uuid, every: Duration, switches: &Switches, messages: &Sender<Message>) {
    let (mut ping_at, mut read_at) = (Instant::now(), Instant::now());
    while switches.alive.load(Ordering::Relaxed) {
        if switches.pings.load(Ordering::Relaxed) && Instant::now() >= ping_at {
            // Without a connection there may be no room; the next ping is sufficient.
            let sent = socket.send(&service_uuid.as_bytes()[..], zmq::DONTWAIT).is_ok();
            if sent && !switches.pings_again.load(Ordering::Relaxed) {
                switches.pings.store(false, Ordering::Relaxed);
            }
            ping_at = Instant::now() + PING;
        }
        if !switches.reads.load(Ordering::Relaxed) || Instant::now() < read_at {
            thread::park_timeout(LOOK);
            continue;
        }
        // An error is EINTR.
        if socket.poll(zmq::POLLIN, LOOK.as_millis() as i64).unwrap_or(0) > 0 {
            read_at = Instant::now() + every;
            let mut parts = socket.recv_multipart(0).expect("a message is there").into_iter();
            let header = parts.next().expect("a message has a part");
            if messages.send(Message { header, frames: parts.collect() }).is_err() {
                return;
            }
        }
    }
}

/// dranspose's workers ping every two seconds; tests are faster.
const PING: Duration = Duration::from_millis(500);
/// How soon a switch takes effect.
const LOOK: Duration = Duration::from_millis(10);
/// How soon the end of the host is noticed.
const WATCH: Duration = Duration::from_millis(200);
/// How long what an ended host has sent may take to be read.
const ON_ITS_WAY: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::process::{Process, free_port};

    #[test]
    fn a_wait_ends_with_the_host() {
        let folder = tempfile::tempdir().unwrap();
        let mut host = Process::start("host", &mut Command::new("true"), folder.path());
        let worker = Worker::connect("w1", &format!("tcp://127.0.0.1:{}", free_port())).of(host.watch());
        let began = Instant::now();
        assert_eq!(worker.within(LIMIT), None);
        assert!(host.ended().is_some() && began.elapsed() < LIMIT / 2, "{:?}", began.elapsed());
        assert!(host.watch().has_ended(), "also after its exit status was taken");
    }
}
