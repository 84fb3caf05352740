//! Our side: each source as in a plugin, with its own socket, connected to a detector that sends the messages.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use framegate_plugin_api::{Event, Progress, Source, testing::Trial};
use framegate_tests::process::free_port;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use zmq::SocketType;

use crate::{Case, Message, sardana};

/// The outcome of a case.
#[derive(Debug, PartialEq, Eq, serde::Deserialize)]
pub(crate) struct Outcome {
    /// Each event's type and frames; a frame as [`digest`] writes it.
    pub(crate) events: Vec<(String, Vec<String>)>,
    /// The answer to each message; only Sardana gets answers.
    pub(crate) answers: Vec<u16>,
    /// The error that ended the source, if any; ours never end.
    pub(crate) died: Option<String>,
}

impl Outcome {
    /// Whether workers and detector see the same outcome.
    pub(crate) fn is_as(&self, other: &Self) -> bool {
        self.events == other.events && self.answers == other.answers
    }
}

/// A protocol, and its implementation on both sides.
#[derive(Debug)]
pub(crate) struct Protocol {
    /// dranspose's class.
    pub(crate) class: &'static str,
    /// Our plugin, as in its file's name.
    pub(crate) plugin: &'static str,
    /// The detector's way of sending.
    pub(crate) detector: Detector,
    ours: fn(&Case) -> Made,
}

/// A detector's way of sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detector {
    Zmq(SocketType),
    /// A PandABox.
    Tcp,
    /// Sardana.
    Http,
}

/// How a source on ZeroMQ connects to its detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Reach {
    /// Like dranspose.
    #[default]
    Plainly,
    /// With PULL where dranspose has SUB, and vice versa.
    OtherPattern,
    /// The detector connects to the source.
    Bound,
    /// With a subscription to the prefix `{`.
    Braces,
    /// With the smallest possible read-ahead.
    OneAhead,
}

/// The result of a source.
#[derive(Debug, Default)]
pub(crate) struct Made {
    pub(crate) events: Vec<Event>,
    pub(crate) answers: Vec<u16>,
}

/// The protocol of a source on ZeroMQ.
const fn on_zmq<S: Source>(class: &'static str, plugin: &'static str, detector: SocketType) -> Protocol {
    Protocol { class, plugin, detector: Detector::Zmq(detector), ours: zmq::<S> }
}

pub(crate) static ALBAEM: Protocol = on_zmq::<framegate_albaem::Albaem>("ZmqSubAlbaemIngester", "albaem", PUB);
pub(crate) static CONTRAST: Protocol =
    on_zmq::<framegate_contrast::Contrast>("ZmqSubContrastIngester", "contrast", PUB);
pub(crate) static EIGER_LEGACY: Protocol =
    on_zmq::<framegate_eiger_legacy::EigerLegacy>("ZmqPullEigerLegacyIngester", "eiger-legacy", PUSH);
pub(crate) static LECROY: Protocol = on_zmq::<framegate_lecroy::Lecroy>("ZmqSubLecroyIngester", "lecroy", PUB);
pub(crate) static PCAP: Protocol = on_zmq::<framegate_pcap::Pcap>("ZmqSubPCAPIngester", "pcap", PUB);
pub(crate) static STINS: Protocol = on_zmq::<framegate_stins::Stins>("ZmqPullSingleIngester", "stins", PUSH);
pub(crate) static XSPRESS: Protocol = on_zmq::<framegate_xspress::Xspress>("ZmqSubXspressIngester", "xspress", PUB);
pub(crate) static PCAP_RAW: Protocol =
    Protocol { class: "TcpPcapIngester", plugin: "pcap-raw", detector: Detector::Tcp, ours: position_capture };
pub(crate) static SARDANA: Protocol =
    Protocol { class: "HttpSardanaIngester", plugin: "sardana", detector: Detector::Http, ours: sardana::ours };

/// The outcomes of our sources. They mostly wait for connections, so several run at a time.
pub(crate) fn outcomes(cases: &[Case]) -> Vec<Outcome> {
    thread::scope(|scope| {
        let some = cases.chunks(cases.len().div_ceil(AT_A_TIME).max(1));
        let threads: Vec<_> = some.map(|cases| scope.spawn(|| cases.iter().map(outcome).collect::<Vec<_>>())).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a source serves its cases")).collect()
    })
}

fn outcome(case: &Case) -> Outcome {
    let Made { events, answers } = (case.protocol.ours)(case);
    let event = |event: Event| {
        (event.typ.to_owned(), event.frames.iter().map(|frame| digest(frame.as_slice())).collect::<Vec<_>>())
    };
    Outcome { events: events.into_iter().map(event).collect(), answers, died: None }
}

