//! A connection to Redis that reconnects.
//!
//! Each task has its own, so that a blocking read delays nobody. It reconnects with back-off until it succeeds; only an
//! error about the key itself (it holds something else) is returned to the caller.

use std::{collections::BTreeSet, time::Duration};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use redis::{Cmd, FromRedisValue, Pipeline, RedisError, RedisResult};

use super::{
    Address,
    explain::{self, Circumstances},
    health::Health,
    wire::{MOST, Monitor, Wire},
};
use crate::control::report::FaultSubject;

/// The key's value is unusable. Repeating the command is useless until somebody corrects the value.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    /// The value has the wrong type for the command.
    #[error("{0}")]
    WrongKind(String),
    /// Our user lacks the right, and status says so. Only for callers that ask once: the others repeat the command until
    /// somebody grants it.
    #[error("Redis denies it to this user (NOPERM)")]
    Denied,
    /// The answer is too large and was aborted.
    #[error("it is larger than {} MiB, the limit", .0 >> 20)]
    TooLarge(usize),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Link {
    address: Address,
    connection: Option<Wire>,
    /// What is known about the current or last connection.
    monitor: Monitor,
    /// Number of connections so far.
    connections: u64,
    /// Whether this connection has answered.
    proven: bool,
    state: LinkState,
    /// The last problem that was logged, while `state` is [`LinkState::Lost`].
    told: String,
    /// Rights that Redis has refused to our user, and not granted since.
    refused: BTreeSet<String>,
    health: Health,
    delays: ExponentialBackoff,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LinkState {
    New,
    Served,
    Lost,
}

/// The longest blocking read.
pub(super) const BLOCK: Duration = Duration::from_millis(1000);

impl Link {
    pub(super) fn new(address: &Address, health: &Health) -> Self {
        Self {
            address: address.clone(),
            connection: None,
            monitor: Monitor::new(),
            connections: 0,
            proven: false,
            state: LinkState::New,
            told: String::new(),
            refused: BTreeSet::new(),
            health: health.clone(),
            delays: delays(),
        }
    }

    /// Repeats the command until Redis answers.
    pub(super) async fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, Unusable> {
        self.ask_for(command, MOST).await
    }

    /// The same, for an answer of at most `most` bytes.
    pub(super) async fn ask_for<T: FromRedisValue>(&mut self, command: &Cmd, most: usize) -> Result<T, Unusable> {
        loop {
            let outcome = self.connected().await.ask(command, most).await;
            match self.settled(outcome, &[command]).await {
                None | Some(Err(Unusable::Denied)) => {}
                Some(answer) => return answer,
            }
        }
    }

    /// Asks once: an answer, or `None`. Then the caller decides what to ask next; the back-off has already been waited for here.
    pub(super) async fn ask_once<T: FromRedisValue>(&mut self, command: &Cmd) -> Option<Result<T, Unusable>> {
        let outcome = self.connected().await.ask(command, MOST).await;
        self.settled(outcome, &[command]).await
    }

    /// The same, for a read before a write: an answer does not show that Redis serves us. A Redis that is full or
    /// read-only answers reads too, so the link would alternate between up and down.
    pub(super) async fn peek_once<T: FromRedisValue>(&mut self, command: &Cmd) -> Option<Result<T, Unusable>> {
        let outcome = self.connected().await.ask(command, MOST).await;
        match outcome {
            Ok(answer) => {
                self.given(&[command]);
                Some(Ok(answer))
            }
            Err(_) => self.settled(outcome, &[command]).await,
        }
    }

    /// The same for several commands at once.
    pub(super) async fn ask_all_once(&mut self, commands: &Pipeline) -> Option<Result<(), Unusable>> {
        let outcome = self.connected().await.ask_all(commands).await;
        self.settled(outcome, &commands.cmd_iter().collect::<Vec<_>>()).await
    }

    /// The connection; reconnects if necessary, until it succeeds.
    pub(super) async fn connected(&mut self) -> &mut Wire {
        while self.connection.is_none() {
            let keys = match self.address.keys().await {
                Ok(keys) => keys,
                Err(problem) => {
                    self.lost(problem).await;
                    continue;
                }
            };
            self.monitor = Monitor::new();
            match Wire::connect(self.address.info(), keys, &self.monitor).await {
                Ok(wire) => {
                    self.connection = Some(wire);
                    self.connections += 1;
                }
                Err(problem) => {
                    let why = self.no_connection(&problem);
                    self.lost(why).await;
                }
            }
        }
        self.connection.as_mut().expect("the loop above ends when it is there")
    }

    /// Number of connections so far: after a reconnect, another server may answer.
    pub(super) fn connections(&self) -> u64 {
        self.connections
    }

    /// The first bytes of the last answer, also of one that was aborted because it was too large.
    pub(super) fn beginning(&self) -> Vec<u8> {
        self.monitor.beginning()
    }

    fn no_connection(&self, problem: &RedisError) -> String {
        let (tls, served_before) = (self.address.is_tls(), self.health.served_before());
        explain::no_connection(problem, &Circumstances { tls, served_before, last_error: self.monitor.last_error() })
    }

    /// Interprets an outcome: an answer, or `None`.
    async fn settled<T>(&mut self, outcome: RedisResult<T>, asked: &[&Cmd]) -> Option<Result<T, Unusable>> {
        let problem = match outcome {
            Ok(answer) => {
                self.served();
                self.given(asked);
                return Some(Ok(answer));
            }
            Err(problem) => problem,
        };
        let Some(errors) = problem.clone().into_server_errors() else {
            self.connection = None;
            if let Some(most) = self.monitor.too_large() {
                return Some(Err(Unusable::TooLarge(most)));
            }
            // A connection that worked before may have died in an outage that is over: not worth a log line. A silence is not over.
            if !std::mem::take(&mut self.proven) || problem.is_timeout() {
                // Some TLS refusals come only with the first answer. A silence after the TLS handshake has another reason.
                let why = match self.address.is_tls() && problem.is_timeout() {
                    true => problem.to_string(),
                    false => self.no_connection(&problem),
                };
                self.lost(why).await;
            }
            return None;
        };
        let all = |code| errors.iter().all(|(_, error)| error.code() == code);
        if all("WRONGTYPE") {
            self.served();
            let first = errors.first().map_or_else(|| problem.to_string(), |(_, error)| error.to_string());
            return Some(Err(Unusable::WrongKind(first)));
        }
        if all("NOPERM") {
            // Redis works; the refused right stays refused until somebody grants it to our user.
            self.served();
            for right in
                errors.iter().filter_map(|(number, _)| asked.get(*number)).map(|command| explain::right(command))
            {
                self.health.fault(FaultSubject::Right(right.clone()), REFUSED);
                self.refused.insert(right);
            }
            tokio::time::sleep(LONGEST_DELAY).await;
            return Some(Err(Unusable::Denied));
        }
        if all("UNBLOCKED") {
            // Redis has become a replica, or a master again, and ends every blocking read: that alone is no refusal.
            tokio::time::sleep(SHORTEST_DELAY).await;
            return None;
        }
        // Redis answers, but does not serve: out of memory, loading its data, read-only, …
        let first = errors.first().and_then(|(number, error)| Some(explain::refusal(asked.get(*number)?, error)));
        self.lost(first.unwrap_or_else(|| problem.to_string())).await;
        None
    }

    /// Drops the connection, and with it a blocking read whose result is no longer needed.
    pub(super) fn abandon(&mut self) {
        self.connection = None;
        self.proven = false;
    }

    /// There is nothing to ask now, and Redis would answer.
    pub(super) fn served(&mut self) {
        self.proven = true;
        let before = std::mem::replace(&mut self.state, LinkState::Served);
        if before != LinkState::Served {
            self.delays = delays();
            self.health.served(before == LinkState::Lost);
        }
    }

    /// Records that we have the rights to these commands.
    fn given(&mut self, asked: &[&Cmd]) {
        if self.refused.is_empty() {
            return;
        }
        for right in asked.iter().map(|command| explain::right(command)) {
            if self.refused.remove(&right) {
                self.health.resolve(&FaultSubject::Right(right));
            }
        }
    }

    async fn lost(&mut self, problem: String) {
        if std::mem::replace(&mut self.state, LinkState::Lost) != LinkState::Lost {
            self.health.lost(&problem);
        } else if self.told != problem {
            self.health.still_lost(&problem);
        }
        self.told = problem;
        tokio::time::sleep(self.delays.next().unwrap_or(LONGEST_DELAY)).await;
    }
}

const REFUSED: &str = "Redis denies it to this user (NOPERM); docs/reference/redis.md lists the rights that are needed";

const SHORTEST_DELAY: Duration = Duration::from_millis(50);
/// Jitter may double it. We must reconnect within two seconds, even if a connection attempt first has to time out.
const LONGEST_DELAY: Duration = Duration::from_millis(250);

fn delays() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(SHORTEST_DELAY)
        .with_max_delay(LONGEST_DELAY)
        .with_jitter()
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_however_long_an_outage_the_next_try_comes_within_half_a_second() {
        // An outage of more than a day.
        let longest = delays().take(500_000).max();
        assert!(longest <= Some(2 * LONGEST_DELAY) && 2 * LONGEST_DELAY <= Duration::from_millis(500), "{longest:?}");
        assert_eq!(delays().take(500_000).count(), 500_000);
    }
}
