//! A network with faults that a test controls: forwards TCP with a delay, slowly, not at all, or no longer.
//!
//! One thread accepts; two threads serve each direction of a connection: one reads, the other writes when it is due. A
//! change takes effect at once, also for bytes in transit. Each direction holds at most a mebibyte and then stops
//! reading, as a network does. Only loopback.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use socket2::SockRef;

/// See the module. Dropping it closes everything.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    faults: Arc<Faults>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Faults {
    /// Whether the proxy was dropped.
    ended: AtomicBool,
    refuses: AtomicBool,
    /// In each direction, in microseconds.
    delay: AtomicU64,
    /// Bytes per second in each direction; 0: unlimited.
    rate: AtomicU64,
    /// The threads own the connections; when these threads end, a connection is closed.
    connections: Mutex<Vec<Weak<Connection>>>,
}

#[derive(Debug)]
struct Connection {
    client: TcpStream,
    server: TcpStream,
    held: AtomicBool,
    /// Closed: nothing more is read or written.
    cut: AtomicBool,
}

impl Proxy {
    /// Forwards to this loopback port, at first without faults.
    ///
    /// # Panics
    /// No port is free.
    #[must_use]
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let faults = Arc::new(Faults::default());
        let for_thread = faults.clone();
        let accepting = thread::spawn(move || {
            for client in listener.incoming() {
                if for_thread.ended.load(Ordering::Relaxed) {
                    return;
                }
                if let Ok(client) = client {
                    for_thread.accept(client, port);
                }
            }
        });
        Self { address, faults, accepting: Some(accepting) }
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Delays bytes by this time, in each direction.
    pub fn delay(&self, delay: Duration) {
        let delay = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.faults.delay.store(delay, Ordering::Relaxed); // the threads read it for each chunk
    }

    /// Forwards at most this many bytes per second, on each connection and in each direction; `None`: unlimited.
    pub fn rate(&self, bytes: Option<u64>) {
        self.faults.rate.store(bytes.unwrap_or(0), Ordering::Relaxed); // as `delay`
    }

    /// Forwards nothing on the existing connections: no bytes, and no close. Each side sees a silent peer; if a peer
    /// dies, the connection is half open. New connections are served.
    pub fn hold(&self) {
        self.faults.each(|one| one.held.store(true, Ordering::Relaxed));
    }

    /// Forwards the held bytes, and continues.
    pub fn release(&self) {
        self.faults.each(|one| one.held.store(false, Ordering::Relaxed));
    }

    /// Resets all existing connections, on both sides. Bytes in transit are lost.
    pub fn cut(&self) {
        self.faults.each(Connection::reset);
    }

    /// Resets new connections at once, or stops doing so.
    pub fn refuse(&self, refuses: bool) {
        self.faults.refuses.store(refuses, Ordering::Relaxed); // read at the next connection
    }

    /// Number of open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        let mut count = 0;
        self.faults.each(|one| count += usize::from(!one.cut.load(Ordering::Relaxed)));
        count
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.faults.ended.store(true, Ordering::Relaxed); // the connection below is made afterwards
        self.cut();
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl Faults {
    fn connections(&self) -> MutexGuard<'_, Vec<Weak<Connection>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `what` for each existing connection.
    fn each(&self, mut what: impl FnMut(&Connection)) {
        self.connections().retain(|one| one.upgrade().inspect(|one| what(one)).is_some());
    }

    fn accept(self: &Arc<Self>, client: TcpStream, port: u16) {
        // Held while connecting, so that every served connection is in the list.
        let mut connections = self.connections();
        let server = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), Duration::from_secs(1));
        let server = match server {
            Ok(server) if !self.refuses.load(Ordering::Relaxed) => server,
            _ => return reset_on_close(&client),
        };
        for side in [&client, &server] {
            let _ = (side.set_nodelay(true), side.set_read_timeout(Some(LOOK)), side.set_write_timeout(Some(LOOK)));
        }
        let connection = Connection { client, server, held: false.into(), cut: false.into() };
        let connection = Arc::new(connection);
        connections.push(Arc::downgrade(&connection));
        for to_server in [true, false] {
            let (sender, receiver) = sync_channel(CHUNKS);
            let (one, faults) = (connection.clone(), self.clone());
            thread::spawn(move || one.read(to_server, &faults, &sender));
            let (one, faults) = (connection.clone(), self.clone());
            thread::spawn(move || one.write(to_server, &faults, &receiver));
        }
    }
}

/// When bytes may be written, and the bytes. `None` at the end.
type Chunk = (Instant, Vec<u8>);

impl Connection {
    fn side(&self, server: bool) -> &TcpStream {
        if server { &self.server } else { &self.client }
    }

    fn read(&self, to_server: bool, faults: &Faults, chunks: &SyncSender<Chunk>) {
        let mut from = self.side(!to_server);
        let mut buffer = vec![0; CHUNK];
        loop {
            self.wait_while_held();
            if self.cut.load(Ordering::Relaxed) {
                return;
            }
            let read = match from.read(&mut buffer) {
                Err(error) if is_nothing_yet(&error) => continue,
                Ok(read @ 1..) => read,
                // The channel ends, and with it the writing.
                Ok(0) => return,
                Err(_) => return self.reset(),
            };
            let due = Instant::now() + Duration::from_micros(faults.delay.load(Ordering::Relaxed));
            if chunks.send((due, buffer[..read].to_vec())).is_err() {
                return;
            }
        }
    }

    fn write(&self, to_server: bool, faults: &Faults, chunks: &Receiver<Chunk>) {
        while !self.cut.load(Ordering::Relaxed) {
            let (due, bytes) = match chunks.recv_timeout(LOOK) {
                Ok(chunk) => chunk,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            thread::sleep(due.saturating_duration_since(Instant::now()));
            self.wait_while_held();
            if !self.write_all(to_server, &bytes) {
                return self.reset();
            }
            let rate = faults.rate.load(Ordering::Relaxed);
            let micros = (bytes.len() as u64 * 1_000_000).checked_div(rate).unwrap_or(0);
            thread::sleep(Duration::from_micros(micros));
        }
        self.wait_while_held();
        if self.cut.load(Ordering::Relaxed) {
            return; // a reset, not an end
        }
        let _ = self.side(to_server).shutdown(Shutdown::Write);
        // Closed in both directions, so the connection is over.
        if !to_server {
            self.cut.store(true, Ordering::Relaxed);
        }
    }

    fn write_all(&self, to_server: bool, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() && !self.cut.load(Ordering::Relaxed) {
            match self.side(to_server).write(bytes) {
                Err(error) if is_nothing_yet(&error) => {}
                Ok(written @ 1..) => bytes = &bytes[written..],
                Ok(0) | Err(_) => return false,
            }
        }
        bytes.is_empty()
    }

    fn wait_while_held(&self) {
        while self.held.load(Ordering::Relaxed) && !self.cut.load(Ordering::Relaxed) {
            thread::sleep(LOOK);
        }
    }

    /// The last of its threads closes it after its next check.
    fn reset(&self) {
        reset_on_close(&self.client);
        reset_on_close(&self.server);
        self.cut.store(true, Ordering::Relaxed); // the threads check it all the time
    }
}

/// Closing it then sends a reset to the other side, and unsent bytes are lost.
fn reset_on_close(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

fn is_nothing_yet(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// Bytes per read.
const CHUNK: usize = 16 << 10;
/// Chunks in transit per direction.
const CHUNKS: usize = 64;
/// How often a waiting thread checks whether to stop.
const LOOK: Duration = Duration::from_millis(5);
