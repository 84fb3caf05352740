//! Serves an axum router over HTTP/1.1 within [`Limits`]: connections, their time, and the size of a request's head.
//!
//! Clients may be anybody, so none of them takes all descriptors or memory. The handlers limit bodies: they know what
//! belongs in them. hyper limits time and size; this crate counts the connections.
#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque, convert::Infallible, future::poll_fn, io, net::SocketAddr, task::Poll, time::Duration,
};

use axum::Router;
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};

/// What clients may use.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Number of connections that are served at the same time; at least 1. Further clients wait.
    pub connections: usize,
    /// Further clients do not wait: the oldest connection ends for each.
    pub end_oldest: bool,
    /// Maximum time until a request's head is complete, from the connection's begin or the previous answer.
    pub idle: Duration,
    /// Maximum lifetime of a connection, if it has one.
    pub life: Option<Duration>,
}

/// Serves the listeners, at least one. Each request has its client's [`SocketAddr`] in its extensions. Dropping the
/// future ends all connections and closes the listeners.
///
/// # Errors
/// The machine refuses to watch a listener.
///
/// # Panics
/// It is not called on a tokio runtime with I/O and time.
pub fn serve(
    listeners: impl IntoIterator<Item = std::net::TcpListener>,
    router: Router,
    limits: Limits,
) -> io::Result<impl Future<Output = Infallible> + Send> {
    let watch = |listener: std::net::TcpListener| {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    let mut listeners = listeners.into_iter().map(watch).collect::<io::Result<Vec<_>>>()?;
    Ok(async move {
        let mut open = Connections { tasks: JoinSet::new(), by_age: VecDeque::new(), limits };
        let router = TowerToHyperService::new(router);
        let mut told = false;
        loop {
            if !open.limits.end_oldest {
                open.place().await;
            }
            match accept(&mut listeners).await {
                Ok((stream, peer)) => {
                    if open.limits.end_oldest {
                        open.place().await;
                    }
                    open.serve(stream, peer, router.clone());
                }
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!("an HTTP connection cannot be accepted: {error}; trying again");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    })
}

/// The next connection of any listener.
async fn accept(listeners: &mut [TcpListener]) -> io::Result<(TcpStream, SocketAddr)> {
    // So that a busy listener does not keep the others waiting.
    listeners.rotate_left(1);
    poll_fn(|task| {
        listeners.iter().map(|listener| listener.poll_accept(task)).find(Poll::is_ready).unwrap_or(Poll::Pending)
    })
    .await
}

/// The connections that are served.
struct Connections {
    tasks: JoinSet<()>,
    /// Oldest first. Includes connections that have ended since the last one was accepted.
    by_age: VecDeque<AbortHandle>,
    limits: Limits,
}

impl Connections {
    /// Waits for a place, or ends a connection for it.
    async fn place(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        self.by_age.retain(|connection| !connection.is_finished());
        if self.limits.end_oldest
            && self.by_age.len() >= self.limits.connections
            && let Some(oldest) = self.by_age.pop_front()
        {
            oldest.abort();
        }
        while self.tasks.len() >= self.limits.connections {
            self.tasks.join_next().await;
        }
    }

    fn serve(&mut self, stream: TcpStream, peer: SocketAddr, router: TowerToHyperService<Router>) {
        let with_peer = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            router.call(request)
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.idle)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(stream), with_peer);
        let life = self.limits.life.unwrap_or(Duration::MAX);
        // A broken connection concerns only its client.
        let connection = self.tasks.spawn(async move { drop(timeout(life, served).await) });
        self.by_age.push_back(connection);
    }
}

/// Bytes of a request line and its headers; clients send some hundred bytes.
const MAX_HEAD: usize = 64 << 10;

/// Maximum number of headers; clients send about ten.
const MAX_HEADERS: usize = 64;

/// Pause after an error such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
