//! The connection of one run: connect, greet, and reconnect when it breaks.
//!
//! Runs on the reader thread, inside the host's calls; nothing happens between them. Owns the socket. Never gives up,
//! never waits longer than the caller asks, and does not inspect the received bytes.
//!
//! ```text
//!   connecting ── connected, "OK" ──> open ── end of file, error ──> lost ── asked to ──> connecting, after a pause
//! ```

use std::{
    cell::RefCell,
    fmt, io,
    pin::Pin,
    rc::Rc,
    time::{Duration, Instant},
};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use framegate_plugin_api::{Connection, HostContext, LogLevel};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::{
    messages::{ANSWER, GREETING},
    settings::PcapRawSettings,
};

/// A connection, pending or open.
pub(crate) struct Link {
    settings: Rc<PcapRawSettings>,
    host: HostContext,
    /// The pauses between attempts. They keep growing until an arm has started, so that a server that accepts and then
    /// stays silent is not hurried. Shared with the future that connects.
    pauses: Rc<RefCell<ExponentialBackoff>>,
    state: State,
    /// When the state last became, or ceased to be, open.
    changed: Instant,
}

enum State {
    /// Kept across the host's calls, so that a call does not restart a slow connection attempt.
    Connecting(Pin<Box<dyn Future<Output = TcpStream>>>),
    Open(TcpStream),
    /// Between [`Read::Lost`] and [`Link::connect_again`].
    Lost,
}

/// Result of [`Link::read`].
pub(crate) enum Read {
    /// Number of bytes.
    Bytes(usize),
    /// Nothing is waiting.
    Nothing,
    /// The connection is lost; the caller passes the kind of end to [`Link::connect_again`].
    Lost,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// After a complete arm and before the next.
    Between,
    /// Anywhere else.
    Broken,
}

impl Link {
    /// Connects on the first wait.
    pub(crate) fn new(settings: Rc<PcapRawSettings>, host: HostContext) -> Self {
        let pauses = Rc::new(RefCell::new(pauses()));
        let state = State::Connecting(Box::pin(connect(settings.clone(), host.clone(), pauses.clone(), None)));
        Self { settings, host, pauses, state, changed: Instant::now() }
    }

    /// Connects if necessary, and returns when something can be read or right after connecting.
    pub(crate) async fn ready(&mut self) {
        match &mut self.state {
            State::Connecting(connecting) => {
                self.state = State::Open(connecting.as_mut().await);
                self.changed = Instant::now();
            }
            // The next read reports an error.
            State::Open(stream) => drop(stream.readable().await),
            State::Lost => std::future::pending().await,
        }
    }

    /// Reads what has arrived; never waits.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Read {
        let State::Open(stream) = &mut self.state else { return Read::Nothing };
        let why = match stream.try_read(buffer) {
            Ok(0) => "the server closed the connection".to_owned(),
            Ok(bytes) => return Read::Bytes(bytes),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return Read::Nothing;
            }
            Err(error) => format!("the connection broke: {error}"),
        };
        self.host.log(LogLevel::Info, format!("{}: {why}; reconnecting after a pause", self.settings.upstream_url));
        self.state = State::Lost;
        self.changed = Instant::now();
        Read::Lost
    }

    /// Reconnects after a pause.
    pub(crate) fn connect_again(&mut self, ending: Ending) {
        let pause = match ending {
            Ending::Between => Some(self.settings.pause_after_end.0),
            Ending::Broken => self.pauses.borrow_mut().next(),
        };
        let connecting = connect(self.settings.clone(), self.host.clone(), self.pauses.clone(), pause);
        self.state = State::Connecting(Box::pin(connecting));
    }

    /// Whether the PandABox is connected and has answered.
    pub(crate) fn connection(&self) -> Connection {
        let (since, address) = (self.changed, Some(self.settings.upstream_url.to_string()));
        match self.state {
            State::Open(_) => Connection::Yes { since, address },
            State::Connecting(_) | State::Lost => Connection::No { since, address },
        }
    }

    /// An arm has started: the server works, so the next reconnect is soon again.
    pub(crate) fn serves(&mut self) {
        *self.pauses.borrow_mut() = pauses();
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = matches!(self.state, State::Open(_));
        f.debug_struct("Link")
            .field("upstream_url", &self.settings.upstream_url)
            .field("open", &open)
            .finish_non_exhaustive()
    }
}

/// Tries until a server answers the greeting; logs the reason for a failure once.
async fn connect(
    settings: Rc<PcapRawSettings>,
    host: HostContext,
    pauses: Rc<RefCell<ExponentialBackoff>>,
    mut pause: Option<Duration>,
) -> TcpStream {
    let mut told = false;
    loop {
        if let Some(pause) = pause {
            sleep(pause).await;
        }
        match attempt(&settings).await {
            Ok(stream) => {
                host.log(LogLevel::Info, format!("connected to {}", settings.upstream_url));
                return stream;
            }
            Err(problem) if !told => {
                told = true;
                let url = &settings.upstream_url;
                host.log(LogLevel::Warn, format!("{url}: {problem}; retrying in the background"));
            }
            Err(_) => {}
        }
        pause = pauses.borrow_mut().next();
    }
}

/// One attempt: connection, greeting, answer.
async fn attempt(settings: &PcapRawSettings) -> Result<TcpStream, String> {
    let limit = settings.handshake_timeout.0;
    let mut stream = timeout(limit, TcpStream::connect((settings.upstream_url.host(), settings.upstream_url.port())))
        .await
        .map_err(|_| format!("no connection within {} ms", limit.as_millis()))?
        .map_err(|error| format!("cannot connect: {error}"))?;
    // A PandABox that loses power does not close the connection; keep-alive detects it, so that framegate reconnects.
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10)).with_retries(3);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive).map_err(|error| format!("an option was refused: {error}"))?;

    let greeted = timeout(limit, async {
        stream.write_all(GREETING).await?;
        // Read not a byte more: data follows.
        let mut answer = [0; ANSWER.len()];
        stream.read_exact(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    });
    match greeted.await {
        Ok(Ok(answer)) if answer == ANSWER => Ok(stream),
        Ok(Ok(answer)) => Err(format!(
            "it answers {:?} instead of \"OK\\n\"; is this the data port of a PandABox (8889)?",
            String::from_utf8_lossy(&answer)
        )),
        Ok(Err(error)) => Err(format!("the greeting was not answered: {error}")),
        Err(_) => Err(format!("the greeting was not answered within {} ms", limit.as_millis())),
    }
}

fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::default().with_min_delay(FIRST_PAUSE).with_max_delay(LAST_PAUSE).without_max_times().build()
}

/// Short, so that a PandABox that is started late is found soon.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// An attempt on a closed port costs a packet or two.
const LAST_PAUSE: Duration = Duration::from_secs(1);
