//! One monitored connection to Redis: the time of its last traffic, the size of the answer, and the last error of Redis.
//!
//! An answer may take as long as it needs while bytes arrive; only silence ends it. A slow network or a large value is not
//! a fault.

use std::{
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue, Pipeline, RedisError, RedisResult,
    aio::MultiplexedConnection,
};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream, lookup_host},
    task::JoinSet,
    time::Instant,
};
use tokio_rustls::TlsConnector;

use super::secrets::Keys;

/// Maximum size of an answer: larger than any known parameter of a beamline, including a detector's mask in double
/// precision.
pub(super) const MOST: usize = 256 << 20;
/// If nothing arrives or leaves for a blocking read's time plus this, while an answer is due, the connection is dead.
pub(super) const SILENCE: Duration = Duration::from_secs(3);
/// Time limit for connecting, with handshakes.
const CONNECT: Duration = Duration::from_secs(2);
/// Enough for the key and the id before the data of a stream's entry.
const BEGINNING: usize = 512;
/// Maximum length of an error message of Redis.
const LONGEST_ERROR: usize = 400;

/// See the module. Its drop closes it.
#[derive(Debug)]
pub(super) struct Wire {
    connection: MultiplexedConnection,
    monitor: Monitor,
    /// Performs the I/O; ends with this value.
    _driver: JoinSet<()>,
}

/// What is known about the connection. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Monitor(Arc<Mutex<Traffic>>);

#[derive(Debug)]
struct Traffic {
    /// Time of the last traffic, either way.
    moved: Instant,
    /// Number of bytes received since the last command.
    bytes: usize,
    /// The first of these bytes.
    beginning: Vec<u8>,
    /// Maximum number of bytes.
    most: usize,
    /// Redis' last error: the answer to the last command, or sent before the first.
    last_error: Option<String>,
    /// Whether a command was sent.
    asked: bool,
}

impl Wire {
    /// Connects. On failure, `monitor` contains what Redis sent.
    pub(super) async fn connect(info: &ConnectionInfo, keys: Keys, monitor: &Monitor) -> RedisResult<Self> {
        let connect = async {
            match info.addr() {
                ConnectionAddr::Tcp(host, port) => Self::greet(info, keys, tcp(host, *port).await?, monitor).await,
                ConnectionAddr::TcpTls { host, port, .. } => {
                    let missing = || io::Error::other("there is no configuration of TLS");
                    let connector = TlsConnector::from(keys.tls.clone().ok_or_else(missing)?);
                    let name = ServerName::try_from(host.as_str()).map_err(io::Error::other)?.to_owned();
                    let stream = connector.connect(name, tcp(host, *port).await?).await?;
                    Self::greet(info, keys, stream, monitor).await
                }
                ConnectionAddr::Unix(path) => Self::greet(info, keys, UnixStream::connect(path).await?, monitor).await,
                _ => Err(io::Error::other("this kind of address is not known").into()),
            }
        };
        tokio::time::timeout(CONNECT, connect).await.unwrap_or_else(|_| Err(timed_out(CONNECT)))
    }

    async fn greet<S>(info: &ConnectionInfo, keys: Keys, stream: S, monitor: &Monitor) -> RedisResult<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut settings = info.redis_settings().clone();
        if let Some(password) = keys.password {
            settings = settings.set_password(password);
        }
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let stream = MonitoredStream { stream, monitor: monitor.clone() };
        let (connection, driver) = MultiplexedConnection::new_with_config(&settings, stream, config).await?;
        let mut driving = JoinSet::new();
        driving.spawn(driver);
        Ok(Self { connection, monitor: monitor.clone(), _driver: driving })
    }

    /// Sends one command; its answer may have `most` bytes.
    pub(super) async fn ask<T: FromRedisValue>(&mut self, command: &Cmd, most: usize) -> RedisResult<T> {
        self.monitor.asked(most);
        self.monitor.unless_silent(command.query_async(&mut self.connection)).await
    }

    /// The same for several commands at once.
    pub(super) async fn ask_all(&mut self, commands: &Pipeline) -> RedisResult<()> {
        self.monitor.asked(MOST);
        self.monitor.unless_silent(commands.query_async(&mut self.connection)).await
    }
}

