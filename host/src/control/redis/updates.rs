//! Turns the controller's updates into commands: every entry, in order.
//!
//! Begins after the newest entry. Several entries may come in one read: the parameters of all are processed in order, and
//! before a scan start in the same entry; of several new uuids only the last is opened.

use redis::{
    RedisResult,
    streams::{StreamId, StreamRangeReply, StreamReadReply},
};
use tokio::sync::watch;

use super::{BLOCK, Complaints, Link, Shared, keys, messages::ControllerUpdate, parameters::Parameters, stopped};
use crate::{
    control::{Line, Stopped},
    ingester::command::{Command, Deal},
    names::{ScanId, StreamName},
};

/// How far back the entry that brought an unknown uuid is looked for.
const LOOK_BACK: usize = 1000;

pub(super) async fn run(link: Link, line: Line, shared: watch::Sender<Shared>, mut stop: watch::Receiver<bool>) {
    let mut updates = Updates {
        link,
        line,
        shared,
        parameters: Parameters::default(),
        current: None,
        complaints: Complaints::default(),
    };
    tokio::select! {
        _ = updates.serve() => {}
        () = stopped(&mut stop) => {}
    }
}

struct Updates {
    link: Link,
    line: Line,
    shared: watch::Sender<Shared>,
    parameters: Parameters,
    /// The scan that was last asked for.
    current: Option<ScanId>,
    complaints: Complaints,
}

impl Updates {
    /// Ends only when the ingester has stopped.
    async fn serve(&mut self) -> Result<(), Stopped> {
        let mut last = loop {
            if let Some(newest) = self.newest().await {
                break newest;
            }
        };
        loop {
            let reply: RedisResult<Option<StreamReadReply>> = redis::cmd("XREAD")
                .arg("BLOCK")
                .arg(BLOCK.as_millis() as u64)
                .arg("STREAMS")
                .arg(keys::UPDATES)
                .arg(&last)
                .query_async(self.link.get().await)
                .await;
            let entries: Vec<StreamId> = match reply {
                Ok(reply) => {
                    self.link.worked();
                    reply.map(|reply| reply.keys).unwrap_or_default().into_iter().flat_map(|one| one.ids).collect()
                }
                Err(problem) => {
                    self.link.failed(&problem);
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    continue;
                }
            };
            match entries.last() {
                Some(entry) => last.clone_from(&entry.id),
                None => {
                    // A Redis that came back empty counts its entries anew; ours would never be reached again.
                    if let Some(newest) = self.newest().await
                        && order(&newest) < order(&last)
                    {
                        tracing::warn!(ingester = %self.line.name, "Redis has lost the controller's updates; starting over");
                        last = "0-0".to_owned();
                    }
                    continue;
                }
            }
            self.process(&entries).await?;
        }
    }

    /// The id of the newest entry; `0-0` when there is none. None when Redis did not answer.
    async fn newest(&mut self) -> Option<String> {
        let reply = self.latest(1).await?;
        Some(reply.ids.first().map_or_else(|| "0-0".to_owned(), |entry| entry.id.clone()))
    }

    async fn latest(&mut self, count: usize) -> Option<StreamRangeReply> {
        let reply: RedisResult<StreamRangeReply> = redis::cmd("XREVRANGE")
            .arg(keys::UPDATES)
            .arg("+")
            .arg("-")
            .arg("COUNT")
            .arg(count)
            .query_async(self.link.get().await)
            .await;
        match reply {
            Ok(reply) => Some(reply),
            Err(problem) => {
                self.link.failed(&problem);
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                None
            }
        }
    }

    async fn process(&mut self, entries: &[StreamId]) -> Result<(), Stopped> {
        let mut start = None;
        let mut finish = None;
        for entry in entries {
            let update = match parse(entry) {
                Ok(update) => update,
                Err(problem) => {
                    self.complaints.add("updates of the controller that are none", &problem);
                    continue;
                }
            };
            let scan = ScanId(update.mapping_uuid);
            self.parameters.update(&update.parameters_version, &mut self.link, &self.line).await?;
            if self.current != Some(scan) {
                self.current = Some(scan);
                finish = None;
                start = Some(update.active_streams);
            }
            if update.finished {
                finish = Some(scan);
            }
        }
        if let (Some(active), Some(scan)) = (start, self.current) {
            let streams = if active.is_empty() { self.look_back(scan).await } else { self.own(&active) };
            tracing::info!(ingester = %self.line.name, %scan, streams = ?names(&streams), "a scan begins");
            self.line.commands.command(Command::StartScan { scan, streams, deal: Deal::Controller }).await?;
        }
        if let Some(scan) = finish {
            self.line.commands.command(Command::Finish { scan }).await?;
        }
        let hash = Some(self.parameters.hash());
        self.shared.send_if_modified(|shared| {
            let changed = shared.parameters_hash != hash;
            shared.parameters_hash = hash;
            changed
        });
        Ok(())
    }

    fn own(&self, active: &[String]) -> Vec<StreamName> {
        self.line.streams.iter().filter(|own| active.iter().any(|name| name == own.as_str())).cloned().collect()
    }

    /// A restarted ingester is handed the current uuid without its streams, because its parameters differ. The entry that
    /// brought the uuid has them; they can be joined as long as no work was handed out.
    async fn look_back(&mut self, scan: ScanId) -> Vec<StreamName> {
        let Some(reply) = self.latest(LOOK_BACK).await else { return Vec::new() };
        let brought = reply.ids.iter().filter_map(|entry| parse(entry).ok());
        let Some(update) =
            brought.into_iter().find(|update| update.mapping_uuid == scan.0 && !update.active_streams.is_empty())
        else {
            return Vec::new();
        };
        let streams = self.own(&update.active_streams);
        let handed_out: RedisResult<u64> =
            redis::cmd("XLEN").arg(keys::assigned(scan)).query_async(self.link.get().await).await;
        match handed_out {
            Ok(0) => streams,
            _ => {
                if !streams.is_empty() {
                    tracing::error!(
                        ingester = %self.line.name, %scan, streams = ?names(&streams),
                        "joined a scan that is under way: its events cannot be paired any more; start the scan again"
                    );
                }
                Vec::new()
            }
        }
    }
}

fn names(streams: &[StreamName]) -> Vec<&str> {
    streams.iter().map(StreamName::as_str).collect()
}

fn parse(entry: &StreamId) -> Result<ControllerUpdate, serde_json::Error> {
    let text: Option<Vec<u8>> = entry.get(keys::DATA);
    serde_json::from_slice(text.as_deref().unwrap_or_default())
}

/// An entry's id as a pair that compares: milliseconds and sequence.
fn order(id: &str) -> (u64, u64) {
    let (time, sequence) = id.split_once('-').unwrap_or((id, "0"));
    (time.parse().unwrap_or(0), sequence.parse().unwrap_or(0))
}
