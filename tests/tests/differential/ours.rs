//! Our side: each source as a plugin is written, with its own socket, connected to a detector that plays the messages.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use framegate_plugin_api::{Event, Progress, Source, testing::Trial};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use zmq::SocketType;

use crate::{Case, Message, sardana};

/// What is made of a case.
#[derive(Debug, PartialEq, Eq, serde::Deserialize)]
pub(crate) struct Outcome {
    /// Each event's type and frames; a frame as [`digest`] writes it.
    pub(crate) events: Vec<(String, Vec<String>)>,
    /// What each message was answered; only Sardana gets answers.
    pub(crate) answers: Vec<u16>,
    /// What ended the source, if something did: not so with ours.
    pub(crate) died: Option<String>,
}

impl Outcome {
    /// Whether workers and detector see the same.
    pub(crate) fn is_as(&self, other: &Self) -> bool {
        self.events == other.events && self.answers == other.answers
    }
}

/// A protocol, and both who speak it.
#[derive(Debug)]
pub(crate) struct Protocol {
    /// Of dranspose.
    pub(crate) class: &'static str,
    ours: fn(&[Message]) -> Made,
}

/// What a source made of messages.
#[derive(Debug, Default)]
pub(crate) struct Made {
    pub(crate) events: Vec<Event>,
    pub(crate) answers: Vec<u16>,
}

pub(crate) static ALBAEM: Protocol =
    Protocol { class: "ZmqSubAlbaemIngester", ours: |messages| zmq::<framegate_albaem::Albaem>(PUB, messages) };
pub(crate) static CONTRAST: Protocol =
    Protocol { class: "ZmqSubContrastIngester", ours: |messages| zmq::<framegate_contrast::Contrast>(PUB, messages) };
pub(crate) static EIGER_LEGACY: Protocol = Protocol {
    class: "ZmqPullEigerLegacyIngester",
    ours: |messages| zmq::<framegate_eiger_legacy::EigerLegacy>(SocketType::PUSH, messages),
};
pub(crate) static LECROY: Protocol =
    Protocol { class: "ZmqSubLecroyIngester", ours: |messages| zmq::<framegate_lecroy::Lecroy>(PUB, messages) };
pub(crate) static PCAP: Protocol =
    Protocol { class: "ZmqSubPCAPIngester", ours: |messages| zmq::<framegate_pcap::Pcap>(PUB, messages) };
pub(crate) static PCAP_RAW: Protocol = Protocol { class: "TcpPcapIngester", ours: position_capture };
pub(crate) static SARDANA: Protocol = Protocol { class: "HttpSardanaIngester", ours: sardana::ours };
pub(crate) static STINS: Protocol = Protocol {
    class: "ZmqPullSingleIngester",
    ours: |messages| zmq::<framegate_stins::Stins>(SocketType::PUSH, messages),
};
pub(crate) static XSPRESS: Protocol =
    Protocol { class: "ZmqSubXspressIngester", ours: |messages| zmq::<framegate_xspress::Xspress>(PUB, messages) };

/// What our sources make of the cases. They mostly wait for connections, so several run at a time.
pub(crate) fn outcomes(cases: &[Case]) -> Vec<Outcome> {
    thread::scope(|scope| {
        let some = cases.chunks(cases.len().div_ceil(AT_A_TIME).max(1));
        let threads: Vec<_> = some.map(|cases| scope.spawn(|| cases.iter().map(outcome).collect::<Vec<_>>())).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a source serves its cases")).collect()
    })
}

fn outcome(case: &Case) -> Outcome {
    let Made { events, answers } = (case.protocol.ours)(&case.messages);
    let event = |event: Event| {
        (event.typ.to_owned(), event.frames.iter().map(|frame| digest(frame.as_slice())).collect::<Vec<_>>())
    };
    Outcome { events: events.into_iter().map(event).collect(), answers, died: None }
}

/// How a frame is compared: its length and the beginning of its digest.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let digest: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{} {digest}", bytes.len())
}

/// One run of a source on ZeroMQ.
fn zmq<S: Source>(detector: SocketType, messages: &[Message]) -> Made {
    let socket = zmq::Context::new().socket(detector).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_sndhwm(0).unwrap();
    socket.set_rcvtimeo(i32::try_from(LIMIT.as_millis()).unwrap()).unwrap();
    socket.bind("tcp://127.0.0.1:*").unwrap();
    let settings = json!({"upstream_url": socket.get_last_endpoint().unwrap().unwrap(), "max_parts": MAX_PARTS});

    let mut source = Trial::<S>::create(&settings.to_string()).unwrap();
    source.open().unwrap();
    if detector == PUB {
        assert_eq!(socket.recv_bytes(0).unwrap(), [1], "it subscribes to everything");
    }
    for message in messages {
        socket.send_multipart(&message.parts, 0).unwrap();
    }
    // What is refused before the protocol sees it, and counted: when it was, all before it was read.
    socket.send_multipart(vec![&[][..]; MAX_PARTS + 1], 0).unwrap();

    let began = Instant::now();
    let mut all = Vec::new();
    loop {
        let (events, progress) = source.pull().unwrap();
        all.extend(events);
        if progress == Progress::End || source.skipped().unwrap().contains(&("too many parts", 1)) {
            return Made { events: all, ..Made::default() };
        }
        assert!(began.elapsed() < LIMIT, "the last message does not come");
    }
}

/// One run of position capture over TCP. A message without parts ends the connection; what follows comes over the next.
fn position_capture(messages: &[Message]) -> Made {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let pieces = messages.split(|message| message.parts.is_empty());
    let mut sent: Vec<Vec<u8>> =
        pieces.map(|piece| piece.iter().flat_map(|message| message.parts.concat()).collect()).collect();
    sent.last_mut().expect("a split has a piece").extend_from_slice(LAST);
    let server = thread::spawn(move || {
        let connection = |bytes: Vec<u8>| {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0]).unwrap();
            stream.write_all(&[b"OK\n", &bytes[..]].concat()).unwrap();
            stream
        };
        // The last one stays open until all was read.
        let mut open = None;
        for bytes in sent {
            drop(open.take());
            open = Some(connection(bytes));
        }
        open
    });
    let mut source = Trial::<framegate_pcap_raw::PcapRaw>::create(&json!({ "upstream_url": url }).to_string()).unwrap();
    source.open().unwrap();
    let began = Instant::now();
    let mut all: Vec<Event> = Vec::new();
    while all.last().is_none_or(|event| event.frames[0].as_slice() != b"END last\n") {
        all.extend(source.pull().unwrap().0);
        assert!(began.elapsed() < LIMIT, "the last line does not come");
    }
    server.join().unwrap();
    Made { events: all, ..Made::default() }
}

/// A line and an arm that end whatever was going on. Both sides get it.
pub(crate) const LAST: &[u8] = b"\n\nEND\narm_time: last\n\nEND last\n";

/// Sees the subscription, which PUB does not.
const PUB: SocketType = SocketType::XPUB;
/// More than any detector sends.
const MAX_PARTS: usize = 64;
const AT_A_TIME: usize = 4;
pub(crate) const LIMIT: Duration = Duration::from_secs(30);
