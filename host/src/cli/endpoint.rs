//! Asks a running framegate over its admin endpoint, for the subcommands that do.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde_json::Value;

/// The admin endpoint of a running framegate.
#[derive(Debug)]
pub(super) struct Endpoint {
    base: String,
    agent: ureq::Agent,
}

/// An answer: the status of HTTP, and the body.
pub(super) type Answer = (u16, String);

impl Endpoint {
    /// At `http://host:port` or `host:port`.
    pub(super) fn new(url: &str) -> Self {
        let base = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        // An answer with an error has a body that says why.
        let config = ureq::Agent::config_builder().timeout_global(Some(ANSWER)).http_status_as_error(false);
        Self { base: base.trim_end_matches('/').to_owned(), agent: config.build().into() }
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
        let hint = "is framegate running there, and does it have an `admin` endpoint?";
        let mut answer = ask(&address).map_err(|problem| anyhow!("no answer from {address}: {problem}\n  {hint}"))?;
        let body = answer.body_mut().read_to_string();
        Ok((answer.status().as_u16(), body.with_context(|| format!("the answer of {address} cannot be read"))?))
    }
}

/// The endpoint answers from memory.
const ANSWER: Duration = Duration::from_secs(5);
