//! One detector for each source of framegate: seven on ZeroMQ, a PandABox on its own port, and Sardana, which posts.
//!
//! Each has a fixed port, and is present between [`Detector::appear`] and [`Detector::vanish`]. Each call sends one
//! event. [`Detector::broken_off`] has the bytes of a detector that dies in the middle of a message.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    process::{free_port, wait_for},
    protocols::{self, Parts, Protocol, wait_for_subscription},
    worker::LIMIT,
};

/// See the module.
#[derive(Debug)]
pub struct Detector {
    /// The plugin for this detector.
    pub name: &'static str,
    /// Address of the side that is bound.
    host: Ipv4Addr,
    port: u16,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    ZeroMq(ZeroMq),
    PandaBox(Option<PandaBox>),
    Sardana,
}

struct ZeroMq {
    protocol: Protocol,
    attach: Attach,
    socket: Option<zmq::Socket>,
}

impl std::fmt::Debug for ZeroMq {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ZeroMq").field("protocol", &self.protocol.name).finish_non_exhaustive()
    }
}

/// The source's side of a ZeroMQ connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attach {
    /// The detector is bound.
    Connect,
    /// The detector connects.
    Bind,
}

/// A message of a detector. The number of a start or an end identifies the scan, the number of data the data.
#[derive(Debug, Clone, Copy)]
pub enum Say {
    /// A run begins.
    Start(u32),
    /// An image, a line, a record.
    Data(u32),
    /// As `Data`, with [`LARGE`] bytes more.
    Large(u32),
    /// The run is over.
    End(u32),
}

/// More than the network buffers at 10 Mbit/s, and less than a PandABox's longest line.
pub const LARGE: usize = 60_000;

impl Detector {
    /// The detectors on ZeroMQ.
    #[must_use]
    pub fn on_zeromq(attach: Attach) -> Vec<Self> {
        let detector = |protocol: Protocol| Self {
            name: protocol.name,
            host: Ipv4Addr::LOCALHOST,
            port: free_port(),
            kind: Kind::ZeroMq(ZeroMq { protocol, attach, socket: None }),
        };
        protocols::ALL.map(detector).into()
    }

