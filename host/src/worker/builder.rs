//! Adds a worker inside the program to a host.

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot};

use super::{Pulse, Worker, WorkerEvent, event::Origin, link::Joining, thread::WorkerThread};
use crate::{
    budget::Account, control::IngesterHandle, ingester::workers::NotJoined, names::WorkerName, park::wait_for, threads,
};

/// A worker inside the program, before it joins a host. It gets events of all ingesters.
#[must_use = "it joins with `queue` or `each`"]
pub struct WorkerBuilder {
    name: WorkerName,
    limit: u64,
    ingesters: Vec<IngesterHandle>,
}

/// Why a worker inside the program cannot join.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// A worker of this name is connected.
    #[error("a worker named {name} is connected; give this one another name")]
    NameTaken {
        /// The name.
        name: WorkerName,
    },
    /// The setting `workers` of an ingester does not allow the name.
    #[error("`workers` does not allow the name {name}")]
    NotAllowed {
        /// The name.
        name: WorkerName,
    },
    /// So many workers are known that there is no place.
    #[error("there is no place for another worker")]
    NoPlace,
    /// Its thread cannot be started.
    #[error("no thread for worker {name}: {why}\n  {remedy}", remedy = threads::REMEDY)]
    NoThread {
        /// The name.
        name: WorkerName,
        /// What the system says.
        why: String,
    },
    /// The host has stopped, or an ingester does not answer.
    #[error("the host has stopped")]
    Stopped,
}

impl WorkerBuilder {
    pub(crate) fn new(name: WorkerName, ingesters: Vec<IngesterHandle>) -> Self {
        Self { name, limit: LIMIT, ingesters }
    }

    /// Maximum number of bytes of events that it holds: those in its queue, and those that it has taken and not dropped; 64
    /// MiB by default. A larger event passes alone. What does not fit waits in the ingester, within `memory_limit`.
    pub fn limit(self, bytes: u64) -> Self {
        Self { limit: bytes, ..self }
    }

    /// Joins, and returns the queue of its events. Blocks the thread until the ingesters answer, at most for 10 s.
    ///
    /// # Errors
    /// The name is taken or not allowed, or the host has stopped.
    pub fn queue(self) -> Result<Worker, WorkerError> {
        wait_for(self.queue_async(), Some(ANSWER)).unwrap_or(Err(WorkerError::Stopped))
    }

    /// Does the same as [`WorkerBuilder::queue`] without blocking.
    ///
    /// # Errors
    /// The same.
    pub async fn queue_async(self) -> Result<Worker, WorkerError> {
        let Self { name, limit, ingesters } = self;
        let (sender, events) = mpsc::unbounded_channel();
        let rings: Vec<_> = ingesters.iter().map(|ingester| ingester.commands.bell()).collect();
        let held = Account::new(limit, move || rings.iter().for_each(|ring| ring()));
        let worker = Worker { name, events, pulse: Arc::new(Pulse::default()) };
        for ingester in ingesters {
            let (answer, joined) = oneshot::channel();
            ingester.commands.join(Joining {
                name: worker.name.clone(),
                events: sender.clone(),
                held: held.clone(),
                limit,
                pulse: worker.pulse.clone(),
                origin: Arc::new(Origin { ingester: ingester.name.clone(), streams: ingester.streams.clone() }),
                answer,
            });
            joined.await.map_err(|_| WorkerError::Stopped)?.map_err(|why| {
                let name = worker.name.clone();
                match why {
                    NotJoined::NameTaken => WorkerError::NameTaken { name },
                    NotJoined::NotAllowed => WorkerError::NotAllowed { name },
                    NotJoined::NoPlace => WorkerError::NoPlace,
                }
            })?;
        }
        Ok(worker)
    }

    /// Joins, and calls a function for each event, on a thread of its own. Blocks like [`WorkerBuilder::queue`].
    ///
    /// While the function runs for long, its queue fills, and then the worker is treated as one at the port that reads
    /// nothing. If it panics, the worker is gone, as if its process had ended. The function may call the host.
    ///
    /// # Errors
    /// The same, or there is no thread.
    pub fn each(self, function: impl FnMut(WorkerEvent) + Send + 'static) -> Result<WorkerThread, WorkerError> {
        let worker = self.queue()?;
        let name = worker.name.clone();
        WorkerThread::start(worker, function)
            .map_err(|problem| WorkerError::NoThread { name, why: problem.to_string() })
    }
}

impl std::fmt::Debug for WorkerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerBuilder").field("name", &self.name).field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// The default limit of bytes.
const LIMIT: u64 = 64 << 20;
/// How long the ingesters may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
