//! The admin endpoint's connections: few at a time, and none for long.
//!
//! A client that opens many, or sends and reads nothing, costs other clients of the endpoint some time, and the host nothing:
//! descriptors and memory are bounded.

use std::{
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
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep},
};

/// A listening socket that accepts only as long as there is a place.
pub(super) struct Connections {
    listener: TcpListener,
    /// Never closed. Given back by the drop of a [`Connection`].
    places: Arc<Semaphore>,
}

/// A connection, which fails when its time is over.
pub(super) struct Connection {
    stream: TcpStream,
    over: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

impl Connected<IncomingStream<'_, Connections>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Connections>) -> Self {
        Self(*stream.remote_addr())
    }
}

impl Connections {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(PLACES)) }
    }
}

impl Listener for Connections {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let place = self.places.clone().acquire_owned().await.expect("it is never closed");
        let (stream, address) = Listener::accept(&mut self.listener).await;
        (Connection { stream, over: Box::pin(sleep(LIFE)), _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connection {
    /// Its stream while its time is not over; wakes the task when it is.
    fn stream(&mut self, task: &mut Context<'_>) -> io::Result<Pin<&mut TcpStream>> {
        match self.over.as_mut().poll(task) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(Pin::new(&mut self.stream)),
        }
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

/// A browser, a scraper, a probe and a person with `framegate status --watch`, twice.
const PLACES: usize = 8;

/// An answer takes milliseconds; who comes again comes by a new connection.
const LIFE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silent_clients_are_few_and_give_their_places_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut connections = Connections::new(listener);
        let mut clients = Vec::new();
        let mut accepted = Vec::new();
        for _ in 0..PLACES {
            clients.push(TcpStream::connect(address).await.unwrap());
            accepted.push(connections.accept().await.0);
        }
        let _one_more = TcpStream::connect(address).await.unwrap();
        assert!(tokio::time::timeout(LIFE / 2, connections.accept()).await.is_err());
        let ended = accepted[0].read(&mut [0; 1]).await.unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
        accepted.clear();
        connections.accept().await;
    }
}
