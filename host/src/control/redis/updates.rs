//! Turns the controller's updates into commands: every entry, in order.
//!
//! Begins after the newest entry. Several entries may come in one read: the parameters of all are processed in order, and
//! before a scan start in the same entry; of several new uuids only the last is opened. A uuid that was left for another
//! never comes back.

use std::{collections::VecDeque, sync::atomic::Ordering};

use tokio::sync::watch;

use super::{
    Context, Shared, keys,
    link::Link,
    messages::ControllerUpdate,
    parameters::Parameters,
    stopped,
    tail::{Entry, Tail},
};
use crate::{
    control::Stopped,
    ingester::command::{Command, Deal},
    names::{ScanId, StreamName},
};

/// Superseded scans that are remembered.
const PAST: usize = 256;

pub(super) async fn run(link: Link, context: Context, shared: watch::Sender<Shared>, mut stop: watch::Receiver<bool>) {
    let tail = Tail::from_start(keys::UPDATES.to_owned(), &context.health);
    let parameters = Parameters::default();
    let mut updates = Updates { link, context, shared, tail, parameters, current: None, past: VecDeque::new() };
    tokio::select! {
        Err(Stopped) = updates.serve() => {}
        () = stopped(&mut stop) => {}
    }
}

struct Updates {
    link: Link,
    context: Context,
    shared: watch::Sender<Shared>,
    tail: Tail,
    parameters: Parameters,
    /// The scan that was last asked for.
    current: Option<ScanId>,
    /// Those before it: an old entry that is read again (a Redis with old data) must not bring one back.
    past: VecDeque<ScanId>,
}

impl Updates {
    /// Ends only when the ingester has stopped.
    async fn serve(&mut self) -> Result<(), Stopped> {
        self.tail = Tail::from_newest(keys::UPDATES.to_owned(), &mut self.link, &self.context.health).await;
        self.shared.send_modify(|shared| shared.listening = true);
        loop {
            let entries = self.tail.next(&mut self.link).await;
            self.process(&entries).await?;
        }
    }

    async fn process(&mut self, entries: &[Entry]) -> Result<(), Stopped> {
        let mut understood = false;
        let mut start = None;
        let mut finish = None;
        for entry in entries {
            let update: ControllerUpdate = match serde_json::from_slice(&entry.data) {
                Ok(update) => update,
                Err(problem) => {
                    let detail = format!("{}: {problem}", entry.id);
                    self.context.health.complain("entries of controller:updates that are no updates", &detail);
                    continue;
                }
            };
            understood = true;
            let scan = ScanId(update.mapping_uuid);
            if self.past.contains(&scan) {
                self.context.health.complain("updates of a scan that was superseded", &entry.id);
                continue;
            }
            self.parameters.update(&update.parameters_version, &mut self.link, &self.context).await?;
            if self.current != Some(scan) {
                self.left_behind();
                self.current = Some(scan);
                finish = None;
                start = Some(update.active_streams);
            }
            if update.finished {
                finish = Some(scan);
            }
        }
        if let (Some(active), Some(scan)) = (start, self.current) {
            self.start(scan, &active).await?;
        }
        if let Some(scan) = finish {
            self.context.line.commands.command(Command::Finish { scan }).await?;
        }
        if understood {
            let hash = Some(self.parameters.hash());
            self.shared.send_if_modified(|shared| std::mem::replace(&mut shared.parameters_hash, hash.clone()) != hash);
        }
        Ok(())
    }

    fn left_behind(&mut self) {
        if self.past.len() >= PAST {
            self.past.pop_front();
        }
        self.past.extend(self.current);
    }

    async fn start(&mut self, scan: ScanId, active: &[String]) -> Result<(), Stopped> {
        let line = &self.context.line;
        let about = format!("ingester {}", line.name);
        let streams = if active.is_empty() { self.look_back(scan).await } else { Ok(self.own(active)) };
        let (missed, why) = match streams {
            // Both would take the detector's events.
            Ok(streams) if !streams.is_empty() && self.context.stepped_back.load(Ordering::Relaxed) => {
                (streams, "because a younger instance of this name serves; it has them")
            }
            Err(missed) => (
                missed,
                "because its work is being handed out already and events can no longer be paired; start the scan again",
            ),
            Ok(streams) => {
                self.context.health.right(&about);
                return self.open(scan, streams).await;
            }
        };
        let what = format!("joined scan {scan} without its streams ({}), {why}", names(&missed));
        self.context.health.fault(about, &what);
        self.open(scan, Vec::new()).await
    }

    async fn open(&mut self, scan: ScanId, streams: Vec<StreamName>) -> Result<(), Stopped> {
        let line = &self.context.line;
        tracing::info!(ingester = %line.name, %scan, streams = names(&streams), "a scan begins");
        line.commands.command(Command::StartScan { scan, streams, deal: Deal::Controller }).await
    }

    fn own(&self, active: &[String]) -> Vec<StreamName> {
        let is_active = |own: &&StreamName| active.iter().any(|name| name == own.as_str());
        self.context.line.streams.iter().filter(is_active).cloned().collect()
    }

    /// A restarted ingester is handed the current uuid without its streams, because its parameters differ. The entry that
    /// brought the uuid has them; they can be joined as long as no work was handed out.
    ///
    /// # Errors
    /// The streams that cannot be joined.
    async fn look_back(&mut self, scan: ScanId) -> Result<Vec<StreamName>, Vec<StreamName>> {
        let brought = self.streams_of(scan).await;
        let streams = match &brought {
            Some(active) => self.own(active),
            // Its entry is lost, so any of ours may be meant.
            None => self.context.line.streams.clone(),
        };
        if streams.is_empty() {
            return Ok(streams);
        }
        match self.link.ask::<u64>(redis::cmd("XLEN").arg(keys::assigned(scan))).await {
            // Without an entry: the mapping that a controller has before its first scan.
            Ok(0) => Ok(if brought.is_some() { streams } else { Vec::new() }),
            _ => Err(streams),
        }
    }

    /// What the entry that brought a scan says of its streams; all entries of a scan stand together.
    async fn streams_of(&mut self, scan: ScanId) -> Option<Vec<String>> {
        let mut before = None;
        let mut found = None;
        loop {
            let page = self.tail.back(&mut self.link, before.as_deref()).await;
            before = Some(page.last()?.id.clone());
            for entry in page {
                let Ok(update) = serde_json::from_slice::<ControllerUpdate>(&entry.data) else { continue };
                if update.mapping_uuid != scan.0 {
                    if found.is_some() {
                        return None;
                    }
                } else if update.active_streams.is_empty() {
                    found = Some(());
                } else {
                    return Some(update.active_streams);
                }
            }
        }
    }
}

fn names(streams: &[StreamName]) -> String {
    streams.iter().map(StreamName::as_str).collect::<Vec<_>>().join(", ")
}
