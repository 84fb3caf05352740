//! Asks a running framegate over its admin endpoint, for several subcommands; and finds the framegates of this machine.
//!
//! They are found by their ports: unless an address is given, `framegate run` takes the first free port of a small
//! range, and every service there that answers as framegate is one. Unlike files in a folder, a port is visible to
//! every user, and is gone with its process.

use std::{io, thread, time::Duration};

use anyhow::{Context as _, anyhow};
use framegate::settings::{
    ADMIN_PORTS, SettingsError,
    layers::{self, Environment},
};
use framegate_plugin_api::Address;
use serde_json::Value;

use super::words::plain;

/// The admin endpoint of a running framegate.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    base: String,
    agent: ureq::Agent,
}

/// An answer: the HTTP status, and the body.
pub(super) type Answer = (u16, String);

/// Reads `http://HOST:PORT` or `HOST:PORT`; a path may follow.
///
/// # Errors
/// The problem with it.
pub(super) fn url(text: &str) -> Result<String, String> {
    let whole = if text.contains("://") || text.is_empty() { text.to_owned() } else { format!("http://{text}") };
    let after = whole.find("://").map_or(0, |at| at + 3);
    let (address, path) = whole.split_at(whole[after..].find('/').map_or(whole.len(), |at| after + at));
    let address = Address::with_scheme("http://", address)?;
    address.to_connect()?;
    Ok(format!("{address}{path}"))
}

impl Endpoint {
    /// Connects to a checked [`url`].
    pub(super) fn new(url: &str) -> Self {
        // An error response has a body with the reason. A proxy of the environment is for addresses elsewhere.
        let config = ureq::Agent::config_builder().proxy(None).timeout_global(Some(ANSWER)).http_status_as_error(false);
        Self { base: url.trim_end_matches('/').to_owned(), agent: config.build().into() }
    }

    /// The endpoint that is named by the option, else by the variable FRAMEGATE_ADMIN. `None` if neither names one.
    ///
    /// # Errors
    /// The variable holds no address.
    pub(super) fn named(url: Option<&str>) -> Result<Option<Self>, SettingsError> {
        if let Some(url) = url {
            return Ok(Some(Self::new(url)));
        }
        let address = layers::admin_to_ask(&Environment::new(std::env::vars_os()))?;
        Ok(address.map(|address| Self::new(&format!("http://{address}"))))
    }

    pub(super) fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.answer(path, |address| self.agent.get(address).call())
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        self.answer(path, |address| self.agent.post(address).send_json(body))
    }

    fn answer(
        &self,
        path: &str,
        ask: impl FnOnce(&str) -> Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> anyhow::Result<Answer> {
        let address = format!("{}{path}", self.base);
        let mut answer = ask(&address).map_err(|problem| anyhow!("no answer from {address}: {problem}\n  {HINT}"))?;
        let body = answer.body_mut().read_to_string();
        Ok((answer.status().as_u16(), body.with_context(|| format!("cannot read the answer of {address}"))?))
    }
}

/// A framegate that has answered.
#[derive(Debug)]
pub(super) struct RunningHost {
    pub(super) endpoint: Endpoint,
    /// Its status as received.
    pub(super) body: String,
    pub(super) status: Value,
}

impl RunningHost {
    /// All framegates of this machine with automatic addresses. Reports ports without an answer on standard error.
    ///
    /// # Errors
    /// No framegate was found.
    pub(super) fn all() -> anyhow::Result<Vec<Self>> {
        let found: Vec<_> = thread::scope(|scope| {
            let asked: Vec<_> = ADMIN_PORTS.map(|port| scope.spawn(move || Self::at(port))).collect();
            asked.into_iter().filter_map(|one| one.join().ok().flatten()).collect()
        });
        let (first, last) = (ADMIN_PORTS.start(), ADMIN_PORTS.end());
        match found.is_empty() {
            true => Err(anyhow!("no framegate answers at 127.0.0.1, ports {first} to {last}\n  {HINT}")),
            false => Ok(found),
        }
    }

    fn at(port: u16) -> Option<Self> {
        let endpoint = Endpoint::new(&format!("http://127.0.0.1:{port}"));
        let address = format!("{}/status", endpoint.base);
        let body = match endpoint.agent.get(&address).call() {
            Ok(mut answer) => answer.body_mut().read_to_string().ok()?,
            Err(ureq::Error::Io(problem)) if problem.kind() == io::ErrorKind::ConnectionRefused => return None,
            Err(problem) => {
                eprintln!("framegate: no answer from {address}: {problem} (ignored)");
                return None;
            }
        };
        Self::new(endpoint, body)
    }

    /// The framegate at this endpoint.
    ///
    /// # Errors
    /// There is no answer, or it is not a status.
    pub(super) fn of(endpoint: Endpoint) -> anyhow::Result<Self> {
        let (code, body) = endpoint.get("/status")?;
        let host = Self::new(endpoint, body).filter(|_| code == 200);
        host.with_context(|| format!("the answer is not a status of framegate: HTTP status {code}"))
    }

    /// `None` if the answer is not a status.
    fn new(endpoint: Endpoint, body: String) -> Option<Self> {
        let status: Value = serde_json::from_str(&body).ok()?;
        status["ingesters"].is_array().then_some(Self { endpoint, body, status })
    }

    /// Its streams.
    pub(super) fn streams(&self) -> impl Iterator<Item = &str> {
        self.status["sources"].as_array().into_iter().flatten().filter_map(|source| source["stream"].as_str())
    }

    /// One line for a list.
    pub(super) fn line(&self) -> String {
        let streams: Vec<_> = self.streams().map(plain).collect();
        format!("{}: process {}, streams {}", self.endpoint.base, self.status["pid"], streams.join(", "))
    }
}

/// The endpoint answers from memory.
const ANSWER: Duration = Duration::from_secs(5);
const HINT: &str = "start `framegate ingester` with FRAMEGATE_ADMIN=127.0.0.1:9180, or check `admin` of \
                    `framegate run`; --url names another address";
