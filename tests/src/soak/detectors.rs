//! The detectors of all sources: each sends the run in the plan, and knows the expected events.
//!
//! A detector lives for one scan, with the same address in each scan. It is present before the scan starts.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail, ensure};
use serde_json::{Value, json};

use super::plan::{SOURCES, StreamPlan};
use crate::{
    process::free_port,
    protocols::{self, Parts, Protocol, wait_for_subscription},
};

/// The address of each detector; for Sardana, the receiver's address.
#[derive(Debug)]
pub struct Addresses([u16; SOURCES.len()]);

impl Default for Addresses {
    fn default() -> Self {
        Self(SOURCES.map(|_| free_port()))
    }
}

impl Addresses {
    /// The port of a source.
    #[must_use]
    pub fn port(&self, source: &str) -> u16 {
        let at = SOURCES.iter().position(|known| *known == source);
        self.0[at.unwrap_or_default()]
    }

    /// The settings of a source.
    #[must_use]
    pub fn settings(&self, source: &str) -> Value {
        match source {
            "sardana" => json!({ "port": self.port(source) }),
            // Each detector is present before its scan, but on a busy machine connecting may take longer than 250 ms.
            _ => json!({ "upstream_url": format!("tcp://127.0.0.1:{}", self.port(source)), "connect_wait": "1 s" }),
        }
    }
}

/// A detector before its run. Created before the scan starts.
#[derive(Debug)]
pub struct Detector {
    link: Link,
    /// The messages for each event.
    sends: Vec<Vec<Parts>>,
    /// The expected events.
    pub events: Vec<Parts>,
    /// Number of events to send.
    handed_over: usize,
}

enum Link {
    Zmq(zmq::Socket),
    Tcp(Listening),
    /// The port of the receiver.
    Http(u16),
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Zmq(_) => "Zmq",
            Self::Tcp(_) => "Tcp",
            Self::Http(_) => "Http",
        })
    }
}

impl Detector {
    /// The detector of a stream in this scan; if not `patient`, it gives up soon when no receiver takes its messages.
    ///
    /// # Errors
    /// Its port cannot be bound.
    pub fn new(plan: &StreamPlan, scan: u32, port: u16, patient: bool) -> anyhow::Result<Self> {
        let protocol = protocols::ALL.into_iter().find(|protocol| protocol.name == plan.source);
        let (link, sends, events) = match (&protocol, plan.source) {
            (Some(protocol), _) => {
                let sends = zmq_run(protocol, plan, scan);
                let events = sends.iter().map(|messages| protocol.event(messages)).collect();
                (Link::Zmq(bind(protocol, port, if patient { LIMIT } else { IMPATIENCE })?), sends, events)
            }
            (None, "pcap-raw") => {
                let sends = lines(plan, scan);
                // An event has one frame, regardless of the reads its lines arrive in.
                let events = sends.iter().map(|lines| vec![lines.concat().concat()]).collect();
                (Link::Tcp(Listening::new(port)?), sends, events)
            }
            (None, _) => {
                let posts = posts(plan, scan);
                let events = posts.iter().map(|(_, _, event)| vec![event.clone().into_bytes()]).collect();
                let sends = posts.into_iter().map(|(path, body, _)| vec![vec![path.into(), body.into_bytes()]]);
                (Link::Http(port), sends.collect(), events)
            }
        };
        Ok(Self { link, sends, events, handed_over: plan.handed_over() })
    }

    /// Sends its events, and returns when the network has them. Returns the connection if the detector keeps it until
    /// the next scan.
    ///
    /// # Errors
    /// No receiver takes them.
    pub fn run(self) -> anyhow::Result<Option<TcpStream>> {
        let sends = &self.sends[..self.handed_over];
        match self.link {
            Link::Zmq(socket) => {
                // After it is open, a source gives the subscription 10 ms to arrive. A busy machine may need longer.
                if socket.get_socket_type()? == zmq::XPUB {
                    wait_for_subscription(&socket).context("nobody subscribes")?;
                }
                for parts in sends.iter().flatten() {
                    socket.send_multipart(parts, 0).context("nobody takes what the detector sends")?;
                }
                // Dropping the socket waits until everything is in the network.
            }
            Link::Tcp(mut listening) => {
                let mut stream = listening.greeted()?;
                sends.iter().flatten().flatten().try_for_each(|part| stream.write_all(part))?;
                // A PandABox keeps the connection open, even after an arm.
                return Ok(Some(stream));
            }
            Link::Http(port) => {
                let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("Sardana's receiver")?;
                connection.set_read_timeout(Some(LIMIT))?;
                for post in sends.iter().flatten() {
                    ask(&mut connection, &post[0], &post[1])?;
                }
            }
        }
        Ok(None)
    }
}

/// A PandABox's port: a thread owns the port and greets every client at once.
struct Listening {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<anyhow::Result<TcpStream>>>,
}