/// Connects to the first address of the host that answers.
async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut tries: JoinSet<_> = lookup_host((host, port)).await?.map(TcpStream::connect).collect();
    let mut outcome = Err(io::Error::new(io::ErrorKind::NotFound, "its name has no address"));
    while outcome.is_err()
        && let Some(next) = tries.join_next().await
    {
        outcome = next?;
    }
    outcome.and_then(|stream| stream.set_nodelay(true).map(|()| stream))
}

fn timed_out(after: Duration) -> RedisError {
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer for {after:?} (timed out)")).into()
}

impl Monitor {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Traffic {
            moved: Instant::now(),
            bytes: 0,
            beginning: Vec::new(),
            most: MOST,
            last_error: None,
            asked: false,
        })))
    }

    /// Redis' last error, if nothing followed it.
    pub(super) fn last_error(&self) -> Option<String> {
        self.with(|traffic| traffic.last_error.clone())
    }

    /// The limit of the last answer, if the answer was aborted because it exceeded the limit.
    pub(super) fn too_large(&self) -> Option<usize> {
        self.with(|traffic| (traffic.bytes > traffic.most).then_some(traffic.most))
    }

    /// The first [`BEGINNING`] bytes of the last answer.
    pub(super) fn beginning(&self) -> Vec<u8> {
        self.with(|traffic| traffic.beginning.clone())
    }

    fn with<T>(&self, what: impl FnOnce(&mut Traffic) -> T) -> T {
        what(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn asked(&self, most: usize) {
        self.with(|traffic| {
            (traffic.moved, traffic.bytes, traffic.most) = (Instant::now(), 0, most);
            traffic.beginning.clear();
            if std::mem::replace(&mut traffic.asked, true) {
                traffic.last_error = None;
            }
        });
    }

    fn moved(&self) {
        self.with(|traffic| traffic.moved = Instant::now());
    }

    fn came(&self, bytes: &[u8]) -> io::Result<()> {
        self.with(|traffic| {
            traffic.moved = Instant::now();
            // The first byte of an answer is its type. Later bytes may be anything, also secret.
            if traffic.bytes == 0 {
                traffic.last_error = error(bytes);
            }
            traffic.bytes += bytes.len();
            let missing = BEGINNING - traffic.beginning.len();
            traffic.beginning.extend_from_slice(&bytes[..bytes.len().min(missing)]);
            match traffic.bytes > traffic.most {
                true => Err(io::Error::other(format!("an answer has more than {} bytes", traffic.most))),
                false => Ok(()),
            }
        })
    }

    /// The outcome, or an error if nothing moves for [`SILENCE`].
    async fn unless_silent<T>(&self, outcome: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
        let mut outcome = pin!(outcome);
        loop {
            let due = self.with(|traffic| traffic.moved) + SILENCE;
            if let Ok(outcome) = tokio::time::timeout_at(due, &mut outcome).await {
                return outcome;
            }
            if self.with(|traffic| traffic.moved) + SILENCE <= Instant::now() {
                return Err(timed_out(SILENCE));
            }
        }
    }
}

/// The error at the beginning of an answer.
fn error(answer: &[u8]) -> Option<String> {
    let line = answer.strip_prefix(b"-")?.split(|byte| matches!(byte, b'\r' | b'\n')).next()?;
    Some(String::from_utf8_lossy(&line[..line.len().min(LONGEST_ERROR)]).into_owned())
}

/// A stream monitored by [`Monitor`].
struct MonitoredStream<S> {
    stream: S,
    monitor: Monitor,
}

impl<S: AsyncRead + Unpin> AsyncRead for MonitoredStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let came = &buffer.filled()[before..];
        Poll::Ready(if came.is_empty() { Ok(()) } else { self.monitor.came(came) })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for MonitoredStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        match &written {
            Ok(_) => self.monitor.moved(),
            // Redis has closed the connection. It may have sent the reason, which nobody else would read any more.
            Err(_) => {
                let mut last = [0; LONGEST_ERROR];
                let mut last = ReadBuf::new(&mut last);
                if let Poll::Ready(Ok(())) = Pin::new(&mut self.stream).poll_read(cx, &mut last)
                    && !last.filled().is_empty()
                {
                    let _ = self.monitor.came(last.filled());
                }
            }
        }
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