    /// One detector of each kind.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut all = Self::on_zeromq(Attach::Connect);
        let other = |name, kind| Self { name, host: Ipv4Addr::LOCALHOST, port: free_port(), kind };
        all.push(other("pcap-raw", Kind::PandaBox(None)));
        all.push(other("sardana", Kind::Sardana));
        all
    }

    /// One detector for each way of connecting: ZeroMQ in both directions, a PandABox, and Sardana. They are on one
    /// machine, the sources on another.
    #[must_use]
    pub fn of_each_transport(detectors: Ipv4Addr, sources: Ipv4Addr) -> Vec<Self> {
        let mut all = Self::all();
        all.retain(|one| ["stins", "pcap-raw", "sardana"].contains(&one.name));
        all.extend(Self::on_zeromq(Attach::Bind).into_iter().filter(|one| one.name == "stins"));
        for one in &mut all {
            let source_is_bound = match &one.kind {
                Kind::ZeroMq(ZeroMq { attach, .. }) => *attach == Attach::Bind,
                Kind::PandaBox(_) => false,
                Kind::Sardana => true,
            };
            one.host = if source_is_bound { sources } else { detectors };
        }
        all
    }

    /// The plugin's settings for this detector.
    #[must_use]
    pub fn settings(&self) -> Value {
        let url = format!("tcp://{}", self.address());
        match &self.kind {
            Kind::ZeroMq(ZeroMq { attach: Attach::Bind, .. }) => json!({ "upstream_url": url, "attach": "bind" }),
            Kind::ZeroMq(_) | Kind::PandaBox(_) => json!({ "upstream_url": url }),
            Kind::Sardana => json!({ "host": self.host.to_string(), "port": self.port }),
        }
    }

    /// The address of the detector, or of the source that it connects to.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Whether the source listens and the detector connects.
    #[must_use]
    pub fn comes(&self) -> bool {
        matches!(self.kind, Kind::Sardana)
    }

    /// The detector appears.
    ///
    /// # Panics
    /// Its port is in use.
    pub fn appear(&mut self) {
        let (host, port, url) = (self.host, self.port, format!("tcp://{}", self.address()));
        match &mut self.kind {
            Kind::ZeroMq(ZeroMq { protocol, attach, socket }) => {
                let new = protocol.socket();
                // A detector that has just died may have released its port only a moment ago.
                wait_for("its port", LIMIT, || match attach {
                    Attach::Connect => new.bind(&url).ok(),
                    Attach::Bind => new.connect(&url).ok(),
                });
                *socket = Some(new);
            }
            Kind::PandaBox(panda) => *panda = Some(PandaBox::start(host, port)),
            Kind::Sardana => {}
        }
    }

    /// The detector vanishes, with its connections.
    pub fn vanish(&mut self) {
        match &mut self.kind {
            Kind::ZeroMq(ZeroMq { socket, .. }) => *socket = None,
            Kind::PandaBox(panda) => *panda = None,
            Kind::Sardana => {}
        }
    }

    /// Waits until a source has connected, also for the second and third time; for detectors that lose messages without
    /// a receiver.
    pub fn wait_for_source(&self) {
        match &self.kind {
            Kind::ZeroMq(ZeroMq { protocol, socket: Some(socket), .. }) if protocol.detector == zmq::PUB => {
                wait_for_subscription(socket).expect("somebody subscribes");
            }
            Kind::PandaBox(Some(panda)) => drop(wait_for("the source", LIMIT, || panda.newest(true))),
            _ => {}
        }
    }

    /// Whether it has a receiver, as far as it can know.
    #[must_use]
    pub fn has_source(&self) -> bool {
        match &self.kind {
            Kind::ZeroMq(ZeroMq { socket: Some(socket), .. }) => {
                socket.poll(zmq::POLLOUT, 0).is_ok_and(|ready| ready > 0)
            }
            Kind::PandaBox(Some(panda)) => panda.newest(false).is_some(),
            _ => true,
        }
    }

    /// The expected event.
    #[must_use]
    pub fn event(&self, what: Say) -> Parts {
        match &self.kind {
            Kind::ZeroMq(ZeroMq { protocol, .. }) => protocol.event(&spoken(protocol, what)),
            Kind::PandaBox(_) => vec![line(what)],
            Kind::Sardana => vec![post(what).2],
        }
    }

    /// Sends a message now; returns the expected event.
    ///
    /// # Panics
    /// The detector is not present, or has no receiver.
    pub fn say(&self, what: Say) -> Parts {
        match &self.kind {
            Kind::ZeroMq(ZeroMq { protocol, socket, .. }) => {
                let socket = socket.as_ref().expect("it is there");
                let said = |parts: &Parts| socket.send_multipart(parts, 0).expect("somebody takes it within 20 s");
                spoken(protocol, what).iter().for_each(said);
            }
            Kind::PandaBox(panda) => {
                let mut stream = panda.as_ref().expect("it is there").newest(false).expect("a source is there");
                stream.write_all(&line(what)).expect("the source is there");
            }
            Kind::Sardana => {
                let (path, body, _) = post(what);
                let url = format!("http://{}{path}", self.address());
                let mut answer = ureq::post(url).content_type("application/json").send(&body).expect("it is taken");
                let _ = answer.body_mut().read_to_vec();
            }
        }
        self.event(what)
    }

    /// A detector that starts a run, sends data 0, and dies in the middle of data 1.
    #[must_use]
    pub fn broken_off(&self, scan: u32) -> BrokenOff {
        let whole = [Say::Start(scan), Say::Data(0), Say::Data(1)];
        let mut broken = match &self.kind {
            Kind::ZeroMq(ZeroMq { protocol, .. }) => {
                let messages = whole.map(|what| spoken(protocol, what)).concat();
                let first = greeting(protocol.detector);
                BrokenOff { hears: first.len(), first, second: messages.iter().flat_map(encoded).collect() }
            }
            Kind::PandaBox(_) => {
                let second = [b"OK\n".to_vec(), whole.map(line).concat()].concat();
                BrokenOff { first: Vec::new(), hears: 1, second }
            }
            Kind::Sardana => BrokenOff { first: Vec::new(), hears: 0, second: whole.map(request).concat() },
        };
        broken.second.truncate(broken.second.len() - 3);
        broken
    }
}

/// The bytes of a connection that breaks off.
#[derive(Debug)]
pub struct BrokenOff {
    /// Sent first.
    pub first: Vec<u8>,
    /// Number of bytes to receive then.
    pub hears: usize,
    /// Sent after that; its end is missing.
    pub second: Vec<u8>,
}

