//! Waits for replaced sources to end, and for the release of their frames.
//!
//! A task on the control runtime. Owns the readers that were replaced, until their threads have ended or are given up;
//! it checks them a few times a second and never blocks.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{
    super::make::Problem,
    Feed, Swaps,
    receipt::{OldSource, SwapReceipt},
    recover::Attempts,
};
use crate::{
    control::report::now,
    source::{beginning::Late, reader::Reader, replacement::Told},
};

/// A replaced source that is not settled yet.
struct Leaving {
    number: u64,
    /// `None`: its thread was given up.
    reader: Option<Reader>,
    feed: Feed,
    since: Instant,
    old: OldSource,
}

/// Handles messages from forwarders and readers, for the life of the host.
pub(crate) async fn keep(swaps: Arc<Swaps>, mut told: mpsc::UnboundedReceiver<Told>) {
    let mut leaving: Vec<Leaving> = Vec::new();
    let mut attempts = Attempts::new();
    loop {
        let nobody = leaving.is_empty();
        let next = async {
            match nobody {
                true => std::future::pending().await,
                false => tokio::time::sleep(LOOK).await,
            }
        };
        tokio::select! {
            told = told.recv() => match told {
                Some(Told::Hangs(stream)) => swaps.recover(&stream, &mut attempts),
                Some(told) => leaving.extend(swaps.take_note(told)),
                None => return,
            },
            () = next => {}
        }
        leaving.retain_mut(|one| !swaps.has_settled(one));
    }
}

impl Swaps {
    fn take_note(&self, told: Told) -> Option<Leaving> {
        match told {
            Told::NotNeeded { number } => {
                let why = "not needed: the call that did not return has returned, and its source is used again";
                if let Some(receipt) = self.book().refused(number, why, "source") {
                    tracing::info!(stream = %receipt.stream, swap = number, "{why}");
                }
                None
            }
            // Handled by `keep`.
            Told::Hangs(_) => None,
            Told::Late { number, late } => {
                self.come_late(number, late);
                None
            }
            Told::Effective { number, scan, old } => {
                let (feed, receipt) = self.book().effective(number, scan)?;
                if let Some(receipt) = receipt {
                    tell_effective(&receipt);
                }
                self.publish_parameters(&feed.settings.name);
                let since = Instant::now();
                Some(Leaving { number, reader: Some(old), feed, since, old: OldSource::default() })
            }
        }
    }

    /// A source that had to wait for the end of the old one was created, or the old one was created again.
    fn come_late(&self, number: u64, late: Late) {
        let stream = match late {
            Late::Made(created) => {
                let receipt = self.book().made_late(number, created);
                receipt.map(|receipt| {
                    tell_effective(&receipt);
                    receipt.stream
                })
            }
            Late::NotMade { problem, again } => {
                let Some(receipt) = self.receipt(number) else { return };
                let to = receipt.to.as_ref().map_or_else(String::new, ToString::to_string);
                let problem = Problem::new(&to, problem);
                let text = problem.to_string();
                let old = receipt.from.to_string();
                match &again {
                    Ok(_) => tracing::error!(
                        stream = %receipt.stream, swap = number, "refused; the stream is back on {old}: {text}"
                    ),
                    Err(again) => tracing::error!(
                        stream = %receipt.stream, swap = number,
                        "refused, and the stream has no source: {text}; {old} cannot be created again: {again}"
                    ),
                }
                self.book().not_made_late(number, &text, problem.with(), again.ok())
            }
        };
        if let Some(stream) = stream {
            self.publish_parameters(&stream);
        }
    }

    /// Whether an old source is settled.
    fn has_settled(&self, one: &mut Leaving) -> bool {
        let before = one.old.clone();
        if let Some(reader) = &one.reader {
            one.old.events = reader.events();
            one.old.ended = reader.has_ended();
            let limit = self.settings().source_timeout;
            if one.old.ended {
                one.reader = None;
            } else if one.since.elapsed() > limit {
                let why = format!("a call of the source has not returned within {limit:?} (source_timeout)");
                tracing::error!(
                    stream = %one.feed.settings.name, swap = one.number,
                    "the thread of the old source ({}) is left behind: {why}", one.feed.factory.identity()
                );
                one.feed.factory.write_off();
                one.old.left_behind = Some(why);
                one.reader = None;
            }
        }
        if let Some(ledger) = one.feed.created.ledger {
            one.old.frames_returned = ledger.released();
            one.old.frames = ledger.delivered();
        }
        let settled = one.reader.is_none() && one.old.frames == one.old.frames_returned;
        if settled {
            one.old.settled_at = Some(now());
            let OldSource { events, frames, .. } = one.old;
            tracing::info!(
                stream = %one.feed.settings.name, swap = one.number,
                "the old source gave {events} events; all its {frames} frames are released"
            );
        }
        if one.old != before {
            self.book().old(one.number, one.old.clone());
        }
        settled
    }
}

/// Logs a swap that took effect; not while its source is still to be created.
fn tell_effective(SwapReceipt { number, stream, from, to, effective_scan, .. }: &SwapReceipt) {
    if let Some(scan) = effective_scan {
        let to = to.as_ref().map_or_else(String::new, ToString::to_string);
        tracing::info!(%stream, swap = number, %scan, "new source from this scan on: {to}; the old one: {from}");
    }
}

/// Polling interval for returned frames, while there are old sources.
const LOOK: Duration = Duration::from_millis(100);
