//! The admin endpoint: status, metrics and health over HTTP; and swaps of sources, in [`swap`](super::swap).
//!
//! Runs on the control runtime; owns its listening socket. It is bound before the host publishes anything, so that an
//! address in use is an error at the start. Connections are few, and short: a client that opens many, or sends and reads
//! nothing, does not harm the host, and does not keep others out.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::{get, post},
};
use framegate_http_server::{Limits, serve};
use serde_json::{Value, json};

use super::{
    faults::hindrances,
    metrics,
    status::{Observer, Status},
    swap::{self, Gate},
};
use crate::settings::{ADMIN_PORTS, AdminSwap};

/// Number of further ports that are tried.
const SEARCHED: u16 = *ADMIN_PORTS.end() - *ADMIN_PORTS.start();

/// A bound endpoint that does not answer yet.
#[derive(Debug)]
pub(crate) struct Admin(TcpListener);

impl Admin {
    /// Binds the address; with `search`, the next free port if it is taken.
    ///
    /// # Errors
    /// The problem and what to do, for a person.
    pub(crate) fn bind(address: SocketAddr, search: bool) -> Result<Self, String> {
        let last = if search { address.port().saturating_add(SEARCHED) } else { address.port() };
        let mut ports = address.port()..=last;
        loop {
            // The range is not empty before its last port.
            let port = ports.next().unwrap_or(last);
            match TcpListener::bind(SocketAddr::new(address.ip(), port)) {
                Ok(listener) => return Ok(Self(listener)),
                Err(problem) if problem.kind() == io::ErrorKind::AddrInUse && port < last => {}
                Err(problem) => {
                    let to = if search { format!(" to {last}") } else { String::new() };
                    return Err(format!(
                        "admin: {address}{to} cannot be bound: {problem}\n  stop the program that uses it (`ss -ltnp` \
                         names it), or set `admin` to another address or to \"off\""
                    ));
                }
            }
        }
    }

    /// The bound address.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.0.local_addr().ok()
    }

    /// Serves requests until the runtime ends.
    pub(crate) async fn serve(self, observer: Observer, may_swap: AdminSwap) {
        let routes = Router::new()
            .route(
                "/",
                get(|| async { "framegate: /status (JSON), /metrics (OpenMetrics), /health, /ready, /swaps\n" }),
            )
            .route("/status", get(status))
            .route("/metrics", get(metrics))
            .route("/health", get(health))
            .route("/ready", get(ready))
            .with_state(observer.clone());
        let gate = Gate { swaps: observer.swaps().clone(), may_swap };
        let swaps = Router::new()
            .route("/swaps", post(swap::ask).get(swap::all))
            .route("/swaps/{number}", get(swap::one))
            .with_state(gate);
        let limits = Limits { connections: CONNECTIONS, end_oldest: true, idle: LIFE, life: Some(LIFE) };
        match serve([self.0], routes.merge(swaps), limits) {
            Ok(served) => match served.await {},
            Err(problem) => tracing::error!("the admin endpoint does not answer any more: {problem}"),
        }
    }
}

/// Enough for a browser, scrapers, probes and people with `framegate status --watch`.
const CONNECTIONS: usize = 16;

/// Maximum life of a connection. An answer takes milliseconds, so a probe has its answer long before it is the oldest;
/// clients reconnect for more.
const LIFE: Duration = Duration::from_secs(5);

async fn status(State(observer): State<Observer>) -> Json<Status> {
    Json(observer.status())
}

async fn metrics(State(observer): State<Observer>) -> impl IntoResponse {
    match metrics::metrics(observer.status()) {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(problem) => (StatusCode::INTERNAL_SERVER_ERROR, problem.to_string()).into_response(),
    }
}

/// Whether it can forward events now, or why not.
async fn ready(State(observer): State<Observer>) -> (StatusCode, Json<Value>) {
    let Status { control, ingesters, faults, .. } = observer.status();
    let reasons = hindrances(&control, &ingesters, &faults);
    let code = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({ "ready": reasons.is_empty(), "reasons": reasons })))
}

/// Whether all ingesters are alive. An unreachable detector or Redis is no reason to restart the program; the status
/// shows it.
async fn health(State(observer): State<Observer>) -> (StatusCode, String) {
    let dead = observer.dead();
    if dead.is_empty() {
        return (StatusCode::OK, "ok\n".to_owned());
    }
    let names: Vec<_> = dead.iter().map(ToString::to_string).collect();
    (StatusCode::SERVICE_UNAVAILABLE, format!("ended: {}\n", names.join(", ")))
}
