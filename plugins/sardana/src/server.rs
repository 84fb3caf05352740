//! The HTTP server: takes posts, answers them, and puts them into the inbox.
//!
//! Owns its runtime with one thread, its listeners and its connections; dropping it ends them all and closes the port
//! before returning. It knows nothing of runs. `framegate-http-server` limits connections and heads; this file limits
//! bodies.

use std::{borrow::Cow, error::Error as _, fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::{self, Body, HttpBody},
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::{MethodRouter, any, post},
};
use framegate_http_server::{Limits, serve};
use framegate_plugin_api::{HostContext, LogLevel, SourceError};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::json;
use tokio::{
    runtime::{self, Runtime},
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use crate::{
    inbox::Inbox,
    listen::bind,
    messages::{self, Kind, Packet, Problem},
    settings::SardanaSettings,
};

/// The HTTP server; stops when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    addresses: Vec<SocketAddr>,
    /// Dropping it waits until its thread has ended.
    _runtime: Runtime,
}

/// What the tasks share.
#[derive(Debug, Clone)]
struct Shared {
    inbox: Arc<Inbox>,
    max_body: usize,
    body_timeout: Duration,
    /// Limits the bodies above [`SMALL_BODY`] that are received at the same time.
    large_bodies: Arc<Semaphore>,
}

