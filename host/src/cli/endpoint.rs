//! Asks a running framegate over its admin endpoint, for the subcommands that do.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use framegate_plugin_api::Address;
use serde_json::Value;

/// The admin endpoint of a running framegate.
#[derive(Debug)]
pub(super) struct Endpoint {
    base: String,
    agent: ureq::Agent,
}

/// An answer: the status of HTTP, and the body.
pub(super) type Answer = (u16, String);

/// Reads `http://HOST:PORT` or `HOST:PORT`; a path may follow.
///
/// # Errors
/// What is wrong with it.
pub(super) fn url(text: &str) -> Result<String, String> {
    let whole = if text.contains("://") || text.is_empty() { text.to_owned() } else { format!("http://{text}") };
    let after = whole.find("://").map_or(0, |at| at + 3);
    let (address, path) = whole.split_at(whole[after..].find('/').map_or(whole.len(), |at| after + at));
    let address = Address::with_scheme("http://", address)?;
    address.to_connect()?;
    Ok(format!("{address}{path}"))
}

impl Endpoint {
    /// At a checked [`url`].
    pub(super) fn new(url: &str) -> Self {
        // An answer with an error has a body that says why.
        let config = ureq::Agent::config_builder().timeout_global(Some(ANSWER)).http_status_as_error(false);
        Self { base: url.trim_end_matches('/').to_owned(), agent: config.build().into() }
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
