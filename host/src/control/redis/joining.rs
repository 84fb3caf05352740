//! How an ingester joins a scan that began before it came: what the updates so far say of that scan.
//!
//! A restarted ingester is handed the current uuid without its streams, because its parameters differ. The entry that brought
//! the uuid has them; they can be joined as long as no work was handed out.

use super::{keys, link::Link, messages::ControllerUpdate, tail::Tail};
use crate::{
    control::Line,
    names::{ScanId, StreamName},
};

/// What is left to do in a scan that began before.
#[derive(Debug, PartialEq)]
pub(super) enum Joining {
    /// These own streams can take part from the first event on; perhaps none.
    Whole(Vec<StreamName>),
    /// Events of these own streams were handed out already, so those that come can no longer be paired.
    Missed(Vec<StreamName>),
    /// The controller has said that it is finished.
    Over,
}

/// Looks at the updates, newest first, and at whether work was handed out.
pub(super) async fn join(scan: ScanId, tail: &Tail, link: &mut Link, line: &Line) -> Joining {
    let Brought { streams: brought, finished } = brought(scan, tail, link).await;
    if finished {
        return Joining::Over;
    }
    let streams = match &brought {
        Some(active) => own(line, active),
        // Its entry is lost, so any of ours may be meant.
        None => line.streams.clone(),
    };
    if streams.is_empty() {
        return Joining::Whole(streams);
    }
    match link.ask::<u64>(redis::cmd("XLEN").arg(keys::assigned(scan))).await {
        // Without an entry: the mapping that a controller has before its first scan.
        Ok(0) => Joining::Whole(if brought.is_some() { streams } else { Vec::new() }),
        _ => Joining::Missed(streams),
    }
}

/// Own streams among those that are active.
pub(super) fn own(line: &Line, active: &[String]) -> Vec<StreamName> {
    let is_active = |own: &&StreamName| active.iter().any(|name| name == own.as_str());
    line.streams.iter().filter(is_active).cloned().collect()
}

/// What the updates say of a scan.
#[derive(Default)]
struct Brought {
    /// The streams in the entry that brought it; None if that is lost.
    streams: Option<Vec<String>>,
    finished: bool,
}

/// Reads back to the entry that brought the scan; all entries of a scan stand together.
async fn brought(scan: ScanId, tail: &Tail, link: &mut Link) -> Brought {
    let mut brought = Brought::default();
    let mut before = None;
    let mut found = false;
    loop {
        let page = tail.back(link, before.as_deref()).await;
        let Some(last) = page.last() else { return brought };
        before = Some(last.id.clone());
        for entry in page {
            let Ok(update) = serde_json::from_slice::<ControllerUpdate>(&entry.data) else { continue };
            if update.mapping_uuid != scan.0 {
                if found {
                    return brought;
                }
                continue;
            }
            found = true;
            brought.finished |= update.finished;
            if !update.active_streams.is_empty() {
                brought.streams = Some(update.active_streams);
                return brought;
            }
        }
    }
}