/// The form in which frames are compared: length and beginning of the digest.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let digest: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{} {digest}", bytes.len())
}

/// A detector on ZeroMQ without an address.
pub(crate) fn socket(kind: SocketType) -> zmq::Socket {
    let socket = zmq::Context::new().socket(kind).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_sndhwm(0).unwrap();
    socket.set_rcvtimeo(i32::try_from(LIMIT.as_millis()).unwrap()).unwrap();
    socket
}

/// One run of a source on ZeroMQ.
fn zmq<S: Source>(case: &Case) -> Made {
    let Detector::Zmq(usual) = case.protocol.detector else { panic!("{case:?} is not on ZeroMQ") };
    let detector = match (case.reach, usual) {
        (Reach::OtherPattern, PUB) => PUSH,
        (Reach::OtherPattern, _) => PUB,
        _ => usual,
    };
    let socket = socket(detector);
    let address = format!("tcp://127.0.0.1:{}", free_port());
    let mut settings = json!({"upstream_url": address, "max_parts": MAX_PARTS});
    if case.reach != Reach::Bound {
        // The connection goes on only in calls of the source, and the next one comes when the detector is subscribed.
        settings["connect_wait"] = format!("{} s", LIMIT.as_secs()).into();
    }
    match case.reach {
        Reach::Plainly => {}
        Reach::OtherPattern => settings["pattern"] = if detector == PUB { "sub" } else { "pull" }.into(),
        Reach::Bound => settings["attach"] = "bind".into(),
        Reach::Braces => settings["subscribe"] = json!(["{"]),
        Reach::OneAhead => settings["receive_high_water_mark"] = 1.into(),
    }
    if case.reach != Reach::Bound {
        socket.bind(&address).unwrap();
    }
    let mut source = Trial::<S>::create(&settings.to_string()).unwrap();
    source.open().unwrap();
    if case.reach == Reach::Bound {
        socket.connect(&address).unwrap();
        // A bound SUB sends its subscription only when its owner reads events.
        while detector == PUB && socket.poll(zmq::POLLIN, 10).unwrap() == 0 {
            assert!(source.pull().unwrap().0.is_empty());
        }
    }
    if detector == PUB {
        let to: &[u8] = if case.reach == Reach::Braces { b"\x01{" } else { b"\x01" };
        let subscription = socket.recv_bytes(0);
        assert_eq!(subscription.as_deref(), Ok(to), "{}, {:?}", case.capture, case.reach);
    }
    for message in &case.messages {
        socket.send_multipart(&message.parts, 0).unwrap();
    }
    // Refused before the protocol sees it, and counted: when it is counted, all earlier messages were read.
    socket.send_multipart(vec![&b"{"[..]; MAX_PARTS + 1], 0).unwrap();

    let began = Instant::now();
    let mut all = Vec::new();
    loop {
        let (events, progress) = source.pull().unwrap();
        all.extend(events);
        if progress == Progress::End || source.status().unwrap().skipped_for("too many parts") == 1 {
            // The detector goes first. If the source went at the same moment, and libzmq had a part of a message left, it would end
            // the process: an assertion in `clean_pipes` of its session_base.cpp does not expect that its socket is closing.
            drop(socket);
            return Made { events: all, ..Made::default() };
        }
        assert!(began.elapsed() < LIMIT, "the last message does not come");
    }
}

/// A PandABox at an address that it binds. A message without parts closes the connection; later messages use the next
/// connection. When everything is sent, returns the last connection, which stays open until dropped.
pub(crate) fn panda_box(messages: &[Message]) -> (String, JoinHandle<Option<TcpStream>>) {
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
        let mut open = None;
        for bytes in sent {
            drop(open.take());
            open = Some(connection(bytes));
        }
        open
    });
    (url, server)
}

/// One run of position capture over TCP.
fn position_capture(case: &Case) -> Made {
    let (url, server) = panda_box(&case.messages);
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

/// A line and an arm that end any open state. Both sides get them.
pub(crate) const LAST: &[u8] = b"\n\nEND\narm_time: last\n\nEND last\n";

/// XPUB sees the subscription, PUB does not.
const PUB: SocketType = SocketType::XPUB;
const PUSH: SocketType = SocketType::PUSH;
/// More parts than any detector sends.
const MAX_PARTS: usize = 64;
const AT_A_TIME: usize = 4;
pub(crate) const LIMIT: Duration = Duration::from_secs(30);
