//! Workers whose connection has ended, or that stop the others for too long.

use std::time::Instant;

use super::{WorkerNews, Workers};
use crate::{ingester::Limits, names::WorkerName};

impl Workers {
    /// The worker's connection has ended, or was replaced. Messages that the network had and the other side has not
    /// confirmed are lost, unless only the confirmation was lost. A message that was partly sent is sent again, whole, except
    /// one of the last scan. Returns the number of messages that are dropped for that reason.
    pub(crate) fn parted(&mut self, name: &WorkerName, lost: u64) -> u64 {
        let Some(worker) = self.by_name.get(name).map(|index| &mut self.all[*index]) else { return 0 };
        worker.begun = 0;
        let is_old = std::mem::take(&mut worker.of_last_scan);
        if is_old {
            worker.pending.pop_front();
        }
        if lost > 0 {
            worker.lost += lost;
            self.lost += lost;
            self.log(format!(
                "the connection to worker {name} has ended: up to {lost} messages on their way to it are lost"
            ));
        }
        u64::from(is_old)
    }

    /// Evicts workers that are unreachable, or block others, for too long.
    pub(crate) fn evict(&mut self, now: Instant, limits: &Limits, limit_reached: bool) {
        let mut lines = Vec::new();
        for worker in self.all.iter_mut().filter(|worker| !worker.evicted && !worker.pending.is_empty()) {
            let silent = worker.last_ping.is_none_or(|(at, _)| now.duration_since(at) > limits.worker_timeout);
            let stands = now.duration_since(worker.moved);
            let why = if worker
                .unreachable_since
                .is_some_and(|since| now.duration_since(since) >= limits.worker_timeout)
            {
                "it is not connected"
            } else if worker.unreachable_since.is_none() && limit_reached && silent && stands > limits.worker_timeout {
                "it neither pings nor reads, and memory_limit is reached"
            } else if limits.stall_timeout.is_some_and(|limit| stands > limit) {
                "it pings but reads nothing (stall_timeout)"
            } else {
                continue;
            };
            let count = worker.pending.len() as u64;
            worker.pending.clear();
            (worker.begun, worker.of_last_scan) = (0, false);
            worker.evicted = true;
            worker.dropped += count;
            self.dropped += count;
            self.evictions += 1;
            self.given_up.push(worker.name.clone());
            self.news.push(WorkerNews::Evicted { worker: worker.name.clone(), dropped: count, why });
            lines.push(format!(
                "worker {} is evicted and gets nothing more in this scan, {count} messages for it are dropped: {why}",
                worker.name
            ));
        }
        lines.into_iter().for_each(|line| self.log(line));
    }
}
