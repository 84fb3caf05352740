//! Swaps over HTTP: requested with `POST /swaps`, followed with `GET /swaps/NUMBER`, listed with `GET /swaps`.
//!
//! A request is answered as soon as the swap has its number: creating a source may take longer than a connection lives.
//! The source is created on a separate thread.
//!
//! A swap makes this process load a file. So requests are accepted from this machine only, unless the settings say
//! otherwise, and never from a web page: its browser could be on this machine, too. And the file must belong to root or
//! to the user of this process: otherwise other users of the machine could have their files loaded.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Extension, Json,
    extract::{Path, State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode, header::ORIGIN},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    host::swap::{
        Swaps,
        receipt::{AskedBy, SwapError, SwapReceipt, SwapSpec},
    },
    settings::{AdminSwap, dranspose::Source},
};

/// Shared context of the handlers.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    pub(super) swaps: Arc<Swaps>,
    pub(super) may_swap: AdminSwap,
}

/// The body of a request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    stream: String,
    source: String,
    settings: Option<Value>,
    /// Set by `framegate swap`.
    #[serde(default)]
    from_command: bool,
}

type Refused = (StatusCode, Json<Value>);

/// Requests a swap.
pub(super) async fn ask(
    State(gate): State<Gate>,
    Extension(peer): Extension<SocketAddr>,
    headers: HeaderMap,
    request: Result<Json<Request>, JsonRejection>,
) -> Result<(StatusCode, Json<SwapReceipt>), Refused> {
    let allowed = match gate.may_swap {
        AdminSwap::Off => return Err(refuse(StatusCode::FORBIDDEN, "swaps are switched off (admin_swap)")),
        AdminSwap::Loopback => peer.ip().to_canonical().is_loopback(),
        AdminSwap::Anywhere => true,
    };
    if !allowed {
        let why = format!("swaps are accepted from this machine only, not from {peer} (admin_swap = \"loopback\")");
        return Err(refuse(StatusCode::FORBIDDEN, why));
    }
    if headers.contains_key(ORIGIN) {
        return Err(refuse(StatusCode::FORBIDDEN, "swaps are not accepted from web pages"));
    }
    let Json(request) = request.map_err(|problem| refuse(problem.status(), problem.body_text()))?;
    let source = Source::parse(&request.source)
        .map_err(|why| refuse(StatusCode::BAD_REQUEST, format!("{:?}: {why}", request.source)))?;
    if request.settings.as_ref().is_some_and(|settings| !settings.is_object()) {
        let why = "settings: expected an object of JSON, such as {\"key\": \"value\"}";
        return Err(refuse(StatusCode::BAD_REQUEST, why));
    }
    let spec = SwapSpec { settings: request.settings, ..SwapSpec::new(&source.plugin) };
    let by = if request.from_command { AskedBy::Command } else { AskedBy::Api };
    let mut asked = gate.swaps.ask(&request.stream, &spec, by).map_err(|error| {
        let status = match error {
            SwapError::UnknownStream { .. } => StatusCode::NOT_FOUND,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        refuse(status, error)
    })?;
    asked.from_outside = true;
    let number = asked.number;
    // Not on the runtime's threads: if no thread could be started it would wait there for ever, and keep its place.
    gate.swaps.make_on_thread(asked);
    let receipt =
        gate.swaps.receipt(number).ok_or_else(|| refuse(StatusCode::SERVICE_UNAVAILABLE, "too many swaps"))?;
    Ok((StatusCode::ACCEPTED, Json(receipt)))
}

/// The latest swaps.
pub(super) async fn all(State(gate): State<Gate>) -> Json<Vec<SwapReceipt>> {
    Json(gate.swaps.receipts())
}

/// One swap.
pub(super) async fn one(State(gate): State<Gate>, Path(number): Path<u64>) -> Result<Json<SwapReceipt>, Refused> {
    let receipt = gate.swaps.receipt(number);
    receipt.map(Json).ok_or_else(|| refuse(StatusCode::NOT_FOUND, format!("there is no swap {number} (any more)")))
}

fn refuse(status: StatusCode, why: impl ToString) -> Refused {
    (status, Json(json!({ "error": why.to_string() })))
}
