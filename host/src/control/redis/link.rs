//! A connection to Redis that comes back.
//!
//! Each task has one of its own, so that a blocking read delays nobody. It is made anew with back-off for as long as it
//! takes; only an answer that concerns the key itself (it holds something else) is handed to the caller.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, IntoConnectionInfo, ProtocolVersion, RedisError, RedisResult,
    aio::MultiplexedConnection,
};

use super::health::Health;

/// Where Redis is, checked. May hold a password, so its `Debug` shows the place alone.
#[derive(Clone)]
pub(crate) struct Address {
    client: Client,
    place: String,
}

impl Address {
    /// Reads `redis://[user:password@]host[:port][/database]`.
    ///
    /// # Errors
    /// What is wrong with it; never repeats it.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let wrong = |problem: RedisError| problem.to_string();
        let info = url.into_connection_info().map_err(wrong)?;
        let place = format!("{}/{}", info.addr(), info.redis_settings().db());
        // Replies are read as RESP 2 has them, whatever the address asks for.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
        let client = Client::open(info.set_redis_settings(settings)).map_err(wrong)?;
        Ok(Self { client, place })
    }

    /// `host:port/database`.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Address").field(&self.place).finish()
    }
}

/// The key holds something that the command is not for. Asking again is of no use until somebody sets it right.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct WrongKind(String);

/// See the module.
#[derive(Debug)]
pub(super) struct Link {
    client: Client,
    connection: Option<MultiplexedConnection>,
    /// Whether this connection has served.
    proven: bool,
    state: State,
    health: Health,
    delays: ExponentialBackoff,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Served,
    Lost,
}

/// The longest blocking read.
pub(super) const BLOCK: Duration = Duration::from_millis(1000);
/// An answer that takes longer than a blocking read and this is a dead connection.
const ANSWER: Duration = Duration::from_secs(3);
/// A connection that is not there, greetings included, after this will not come.
const CONNECT: Duration = Duration::from_secs(2);

impl Link {
    pub(super) fn new(address: &Address, health: &Health) -> Self {
        Self {
            client: address.client.clone(),
            connection: None,
            proven: false,
            state: State::New,
            health: health.clone(),
            delays: delays(),
        }
    }

    /// Asks until Redis answers.
    pub(super) async fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, WrongKind> {
        loop {
            let outcome = command.query_async(self.connected().await).await;
            if let Some(answer) = self.settled(outcome).await {
                return answer;
            }
        }
    }

    /// The connection, made anew if need be; tries until there is one.
    pub(super) async fn connected(&mut self) -> &mut MultiplexedConnection {
        while self.connection.is_none() {
            let config =
                AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(ANSWER));
            match self.client.get_multiplexed_async_connection_with_config(&config).await {
                Ok(connection) => self.connection = Some(connection),
                Err(problem) => self.lost(&problem).await,
            }
        }
        self.connection.as_mut().expect("the loop above ends when it is there")
    }

    /// What an outcome means: an answer, or none yet (the caller asks again; the wait was here).
    pub(super) async fn settled<T>(&mut self, outcome: RedisResult<T>) -> Option<Result<T, WrongKind>> {
        let problem = match outcome {
            Ok(answer) => {
                self.served();
                return Some(Ok(answer));
            }
            Err(problem) => problem,
        };
        match problem.clone().into_server_errors() {
            Some(errors) if errors.iter().all(|(_, error)| error.code() == "WRONGTYPE") => {
                self.served();
                let first = errors.first().map_or_else(|| problem.to_string(), |(_, error)| error.to_string());
                return Some(Err(WrongKind(first)));
            }
            // It answers, but does not serve: out of memory, loading its data, read-only, …
            Some(_) => self.lost(&problem).await,
            // A connection that had served may have been dead since an outage that is over: that is no news.
            None if std::mem::take(&mut self.proven) => self.connection = None,
            None => {
                self.connection = None;
                self.lost(&problem).await;
            }
        }
        None
    }

    /// Drops the connection, and with it a blocking read that nobody waits for any more.
    pub(super) fn abandon(&mut self) {
        self.connection = None;
        self.proven = false;
    }

    fn served(&mut self) {
        self.proven = true;
        let before = std::mem::replace(&mut self.state, State::Served);
        if before != State::Served {
            self.delays = delays();
            self.health.served(before == State::Lost);
        }
    }

    async fn lost(&mut self, problem: &RedisError) {
        if std::mem::replace(&mut self.state, State::Lost) != State::Lost {
            self.health.lost(problem);
        }
        tokio::time::sleep(self.delays.next().unwrap_or(LONGEST_DELAY)).await;
    }
}

/// With jitter up to twice this, and we must be back within two seconds.
const LONGEST_DELAY: Duration = Duration::from_millis(500);

fn delays() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(LONGEST_DELAY)
        .with_jitter()
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        let address = Address::parse("redis://me:secret@example.org:6380/2").unwrap();
        assert_eq!(address.place(), "example.org:6380/2");
        assert!(!format!("{address:?}").contains("secret"));
        for wrong in ["http://me:secret@example.org", "redis://me:secret@example.org/none", "example.org", ""] {
            let problem = Address::parse(wrong).unwrap_err();
            assert!(!problem.is_empty() && !problem.contains("secret"), "{problem}");
        }
    }
}
