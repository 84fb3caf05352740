//! Control by a dranspose controller, through Redis.
//!
//! Three tasks for each ingester, each with connections of its own, so that a blocking read delays nobody: `updates` turns the
//! controller's updates into commands, `assigned` reads work, `publish` shows our state. Each survives any loss of its
//! connection: it connects again with back-off and goes on from where it was. The data path never waits for any of them.

mod assigned;
mod keys;
mod messages;
mod parameters;
mod publish;
#[cfg(test)]
mod tests;
mod updates;

use std::{collections::HashMap, path::PathBuf, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError, aio::MultiplexedConnection};
use tokio::{sync::watch, task::JoinSet};

use super::Line;

/// What the tasks of one ingester tell each other.
#[derive(Debug, Clone, Default, PartialEq)]
struct Shared {
    /// Hash of the parameters we have; none until the first update was processed: the hash of nothing would stop the
    /// controller's repetition.
    parameters_hash: Option<String>,
}

/// Whether an address has the form that the client understands. The message never repeats it.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_url(url: &str) -> Result<(), String> {
    Client::open(url).map(drop).map_err(|problem| problem.to_string())
}

/// Serves all lines until `stop` rings, then removes what was published.
pub(crate) async fn run(url: String, build_meta: PathBuf, lines: Vec<Line>, stop: watch::Receiver<bool>) {
    let client = match Client::open(url) {
        Ok(client) => client,
        // Settings were checked, so this is the client's own view of an odd address.
        Err(problem) => return tracing::error!("the Redis address cannot be used: {problem}"),
    };
    let build = messages::BuildMeta::read(&build_meta);
    let mut tasks = JoinSet::new();
    for line in lines {
        let (shared, seen) = watch::channel(Shared::default());
        tasks.spawn(updates::run(Link::new(&client, "updates", &line), line.clone(), shared, stop.clone()));
        tasks.spawn(assigned::run(Link::new(&client, "assignments", &line), line.clone(), stop.clone()));
        tasks.spawn(publish::run(Link::new(&client, "state", &line), line, seen, build.clone(), stop.clone()));
    }
    while let Some(ended) = tasks.join_next().await {
        if let Err(problem) = ended {
            tracing::error!("a task of Redis control died: {problem}");
        }
    }
}

/// A connection that comes back. Says when it is lost and when it is there again, once each.
#[derive(Debug)]
struct Link {
    client: Client,
    /// For the log: what is read or written over it, and for whom.
    what: String,
    connection: Option<MultiplexedConnection>,
    down: bool,
}

/// The longest blocking read; also how fast a task sees that it should stop.
const BLOCK: Duration = Duration::from_millis(1000);
/// An answer that takes longer than a blocking read and this is a dead connection.
const ANSWER: Duration = Duration::from_secs(3);

impl Link {
    fn new(client: &Client, what: &str, line: &Line) -> Self {
        Self { client: client.clone(), what: format!("{what} of {}", line.name), connection: None, down: false }
    }

    /// The connection, made anew if need be; tries for ever.
    async fn get(&mut self) -> &mut MultiplexedConnection {
        let backoff = || {
            ExponentialBuilder::default()
                .with_min_delay(Duration::from_millis(50))
                .with_max_delay(Duration::from_secs(1))
                .with_jitter()
                .without_max_times()
                .build()
        };
        let mut delays = backoff();
        while self.connection.is_none() {
            let config =
                AsyncConnectionConfig::new().set_connection_timeout(Some(ANSWER)).set_response_timeout(Some(ANSWER));
            match self.client.get_multiplexed_async_connection_with_config(&config).await {
                Ok(connection) => {
                    if std::mem::take(&mut self.down) {
                        tracing::info!("Redis is there again ({})", self.what);
                    }
                    self.connection = Some(connection);
                }
                Err(problem) => {
                    self.say_down(&problem);
                    tokio::time::sleep(delays.next().unwrap_or(Duration::from_secs(1))).await;
                }
            }
        }
        self.connection.as_mut().expect("the loop above ends when it is there")
    }

    /// To be told of every error: whether the connection has to be made anew.
    fn failed(&mut self, problem: &RedisError) {
        // Errors of the command itself (wrong type, out of memory, read-only) leave the connection as it is.
        let keeps = matches!(problem.kind(), ErrorKind::Server(_) | ErrorKind::UnexpectedReturnType | ErrorKind::Parse);
        if !keeps || problem.is_connection_dropped() || problem.is_timeout() {
            self.connection = None;
        }
        self.say_down(problem);
    }

    fn worked(&mut self) {
        if std::mem::take(&mut self.down) {
            tracing::info!("Redis answers again ({})", self.what);
        }
    }

    fn say_down(&mut self, problem: &RedisError) {
        if !std::mem::replace(&mut self.down, true) {
            tracing::warn!("Redis does not serve us ({}): {problem}; trying again until it does", self.what);
        }
    }
}

/// Counts what could not be understood, and says it once for each kind.
#[derive(Debug, Default)]
struct Complaints(HashMap<&'static str, u64>);

impl Complaints {
    fn add(&mut self, what: &'static str, detail: &dyn std::fmt::Display) {
        let count = self.0.entry(what).or_default();
        *count += 1;
        if *count == 1 {
            tracing::warn!("{what} (counted from now on, not logged again): {detail}");
        }
    }
}

/// Ends when `stop` rings.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the host is gone, which is a stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
}