impl Server {
    /// Binds the port and starts to serve.
    pub(crate) fn start(
        settings: &SardanaSettings,
        inbox: Arc<Inbox>,
        host: &HostContext,
    ) -> Result<Self, SourceError> {
        if settings.max_connections == 0 {
            return Err(SourceError::settings("max_connections: at least 1 is needed"));
        }
        let listeners = bind(&settings.host, settings.port)?;
        let addresses: Vec<SocketAddr> = listeners.iter().filter_map(|each| each.local_addr().ok()).collect();
        let failed =
            |error: io::Error| SourceError::internal(format!("the machine refuses what a server needs: {error}"));
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("sardana-http")
            .enable_io()
            .enable_time()
            .build()
            .map_err(failed)?;

        let shared = Shared {
            inbox,
            max_body: usize::try_from(settings.max_body.0).unwrap_or(usize::MAX),
            body_timeout: settings.body_timeout.0,
            large_bodies: Arc::new(Semaphore::new(LARGE_BODIES)),
        };
        let limits = Limits {
            connections: settings.max_connections,
            end_oldest: false,
            idle: settings.idle_timeout.0.max(Duration::from_millis(1)),
            life: None,
        };
        let entered = runtime.enter();
        runtime.spawn(serve(listeners, router(shared), limits).map_err(failed)?);
        drop(entered);
        let list: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
        host.log(LogLevel::Info, format!("listening for Sardana on {}", list.join(" and ")));
        Ok(Self { addresses, _runtime: runtime })
    }

    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

fn router(shared: Shared) -> Router {
    let packet = |kind| {
        post(async move |State(shared): State<Shared>, headers: HeaderMap, body: Body| {
            let taken = take(kind, &shared, &headers, body).await;
            if let Err(refused) = &taken {
                shared.inbox.refuse(refused.to_string());
            }
            taken.map(Json)
        })
    };
    let nothing = async |State(shared): State<Shared>, headers: HeaderMap, body: Body| {
        let (body, _place) = receive(&shared, &headers, body).await?;
        messages::object(&body).map_err(|problem| Refused::Body(vec![problem]))?;
        Ok::<_, Refused>(Json(()))
    };
    let routes = [
        ("/v1/data_desc", packet(Kind::Description)),
        ("/v1/record_data", packet(Kind::Record)),
        ("/v1/record_end", packet(Kind::End)),
        ("/v1/custom_data", post(nothing)),
    ];
    let with_routes = |router: Router<Shared>, (path, method): (&'static str, MethodRouter<Shared>)| {
        // The answer that dranspose gives; clients post again.
        let moved = async move |State(shared): State<Shared>, body: Body| {
            pass_over(&shared, body).await;
            Redirect::temporary(path)
        };
        router.route(path, method).route(&format!("{path}/"), any(moved))
    };
    let unknown = "Not Found; there are /v1/data_desc, /v1/record_data, /v1/record_end and /v1/custom_data";
    routes
        .into_iter()
        .fold(Router::new(), with_routes)
        .fallback(async move |State(shared): State<Shared>, body: Body| {
            pass_over(&shared, body).await;
            Refused::Other(StatusCode::NOT_FOUND, unknown.into())
        })
        .method_not_allowed_fallback(async |State(shared): State<Shared>, body: Body| {
            pass_over(&shared, body).await;
            Refused::Other(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed; use POST".into())
        })
        .with_state(shared)
}

/// Reads a post and puts it into the inbox.
async fn take(kind: Kind, shared: &Shared, headers: &HeaderMap, body: Body) -> Result<(), Refused> {
    // A large post keeps its place until it is in the queue, which may be full.
    let (body, _place) = receive(shared, headers, body).await?;
    let packet = Packet::read(kind, &body).map_err(Refused::Body)?;
    drop(body);
    shared.inbox.put(packet).await;
    Ok(())
}

/// Receives the whole body. A large one comes with its place among the few that are in memory at a time.
async fn receive<'a>(
    shared: &'a Shared,
    headers: &HeaderMap,
    body: Body,
) -> Result<(body::Bytes, Option<SemaphorePermit<'a>>), Refused> {
    if !is_json(headers) {
        pass_over(shared, body).await;
        let what = "the content-type must be application/json".into();
        return Err(Refused::Body(vec![Problem { field: None, what }]));
    }
    // Small bodies are bounded by the number of connections.
    let size = body.size_hint().upper().unwrap_or(u64::MAX);
    let place = if size > SMALL_BODY { shared.large_bodies.acquire().await.ok() } else { None };
    let too_long = || {
        let what = format!("the body has more than {} bytes (max_body)", shared.max_body);
        Refused::Other(StatusCode::PAYLOAD_TOO_LARGE, what.into())
    };
    if body.size_hint().lower() > shared.max_body as u64 {
        return Err(too_long());
    }
    match timeout(shared.body_timeout, body::to_bytes(body, shared.max_body)).await {
        Ok(received) => received.map(|body| (body, place)).map_err(|error| {
            if error.source().is_some_and(|source| source.is::<LengthLimitError>()) {
                return too_long();
            }
            Refused::Other(StatusCode::BAD_REQUEST, format!("the body breaks off: {error}").into())
        }),
        Err(_) => {
            let what = format!("the body did not come within {:?} (body_timeout)", shared.body_timeout);
            Err(Refused::Other(StatusCode::REQUEST_TIMEOUT, what.into()))
        }
    }
}

/// Reads a body that is not needed, within the usual limits: hyper closes a connection whose body is unread when it is
/// answered, and the client would notice only on its next post.
async fn pass_over(shared: &Shared, body: Body) {
    let mut body = Limited::new(body, shared.max_body);
    let all = async { while let Some(Ok(_)) = body.frame().await {} };
    // A late or too long body closes its connection, as elsewhere.
    let _ = timeout(shared.body_timeout, all).await;
}

/// Why a post is refused.
enum Refused {
    /// All errors in its body.
    Body(Vec<Problem>),
    /// Another reason, as text.
    Other(StatusCode, Cow<'static, str>),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problems = match self {
            Refused::Body(problems) => problems,
            Refused::Other(_, what) => return f.write_str(what),
        };
        for (number, Problem { field, what }) in problems.iter().enumerate() {
            let and = if number > 0 { ", " } else { "" };
            write!(f, "{and}{}{}{what}", field.unwrap_or_default(), if field.is_some() { " " } else { "" })?;
        }
        Ok(())
    }
}

impl IntoResponse for Refused {
    /// In FastAPI's format, because dranspose uses FastAPI.
    fn into_response(self) -> Response {
        let (status, detail) = match self {
            Refused::Body(problems) => {
                let told = problems.iter().map(|problem| {
                    let place: Vec<&str> = ["body"].into_iter().chain(problem.field).collect();
                    json!({ "loc": place, "msg": problem.what, "type": "value_error" })
                });
                (StatusCode::UNPROCESSABLE_ENTITY, told.collect())
            }
            Refused::Other(status, what) => (status, json!(what)),
        };
        (status, Json(json!({ "detail": detail }))).into_response()
    }
}

/// FastAPI's rule, because dranspose uses FastAPI.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind.strip_prefix("application/").is_some_and(|sub| sub == "json" || sub.ends_with("+json"))
}

/// Bodies up to this size are received without a permit.
const SMALL_BODY: u64 = 64 << 10;

/// Larger bodies received at the same time; together with `max_body` this bounds the memory.
const LARGE_BODIES: usize = 4;
