//! Which workers come, leave and are evicted.

use std::time::Instant;

use super::Workers;
use crate::names::WorkerName;

/// What has happened to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WorkerNews {
    Came(WorkerName),
    Left(WorkerName),
    Evicted { worker: WorkerName, dropped: u64, why: &'static str },
}

impl Workers {
    /// What has happened since the last call.
    pub(crate) fn take_news(&mut self, now: Instant) -> Vec<WorkerNews> {
        for worker in &mut self.all {
            let connected = worker.is_connected(now);
            if std::mem::replace(&mut worker.announced, connected) != connected {
                let (name, news) = (worker.name.clone(), if connected { WorkerNews::Came } else { WorkerNews::Left });
                self.news.push(news(name));
            }
        }
        std::mem::take(&mut self.news)
    }
}