fn spoken(protocol: &Protocol, what: Say) -> Vec<Parts> {
    match what {
        Say::Start(scan) => (protocol.start)(scan),
        Say::Data(number) => (protocol.data)(number, r#""x":1"#),
        Say::Large(number) => (protocol.data)(number, &format!(r#""x":"{}""#, "1".repeat(LARGE))),
        Say::End(scan) => (protocol.end)(scan),
    }
}

/// The bytes that a ZeroMQ socket sends before its messages (ZMTP 3.0, https://rfc.zeromq.org/spec/23/): signature,
/// version, the mechanism NULL, and the command READY. A peer sends as many bytes.
fn greeting(kind: zmq::SocketType) -> Vec<u8> {
    let mut greeting = [b"\xff\0\0\0\0\0\0\0\0\x7f\x03\0NULL".as_slice(), &[0; 48]].concat();
    let kind: &[u8] = if kind == zmq::PUB { b"PUB" } else { b"PUSH" };
    let ready = [b"\x05READY\x0bSocket-Type\0\0\0".as_slice(), &[kind.len() as u8], kind].concat();
    greeting.extend([&[4, ready.len() as u8], ready.as_slice()].concat());
    greeting
}

/// A message in ZMTP's format: for each part its flags (1: more follow, 2: a long one), its length, and its bytes.
fn encoded(message: &Parts) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, part) in message.iter().enumerate() {
        let more = u8::from(number + 1 < message.len());
        match u8::try_from(part.len()) {
            Ok(length) => bytes.extend([more, length]),
            Err(_) => bytes.extend([&[more | 2], &(part.len() as u64).to_be_bytes()[..]].concat()),
        }
        bytes.extend_from_slice(part);
    }
    bytes
}

/// A line of a PandABox; a start is all lines of the header.
fn line(what: Say) -> Vec<u8> {
    match what {
        Say::Start(scan) => {
            format!("arm_time: 2023-12-19T07:51:{scan:02}.754Z\nmissed: 0\nfields:\n PCAP.BITS0 uint32 Value\n\n")
        }
        Say::Data(number) => format!(" {number} 12345\n"),
        Say::Large(number) => format!(" {number} {}\n", "1".repeat(LARGE)),
        Say::End(_) => "END 1 Ok\n".to_owned(),
    }
    .into_bytes()
}

/// A post of Sardana: its path, its body, and the expected event.
fn post(what: Say) -> (&'static str, String, Vec<u8>) {
    let (path, body, kind) = match what {
        Say::Start(scan) => {
            ("/v1/data_desc", format!(r#"{{"serialno":{scan},"scandir":"/d","title":"t"}}"#), "DataDescription")
        }
        Say::Data(number) => ("/v1/record_data", format!(r#"{{"timestamp":0.5,"point_nb":{number}}}"#), "RecordData"),
        Say::Large(number) => {
            let more = "1".repeat(LARGE);
            ("/v1/record_data", format!(r#"{{"timestamp":0.5,"point_nb":{number},"x":"{more}"}}"#), "RecordData")
        }
        Say::End(scan) => ("/v1/record_end", format!(r#"{{"scan":{scan}}}"#), "RecordEnd"),
    };
    let event = format!(r#"{{"type":"{kind}",{}"#, &body[1..]);
    (path, body, event.into_bytes())
}

fn request(what: Say) -> Vec<u8> {
    let (path, body, _) = post(what);
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}", body.len());
    format!("{head}\r\n\r\n{body}").into_bytes()
}

/// A PandABox's data port: a thread that greets every client until it is dropped. Data is sent to the latest client.
#[derive(Debug)]
struct PandaBox {
    /// The latest connection, and whether it was already used.
    newest: Arc<Mutex<(Option<TcpStream>, bool)>>,
    over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl PandaBox {
    fn start(host: Ipv4Addr, port: u16) -> Self {
        let listener = wait_for("its port", LIMIT, || TcpListener::bind((host, port)).ok());
        listener.set_nonblocking(true).expect("a socket can be told not to wait");
        let (newest, over) = (Arc::new(Mutex::new((None, false))), Arc::new(AtomicBool::new(false)));
        let (places, is_over) = (newest.clone(), over.clone());
        let thread = thread::spawn(move || {
            // Relaxed: only whether to continue is read.
            while !is_over.load(Ordering::Relaxed) {
                if listener.accept().and_then(|(stream, _)| greet(stream, &places)).is_err() {
                    thread::sleep(Duration::from_millis(1));
                }
            }
        });
        Self { newest, over, thread: Some(thread) }
    }

    /// The latest connection; if `new`, only one that was not used yet.
    fn newest(&self, new: bool) -> Option<TcpStream> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if new && std::mem::replace(&mut newest.1, true) {
            return None;
        }
        newest.0.as_ref().and_then(|stream| stream.try_clone().ok())
    }
}

impl Drop for PandaBox {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn greet(mut stream: TcpStream, newest: &Mutex<(Option<TcpStream>, bool)>) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.read_exact(&mut [0])?;
    // Under the lock, so that the client that was greeted last is the one that gets data.
    let mut newest = newest.lock().unwrap_or_else(PoisonError::into_inner);
    stream.write_all(b"OK\n")?;
    *newest = (Some(stream), false);
    Ok(())
}
