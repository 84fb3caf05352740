//! Turns the controller's updates into commands: every entry, in order.
//!
//! Begins after the newest entry. Several entries may come in one read: the parameters of all are processed in order,
//! and before a scan start in the same entry; of several new uuids only the last is opened.
//!
//! A scan that is older than the current one is never opened. The order of the entries determines the age: a restarted
//! Redis may have old data, which precedes the entry that announced our scan. That position is known by the entry's id,
//! even if the entry itself is lost.

use std::{cmp, collections::VecDeque};

use tokio::sync::watch;

use super::{
    Context, Shared,
    joining::{Joining, join, own},
    keys,
    link::Link,
    messages::ControllerUpdate,
    parameters::Parameters,
    stopped,
    tail::{Entry, Tail, order},
};
use crate::{
    control::{Stopped, report::FaultSubject},
    counter::Counter,
    ingester::command::Deal,
    names::{ScanId, StreamName},
};

/// Number of superseded scans that are remembered, to recognise late messages. These come within seconds.
const PAST: usize = 256;

pub(super) async fn run(link: Link, context: Context, shared: watch::Sender<Shared>, mut stop: watch::Receiver<bool>) {
    let tail = Tail::from_start(keys::UPDATES.to_owned(), &context.health);
    let parameters = Parameters::default();
    let (brought, past) = (String::new(), VecDeque::new());
    let mut updates = Updates { link, context, shared, tail, parameters, current: None, brought, past };
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
    /// The last requested scan.
    current: Option<ScanId>,
    /// The id of the entry that announced it; before the first, the position where we began to listen.
    brought: String,
    /// The scans before it: a late finish must not reactivate one.
    past: VecDeque<ScanId>,
}

impl Updates {
    /// Returns only when the ingester has stopped.
    async fn serve(&mut self) -> Result<(), Stopped> {
        self.tail = Tail::from_newest(keys::UPDATES.to_owned(), &mut self.link, &self.context.health).await;
        self.brought = self.tail.last().to_owned();
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
                    self.context.health.complain(Counter::UpdatesInvalid, &detail);
                    continue;
                }
            };
            understood = true;
            let scan = ScanId(update.mapping_uuid);
            if self.current != Some(scan) && (self.past.contains(&scan) || self.is_older(entry)) {
                self.context.health.complain(Counter::UpdatesSuperseded, &entry.id);
                continue;
            }
            self.parameters.update(&update.parameters_version, &mut self.link, &self.context).await?;
            if self.current != Some(scan) {
                self.left_behind();
                self.current = Some(scan);
                self.brought.clone_from(&entry.id);
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
            self.context.ingester.finish(scan).await?;
        }
        if understood {
            let hash = Some(self.parameters.hash());
            self.shared.send_if_modified(|shared| std::mem::replace(&mut shared.parameters_hash, hash.clone()) != hash);
        }
        Ok(())
    }

    /// Whether an entry precedes the current scan's. An entry that arrives after our check is new, regardless of its id: a
    /// clock may have been set back.
    fn is_older(&self, entry: &Entry) -> bool {
        entry.found && order(&entry.id, &self.brought) != cmp::Ordering::Greater
    }

    fn left_behind(&mut self) {
        if self.past.len() >= PAST {
            self.past.pop_front();
        }
        self.past.extend(self.current);
    }

    async fn start(&mut self, scan: ScanId, active: &[String]) -> Result<(), Stopped> {
        let ingester = &self.context.ingester;
        let subject = FaultSubject::Ingester(ingester.name.clone());
        let joining = match active.is_empty() {
            true => join(scan, &self.tail, &mut self.link, ingester).await,
            false => Joining::Whole(own(ingester, active)),
        };
        let what = match joining {
            // Otherwise both instances would take the detector's events.
            Joining::Whole(streams) if !streams.is_empty() && self.context.health.has_stepped_back(&ingester.name) => {
                format!(
                    "takes no part in scan {scan}: a younger instance of this name has its streams ({})",
                    names(&streams)
                )
            }
            Joining::Whole(streams) => {
                self.context.health.resolve(&subject);
                return self.open(scan, streams).await;
            }
            Joining::Missed(streams) => {
                let streams = names(&streams);
                format!(
                    "started in the middle of scan {scan}: its events cannot be assigned any more, so {streams} sits out \
                     until the next scan; repeat scan {scan} if you need {streams} in it"
                )
            }
            Joining::Over => {
                self.context.health.resolve(&subject);
                tracing::info!("scan {scan} is over; waiting for the next one");
                return self.begin(scan, Vec::new()).await;
            }
        };
        self.context.health.fault(subject, &what);
        self.begin(scan, Vec::new()).await
    }

    async fn open(&mut self, scan: ScanId, streams: Vec<StreamName>) -> Result<(), Stopped> {
        match streams.is_empty() {
            true => tracing::info!("scan {scan} does not use this ingester's streams"),
            false => tracing::info!(%scan, streams = names(&streams), "a scan begins"),
        }
        self.begin(scan, streams).await
    }

    async fn begin(&mut self, scan: ScanId, streams: Vec<StreamName>) -> Result<(), Stopped> {
        self.context.ingester.begin(scan, streams, Deal::Controller).await
    }
}

fn names(streams: &[StreamName]) -> String {
    streams.iter().map(StreamName::as_str).collect::<Vec<_>>().join(", ")
}
