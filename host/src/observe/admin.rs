//! The admin endpoint: status, metrics and health over HTTP; and swaps of sources, in [`swap`](super::swap).
//!
//! Runs on the control runtime; owns its listening socket. It is bound before anything of the host is seen outside, so that
//! an address in use is an error at the start.

use std::net::{SocketAddr, TcpListener};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::{get, post},
};

use super::{
    connections::{Connections, Peer},
    metrics,
    status::{Observed, Status},
    swap::{self, Gate},
};
use crate::settings::AdminSwap;

/// A bound endpoint that does not answer yet.
#[derive(Debug)]
pub(crate) struct Admin(TcpListener);

impl Admin {
    /// Binds the address.
    ///
    /// # Errors
    /// What is wrong and what to do, for a person.
    pub(crate) fn bind(address: SocketAddr) -> Result<Self, String> {
        let bound = TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(Self(listener))
        });
        bound.map_err(|problem| {
            format!(
                "admin: {address} cannot be bound: {problem}\n  end the program that holds it, or set `admin` to another \
                 address or to \"off\""
            )
        })
    }

    /// Answers until the runtime ends.
    pub(crate) async fn serve(self, observed: Observed, may_swap: AdminSwap) {
        let routes = Router::new()
            .route("/", get(|| async { "framegate: /status (JSON), /metrics (OpenMetrics), /health, /swaps\n" }))
            .route("/status", get(status))
            .route("/metrics", get(metrics))
            .route("/health", get(health))
            .with_state(observed.clone());
        let gate = Gate { swaps: observed.swaps().clone(), may_swap };
        let swaps = Router::new()
            .route("/swaps", post(swap::ask).get(swap::all))
            .route("/swaps/{number}", get(swap::one))
            .with_state(gate);
        let routes = routes.merge(swaps).into_make_service_with_connect_info::<Peer>();
        let served = match tokio::net::TcpListener::from_std(self.0) {
            Ok(listener) => axum::serve(Connections::new(listener), routes).await,
            Err(problem) => Err(problem),
        };
        if let Err(problem) = served {
            tracing::error!("the admin endpoint does not answer any more: {problem}");
        }
    }
}

async fn status(State(observed): State<Observed>) -> Json<Status> {
    Json(observed.status())
}

async fn metrics(State(observed): State<Observed>) -> impl IntoResponse {
    match metrics::metrics(observed.status()) {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(problem) => (StatusCode::INTERNAL_SERVER_ERROR, problem.to_string()).into_response(),
    }
}

/// Whether every ingester lives. A detector or a Redis that is away is no reason to start the program again; it is in the
/// status.
async fn health(State(observed): State<Observed>) -> (StatusCode, String) {
    let dead = observed.dead();
    if dead.is_empty() {
        return (StatusCode::OK, "ok\n".to_owned());
    }
    let names: Vec<_> = dead.iter().map(ToString::to_string).collect();
    (StatusCode::SERVICE_UNAVAILABLE, format!("ended: {}\n", names.join(", ")))
}
