//! Lets an ingester join a scan that began before the ingester did: reads the scan's streams from the updates so far.
//!
//! The controller sends a restarted ingester the current uuid without its streams, because its parameters differ. The
//! entry that announced the uuid contains them; streams can join as long as no work was assigned.

use super::{
    keys,
    link::{Link, Unusable},
    messages::ControllerUpdate,
    tail::Tail,
};
use crate::{
    control::IngesterHandle,
    names::{ScanId, StreamName},
};

/// How an ingester can take part in a scan that has already begun.
#[derive(Debug, PartialEq)]
pub(super) enum Joining {
    /// These own streams can take part from the first event on; the list may be empty.
    Whole(Vec<StreamName>),
    /// Events of these own streams were already assigned, so further ones can no longer be paired.
    Missed(Vec<StreamName>),
    /// The controller has finished the scan.
    Over,
}

/// Reads the updates, newest first, and checks whether work was assigned.
pub(super) async fn join(scan: ScanId, tail: &Tail, link: &mut Link, ingester: &IngesterHandle) -> Joining {
    let ScanUpdates { streams: announced, finished } = read_updates(scan, tail, link).await;
    if finished {
        return Joining::Over;
    }
    let streams = match &announced {
        Some(active) => own(ingester, active),
        // The scan's entry is lost, so it may include any of our streams.
        None => ingester.streams.clone(),
    };
    if streams.is_empty() {
        return Joining::Whole(streams);
    }
    let assigned = loop {
        if let Some(answer) = link.ask_once::<u64>(redis::cmd("XLEN").arg(keys::assigned(scan))).await {
            break answer;
        }
    };
    match assigned {
        // Without an entry, this is the mapping that a controller has before its first scan.
        Ok(0) => Joining::Whole(if announced.is_some() { streams } else { Vec::new() }),
        // Nobody can tell; status names the right.
        Err(Unusable::Denied) if announced.is_none() => Joining::Whole(Vec::new()),
        _ => Joining::Missed(streams),
    }
}

/// Our own streams among the active ones.
pub(super) fn own(ingester: &IngesterHandle, active: &[String]) -> Vec<StreamName> {
    let is_active = |own: &&StreamName| active.iter().any(|name| name == own.as_str());
    ingester.streams.iter().filter(is_active).cloned().collect()
}

/// What the updates contain about a scan.
#[derive(Default)]
struct ScanUpdates {
    /// The streams in the entry that announced it; `None` if the entry is lost.
    streams: Option<Vec<String>>,
    finished: bool,
}

/// Reads back to the entry that announced the scan; all entries of a scan are adjacent.
async fn read_updates(scan: ScanId, tail: &Tail, link: &mut Link) -> ScanUpdates {
    let mut updates = ScanUpdates::default();
    let mut before = None;
    let mut found = false;
    loop {
        let page = tail.back(link, before.as_deref()).await;
        let Some(last) = page.last() else { return updates };
        before = Some(last.id.clone());
        for entry in page {
            let Ok(update) = serde_json::from_slice::<ControllerUpdate>(&entry.data) else { continue };
            if update.mapping_uuid != scan.0 {
                if found {
                    return updates;
                }
                continue;
            }
            found = true;
            updates.finished |= update.finished;
            if !update.active_streams.is_empty() {
                updates.streams = Some(update.active_streams);
                return updates;
            }
        }
    }
}
