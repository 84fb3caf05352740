//! Waits for replaced sources to end, and for the release of their frames.
//!
//! A task on the control runtime. Owns a replaced reader after its successor has taken over, until its thread has ended or
//! is given up; it checks a few times a second and never blocks.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{
    super::problem::Problem,
    Swaps,
    book::Current,
    receipt::{OldSource, ProblemSubject},
    recover::Attempts,
};
use crate::{
    control::report::now,
    events::HostEvent,
    names::{ScanId, StreamName},
    source::{
        Ledger,
        reader::{Reader, TookOver},
        renewal::NotMade,
        replacement::SourceNotice,
    },
};

/// A replaced source that is not settled yet.
struct Leaving {
    number: u64,
    /// `None`: its thread has ended, or was given up.
    reader: Option<Reader>,
    stream: StreamName,
    ledger: Option<&'static Ledger>,
    since: Instant,
    old: OldSource,
}

/// Handles messages from forwarders and readers, until these have ended. Then reports the replaced sources that still hang.
pub(crate) async fn keep(swaps: Arc<Swaps>, mut notices: mpsc::UnboundedReceiver<SourceNotice>) {
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
            notice = notices.recv() => match notice {
                Some(SourceNotice::Hangs(stream)) => swaps.recover(&stream, &mut attempts),
                Some(SourceNotice::NotNeeded { number }) => swaps.not_needed(number),
                Some(SourceNotice::TookOver { number, scan, since, took }) => {
                    leaving.push(swaps.took_over(number, scan, since, *took));
                }
                None => break,
            },
            () = next => {}
        }
        leaving.retain_mut(|one| !swaps.has_settled(one));
    }
    for reader in leaving.iter_mut().filter_map(|one| one.reader.as_mut()) {
        reader.join(Instant::now());
    }
}

impl Swaps {
    fn not_needed(&self, number: u64) {
        let why = "not needed: the call that did not return has returned, and its source is used again";
        if let Some(receipt) = self.book().refused(number, why, ProblemSubject::Source) {
            tracing::info!(stream = %receipt.stream, swap = number, "{why}");
        }
    }

    /// A new source has taken over, or the old one was created again.
    fn took_over(&self, number: u64, scan: ScanId, since: Instant, took: TookOver) -> Leaving {
        let TookOver { old, feed, parameters, failed } = took;
        let (stream, from) = (old.shared.stream.clone(), old.shared.feed().factory.identity());
        let current = feed.factory.identity();
        let (problem, nothing) = match failed {
            Some(NotMade { source, problem, nothing }) => {
                (Some(Problem::not_created(&stream, &source, problem)), nothing)
            }
            None => (None, None),
        };
        let refused = problem.as_ref().map(|problem| (problem.text(), ProblemSubject::of(problem)));
        let refused = refused.as_ref().map(|(text, with)| (text.as_str(), *with));
        let new = Current { number, feed, parameters };
        if self.book().took_over(new, scan, from.clone(), refused) {
            match refused {
                None => self.news.tell(HostEvent::SwapEffective { stream: stream.clone(), swap: number, scan }),
                Some(_) => self.news.ring(),
            }
            match (refused, nothing) {
                (None, _) => tracing::info!(
                    %stream, swap = number, %scan, "new source from this scan on: {current}; the old one: {from}"
                ),
                (Some((text, _)), None) => {
                    tracing::error!(%stream, swap = number, "refused; the stream is back on {current}: {text}");
                }
                (Some((text, _)), Some(nothing)) => {
                    tracing::error!(
                        %stream, swap = number, "refused, and the stream has no source: {text}; {nothing}"
                    );
                }
            }
            self.publish_parameters(&stream);
        }
        Leaving { number, stream, ledger: old.shared.ledger(), reader: Some(old), since, old: OldSource::default() }
    }

    /// Whether an old source is settled.
    fn has_settled(&self, one: &mut Leaving) -> bool {
        let before = one.old.clone();
        if let Some(reader) = &one.reader {
            one.old.events = reader.shared.events();
            one.old.ended = reader.has_ended();
            let limit = self.settings().source_timeout;
            if one.old.ended {
                one.reader = None;
            } else if one.since.elapsed() > limit {
                let why = format!("a call of the source has not returned within {limit:?} (source_timeout)");
                tracing::error!(
                    stream = %one.stream, swap = one.number,
                    "the thread of the old source ({}) is left behind: {why}", reader.shared.source()
                );
                reader.write_off();
                one.old.left_behind = Some(why);
                one.reader = None;
            }
        }
        if let Some(ledger) = one.ledger {
            one.old.frames_returned = ledger.released();
            one.old.frames = ledger.delivered();
        }
        let settled = one.reader.is_none() && one.old.frames == one.old.frames_returned;
        if settled {
            one.old.settled_at = Some(now());
            let OldSource { events, frames, .. } = one.old;
            tracing::info!(
                stream = %one.stream, swap = one.number,
                "the old source gave {events} events; all its {frames} frames are released"
            );
        }
        if one.old != before {
            self.book().old(one.number, one.old.clone());
        }
        settled
    }
}

/// Polling interval for returned frames, while there are old sources.
const LOOK: Duration = Duration::from_millis(100);
