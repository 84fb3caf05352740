//! For tests of protocols: passes messages to an assembler without a socket; and a host for tests with sockets.

use std::{
    io::{PipeReader, PipeWriter, pipe},
    os::fd::{AsFd as _, BorrowedFd},
    sync::{Arc, LazyLock},
};

use framegate_plugin_api::{Event, EventSink, Frame, HostContext, HostServices, LogLevel};
pub use framegate_source_kit::testing::TestHost;
use framegate_source_kit::{RunState, Runs};

use crate::protocol::Assembler;

/// The result of the messages.
#[derive(Debug)]
pub struct Played {
    /// The events, in order.
    pub events: Vec<Event>,
    /// The messages without an event, by reason.
    pub skipped: Vec<(&'static str, u64)>,
    /// The counters of received messages.
    pub counters: Vec<(&'static str, u64)>,
    /// Reason of the last invalid message.
    pub last_invalid: Option<String>,
    /// Bytes that the assembler still keeps.
    pub bytes_waiting: u64,
}

/// Passes each message (a list of parts) to `assembler`, as one run.
pub fn play<A: Assembler, P: AsRef<[u8]>>(mut assembler: A, messages: impl IntoIterator<Item = Vec<P>>) -> Played {
    let mut events = Vec::new();
    let mut state = RunState::new(A::TYP, &Runs::default());
    let host = HostContext::new("test", Arc::new(Silent));
    for message in messages {
        state.received(message.iter().map(|part| part.as_ref().len()).sum());
        let mut push = |event| events.push(event);
        let mut out = EventSink::new(&mut push, usize::MAX, usize::MAX);
        let frames = message.iter().map(|part| Frame::copy(part.as_ref())).collect();
        assembler.take(frames, &mut state.flow(&mut out, &host));
        while assembler.rest(&mut state.flow(&mut out, &host)) {}
    }
    Played {
        events,
        skipped: state.skipped().to_vec(),
        counters: state.counters(),
        last_invalid: state.last_invalid(),
        bytes_waiting: assembler.bytes_waiting(),
    }
}

/// The messages of a capture: a CBOR sequence; each item is the list of a message's parts.
///
/// # Panics
/// The bytes are not such a capture.
#[cfg(feature = "captures")]
#[must_use]
pub fn capture(mut bytes: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let item: ciborium::Value = ciborium::from_reader(&mut bytes).expect("the capture is CBOR");
        let parts = item.into_array().expect("an item is a message's list of parts");
        messages.push(parts.into_iter().map(|part| part.into_bytes().expect("a part is bytes")).collect());
    }
    messages
}

/// Whether the events have exactly these messages as their frames, in this order.
#[must_use]
pub fn same_bytes<P: AsRef<[u8]>>(events: &[Event], messages: &[Vec<P>]) -> bool {
    events.len() == messages.len()
        && events.iter().zip(messages).all(|(event, parts)| {
            event.frames.len() == parts.len()
                && event.frames.iter().zip(parts).all(|(frame, part)| frame.as_slice() == part.as_ref())
        })
}

/// A host that logs nothing and never stops a source.
struct Silent;

impl HostServices for Silent {
    fn log(&self, _: LogLevel, _: &str) {}
    fn stop_requested(&self) -> bool {
        false
    }
    fn stop_descriptor(&self) -> BorrowedFd<'_> {
        NEVER.0.as_fd()
    }
}

/// Never readable.
static NEVER: LazyLock<(PipeReader, PipeWriter)> = LazyLock::new(|| pipe().expect("a test can make a pipe"));
