//! The admin endpoint's connections: few at a time, and none for long.
//!
//! Descriptors and memory are bounded, so a client that opens many connections, or sends and reads nothing, does not
//! harm the host. Nor does it keep others out: when all places are taken, the oldest connection ends. An answer takes
//! less than a millisecond, so a probe has its answer long before it is the oldest.

use std::{
    collections::VecDeque,
    future::Future as _,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Sleep, sleep},
};

/// A listening socket that accepts only while there is a free place.
pub(super) struct Connections {
    listener: TcpListener,
    /// Never closed. Dropping a [`Connection`] returns its permit.
    places: Arc<Semaphore>,
    /// Oldest first; dropping a sender ends its connection. Includes connections that have already ended.
    open: VecDeque<oneshot::Sender<()>>,
}

/// A connection, which fails when its time is over, or when it is the oldest and another one needs its place.
pub(super) struct Connection {
    stream: TcpStream,
    over: Pin<Box<Sleep>>,
    /// Completes when a younger connection needs the place.
    ended: oneshot::Receiver<()>,
    is_over: bool,
    _place: OwnedSemaphorePermit,
}

/// The address of the client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

impl Connected<IncomingStream<'_, Connections>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Connections>) -> Self {
        Self(*stream.remote_addr())
    }
}

impl Connections {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(PLACES)), open: VecDeque::new() }
    }
}

impl Listener for Connections {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        self.open.retain(|open| !open.is_closed());
        if self.places.available_permits() == 0 {
            self.open.pop_front();
        }
        let place = self.places.clone().acquire_owned().await.expect("it is never closed");
        let (open, ended) = oneshot::channel();
        self.open.push_back(open);
        (Connection { stream, over: Box::pin(sleep(LIFE)), ended, is_over: false, _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connection {
    /// Its stream while its time is not over; the task is woken when it is over.
    fn stream(&mut self, task: &mut Context<'_>) -> io::Result<Pin<&mut TcpStream>> {
        // A completed future may not be polled again.
        self.is_over =
            self.is_over || self.over.as_mut().poll(task).is_ready() || Pin::new(&mut self.ended).poll(task).is_ready();
        if self.is_over { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Pin::new(&mut self.stream)) }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, task: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream(task)?.poll_read(task, into)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream(task)?.poll_write(task, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream(task)?.poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream(task)?.poll_shutdown(task)
    }
}

/// Enough for a browser, scrapers, probes and people with `framegate status --watch`.
const PLACES: usize = 16;

/// Maximum life of a connection. An answer takes milliseconds; clients reconnect for more.
const LIFE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    async fn connections(count: usize) -> (Connections, SocketAddr, Vec<TcpStream>, Vec<Connection>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mut connections, mut clients, mut accepted) = (Connections::new(listener), Vec::new(), Vec::new());
        for _ in 0..count {
            clients.push(TcpStream::connect(address).await.unwrap());
            accepted.push(connections.accept().await.0);
        }
        (connections, address, clients, accepted)
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_ended_and_gives_its_place_back() {
        let (connections, _, _clients, mut accepted) = connections(PLACES).await;
        assert_eq!(connections.places.available_permits(), 0);
        let ended = accepted[0].read(&mut [0; 1]).await.unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
        accepted.clear();
        assert_eq!(connections.places.available_permits(), PLACES);
    }

    #[tokio::test]
    async fn when_all_places_are_taken_the_oldest_connection_ends_and_no_other() {
        let (mut connections, address, _clients, mut accepted) = connections(PLACES).await;
        let began = std::time::Instant::now();
        let _one_more = TcpStream::connect(address).await.unwrap();
        let mut oldest = accepted.remove(0);
        let ends = async move { oldest.read(&mut [0; 1]).await.unwrap_err().kind() };
        let ((mut youngest, _), ended) = tokio::join!(connections.accept(), ends);
        assert_eq!(ended, io::ErrorKind::TimedOut);
        assert!(began.elapsed() < LIFE, "it waited until the oldest was over anyway");
        for other in accepted.iter_mut().chain([&mut youngest]) {
            let waits = std::future::poll_fn(|task| Poll::Ready(other.stream(task).is_ok())).await;
            assert!(waits);
        }
    }
}
