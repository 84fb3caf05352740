//! For the tests of protocols: messages played to an assembler without a socket, and a host for tests with sockets.

use std::{
    io::Write,
    os::{
        fd::{AsRawFd, RawFd},
        unix::net::UnixStream,
    },
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use framegate_plugin_api::{Event, EventSink, Frame, HostContext, HostServices, LogLevel};

use crate::{flow::State, protocol::Assembler};

/// What became of the messages.
#[derive(Debug)]
pub struct Played {
    /// The events, in order.
    pub events: Vec<Event>,
    /// The messages that gave none, by reason.
    pub skipped: Vec<(&'static str, u64)>,
}

/// Gives each message (a list of parts) to `assembler`, as one run.
pub fn play<A: Assembler, P: AsRef<[u8]>>(mut assembler: A, messages: impl IntoIterator<Item = Vec<P>>) -> Played {
    let mut events = Vec::new();
    let mut state = State::new(A::TYP);
    let host = HostContext::new("test", Arc::new(Silent));
    for message in messages {
        let mut push = |event| events.push(event);
        let mut out = EventSink::new(&mut push, usize::MAX, usize::MAX);
        let frames = message.iter().map(|part| Frame::copy(part.as_ref())).collect();
        assembler.take(frames, &mut state.flow(&mut out, &host));
    }
    Played { events, skipped: state.skipped().to_vec() }
}

/// A host that listens to nothing and never stops anything.
struct Silent;

impl HostServices for Silent {
    fn log(&self, _: LogLevel, _: &str) {}
    fn stop_requested(&self) -> bool {
        false
    }
    fn stop_descriptor(&self) -> RawFd {
        // `poll` passes over a negative descriptor.
        -1
    }
}

/// A host for tests with real sockets: its stop can be rung, and it keeps what was logged.
#[derive(Debug)]
pub struct TestHost {
    /// Readable on the first end once something was written to the second.
    stop: (UnixStream, UnixStream),
    stopped: AtomicBool,
    lines: Mutex<Vec<(LogLevel, String)>>,
}

impl TestHost {
    /// A host, and the context that a source takes.
    ///
    /// # Panics
    /// The machine has no descriptors left.
    #[must_use]
    pub fn new() -> (Arc<Self>, HostContext) {
        let stop = UnixStream::pair().expect("a test can make a pair of sockets");
        let host = Arc::new(Self { stop, stopped: AtomicBool::new(false), lines: Mutex::default() });
        let context = HostContext::new("test", host.clone());
        (host, context)
    }

    /// Requests a stop, for ever.
    ///
    /// # Panics
    /// The machine refuses a byte.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        (&self.stop.1).write_all(&[1]).expect("the other end is open");
    }

    /// What was logged so far.
    ///
    /// # Panics
    /// A logging thread has panicked.
    #[must_use]
    pub fn lines(&self) -> Vec<(LogLevel, String)> {
        self.lines.lock().expect("nobody panics while logging").clone()
    }
}

impl HostServices for TestHost {
    fn log(&self, level: LogLevel, message: &str) {
        self.lines.lock().expect("nobody panics while logging").push((level, message.to_owned()));
    }
    fn stop_requested(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
    fn stop_descriptor(&self) -> RawFd {
        self.stop.0.as_raw_fd()
    }
}