impl Listening {
    fn new(port: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let for_thread = is_over.clone();
        let thread = thread::spawn(move || {
            while !for_thread.load(Ordering::Relaxed) {
                let greeted = listener.accept().map_err(anyhow::Error::from).and_then(|(stream, _)| greet(stream));
                // A broken connection is followed by another.
                let Ok(stream) = greeted else {
                    thread::sleep(LOOK);
                    continue;
                };
                return Ok(stream);
            }
            bail!("nobody connects")
        });
        Ok(Self { is_over, thread: Some(thread) })
    }

    /// The first greeted connection.
    fn greeted(&mut self) -> anyhow::Result<TcpStream> {
        let thread = self.thread.take().context("it is asked once")?;
        let deadline = Instant::now() + LIMIT;
        while !thread.is_finished() {
            if Instant::now() > deadline {
                self.is_over.store(true, Ordering::Relaxed); // the thread checks it all the time
            }
            thread::sleep(LOOK);
        }
        thread.join().map_err(|_| anyhow!("the greeting panics"))?
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed); // as above
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn greet(mut stream: TcpStream) -> anyhow::Result<TcpStream> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut greeting = String::new();
    BufReader::new(&stream).read_line(&mut greeting)?;
    ensure!(greeting == "\n", "no greeting: {greeting:?}");
    stream.write_all(b"OK\n")?;
    Ok(stream)
}

fn bind(protocol: &Protocol, port: u16, patience: Duration) -> anyhow::Result<zmq::Socket> {
    let socket = protocol.socket();
    let patience = i32::try_from(patience.as_millis())?;
    socket.set_linger(patience)?;
    socket.set_sndtimeo(patience)?;
    socket.set_rcvtimeo(patience)?;
    socket.bind(&format!("tcp://127.0.0.1:{port}")).context("a detector's port")?;
    Ok(socket)
}

fn zmq_run(protocol: &Protocol, plan: &StreamPlan, scan: u32) -> Vec<Vec<Parts>> {
    let data = plan.events.iter().zip(0..).map(|(bytes, number)| {
        let more = format!(r#""scan":{scan},"pad":"{}""#, "x".repeat(*bytes));
        (protocol.data)(number, &more)
    });
    std::iter::once((protocol.start)(scan)).chain(data).chain([(protocol.end)(scan)]).collect()
}

fn lines(plan: &StreamPlan, scan: u32) -> Vec<Vec<Parts>> {
    let header = "arm_time: 2023-12-19T07:51:12.754Z\nmissed: 0\nfields:\n PCAP.BITS0 uint32 Value\n\n".to_owned();
    let data =
        plan.events.iter().enumerate().map(|(number, bytes)| format!(" {scan} {number} 0.{}\n", "5".repeat(bytes + 1)));
    let end = format!("END {} Disarmed\n", plan.events.len());
    std::iter::once(header).chain(data).chain([end]).map(|text| vec![vec![text.into_bytes()]]).collect()
}

/// The path and body of each post, and its event.
fn posts(plan: &StreamPlan, scan: u32) -> Vec<(&'static str, String, String)> {
    let post = |path, kind, fields: String| {
        let comma = if fields.is_empty() { "" } else { "," };
        (path, format!("{{{fields}}}"), format!(r#"{{"type":"{kind}"{comma}{fields}}}"#))
    };
    let start = post("data_desc", "DataDescription", format!(r#""serialno":{scan},"scandir":"/data","title":"ascan""#));
    let data = plan.events.iter().enumerate().map(|(number, bytes)| {
        let fields = format!(r#""timestamp":{number}.5,"scan":{scan},"pad":"{}""#, "x".repeat(*bytes));
        post("record_data", "RecordData", fields)
    });
    let end = post("record_end", "RecordEnd", String::new());
    std::iter::once(start).chain(data).chain([end]).collect()
}

fn ask(connection: &mut TcpStream, path: &[u8], body: &[u8]) -> anyhow::Result<()> {
    let (path, length) = (String::from_utf8_lossy(path), body.len());
    let head = format!("POST /v1/{path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n");
    connection.write_all(format!("{head}content-length: {length}\r\n\r\n").as_bytes())?;
    connection.write_all(body)?;
    let mut answer = Vec::new();
    // `null` is the body of every answer that accepts a post.
    while !answer.ends_with(b"\r\n\r\nnull") {
        let mut bytes = [0; 1024];
        match connection.read(&mut bytes)? {
            0 => bail!("{path}: {}", String::from_utf8_lossy(&answer)),
            read => answer.extend_from_slice(&bytes[..read]),
        }
    }
    ensure!(answer.starts_with(b"HTTP/1.1 200"), "{path}: {}", String::from_utf8_lossy(&answer));
    Ok(())
}

/// Limit for every step: longer than any fault.
const LIMIT: Duration = Duration::from_secs(30);
const IMPATIENCE: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(5);
