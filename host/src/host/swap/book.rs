//! What feeds each stream, and the receipts of all swaps: values only, no thread, no file, no lock.
//!
//! [`Swaps`](super::Swaps) holds it behind a lock, for a look or a note at a time. Each note is a step of one swap:
//!
//! ```text
//!   asked ──▶ Making ──ready──▶ Pending ──effective──▶ Effective ──settled──▶ (final)
//!               │ refused          │ superseded
//!               ▼                  ▼
//!            Refused           Superseded
//! ```

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::receipt::{AskedBy, OldSource, SwapReceipt, SwapState};
use crate::{
    control::report::now,
    names::{ScanId, StreamName},
    plugin::identity::SourceIdentity,
    settings::StreamSettings,
    source::{Factory, reader::Created},
};

/// What feeds a stream, or is ready to.
#[derive(Debug, Clone)]
pub(crate) struct Feed {
    /// The swap that brought it; 0: the start.
    pub(crate) number: u64,
    /// What was asked for, settings included.
    pub(crate) settings: StreamSettings,
    pub(crate) factory: Arc<dyn Factory>,
    pub(crate) created: Created,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Book {
    next: u64,
    feeds: BTreeMap<StreamName, Feed>,
    /// Made and handed over, by the swap's number.
    waiting: BTreeMap<u64, Feed>,
    /// Of swaps whose new source waits until the old one has gone: what feeds the stream again if it cannot be made.
    before: BTreeMap<u64, Feed>,
    /// The oldest first.
    receipts: VecDeque<SwapReceipt>,
}

impl Book {
    pub(super) fn new(feeds: BTreeMap<StreamName, Feed>) -> Self {
        Self { next: 1, feeds, waiting: BTreeMap::new(), before: BTreeMap::new(), receipts: VecDeque::new() }
    }

    /// What feeds a stream.
    pub(super) fn feed(&self, stream: &str) -> Option<&Feed> {
        self.feeds.get(stream)
    }

    /// What feeds a stream, or will from the next scan on.
    pub(super) fn latest(&self, stream: &str) -> Option<&Feed> {
        let waits = |feed: &&Feed| feed.settings.name.as_str() == stream;
        self.waiting.values().rfind(waits).or_else(|| self.feeds.get(stream))
    }

    /// What feeds each stream.
    pub(super) fn feeds(&self) -> impl Iterator<Item = (&StreamName, &Feed)> {
        self.feeds.iter()
    }

    pub(super) fn receipts(&self) -> impl DoubleEndedIterator<Item = &SwapReceipt> {
        self.receipts.iter()
    }

    /// Swaps whose sources are being made.
    pub(super) fn making(&self) -> usize {
        self.receipts.iter().filter(|receipt| receipt.state == SwapState::Making).count()
    }

    /// A swap is asked for. The number is its own.
    pub(super) fn asked(&mut self, stream: &StreamName, asked_for: &str, asked_by: AskedBy) -> Option<u64> {
        let from = self.feeds.get(stream)?.factory.identity();
        let number = self.next;
        self.next += 1;
        if self.receipts.len() >= KEPT {
            self.receipts.pop_front();
        }
        self.receipts.push_back(SwapReceipt {
            number,
            stream: stream.clone(),
            state: SwapState::Making,
            asked_by,
            asked_at: now(),
            asked_for: asked_for.to_owned(),
            from,
            to: None,
            reused: false,
            ready_ms: None,
            problem: None,
            problem_with: None,
            superseded_by: None,
            effective_at: None,
            effective_scan: None,
            old: None,
        });
        Some(number)
    }

    /// The file was found and may be loaded.
    pub(super) fn found(&mut self, number: u64, to: SourceIdentity, reused: bool) {
        self.note(number, |receipt| {
            receipt.to = Some(to);
            receipt.reused = reused;
        });
    }

    pub(super) fn refused(&mut self, number: u64, problem: &str, with: &'static str) {
        self.waiting.remove(&number);
        self.note(number, |receipt| {
            receipt.problem_with = Some(with);
            receipt.state = SwapState::Refused;
            receipt.problem = Some(problem.to_owned());
        });
    }

    /// The source is made, and about to be handed over.
    pub(super) fn ready(&mut self, feed: Feed, took_ms: f64) -> Option<SwapReceipt> {
        let number = feed.number;
        self.waiting.insert(number, feed);
        self.note(number, |receipt| {
            receipt.state = SwapState::Pending;
            receipt.ready_ms = Some(took_ms);
        })
    }

    pub(super) fn superseded(&mut self, number: u64, by: u64) -> Option<SwapReceipt> {
        self.waiting.remove(&number);
        self.note(number, |receipt| {
            receipt.state = SwapState::Superseded;
            receipt.superseded_by = Some(by);
        })
    }

    /// The new source feeds its stream. Returns the old one with the receipt.
    pub(super) fn effective(&mut self, number: u64, scan: ScanId) -> Option<(Feed, Option<SwapReceipt>)> {
        let feed = self.waiting.remove(&number)?;
        let (stream, waits) = (feed.settings.name.clone(), feed.created.waits);
        let old = self.feeds.insert(stream, feed)?;
        if waits {
            self.before.insert(number, old.clone());
        }
        let from = old.factory.identity();
        let receipt = self.note(number, |receipt| {
            receipt.state = SwapState::Effective;
            receipt.from = from;
            receipt.effective_at = Some(now());
            receipt.effective_scan = Some(scan);
            receipt.old = Some(OldSource::default());
        });
        Some((old, receipt))
    }

    /// The new source could be made when the old one had gone. Returns the stream.
    pub(super) fn made_late(&mut self, number: u64, created: Created) -> Option<StreamName> {
        let stream = self.before.remove(&number)?.settings.name;
        // Unless another source feeds the stream by now.
        self.feeds.get_mut(&stream).filter(|feed| feed.number == number)?.created = created;
        Some(stream)
    }

    /// The new source could not be made when the old one had gone; the old one was made again, or not.
    pub(super) fn not_made_late(
        &mut self,
        number: u64,
        problem: &str,
        with: &'static str,
        again: Option<Created>,
    ) -> Option<StreamName> {
        let mut feed = self.before.remove(&number)?;
        feed.created =
            again.unwrap_or(Created { parameters: Vec::new(), on_demand: false, ledger: None, waits: false });
        let stream = feed.settings.name.clone();
        self.refused(number, problem, with);
        self.note(number, |receipt| (receipt.effective_at, receipt.effective_scan) = (None, None));
        // Unless another source feeds the stream by now.
        let now = self.feeds.get_mut(&stream).filter(|feed| feed.number == number)?;
        *now = feed;
        Some(stream)
    }

    /// How the old source fares.
    pub(super) fn old(&mut self, number: u64, old: OldSource) {
        self.note(number, |receipt| receipt.old = Some(old));
    }

    fn note(&mut self, number: u64, what: impl FnOnce(&mut SwapReceipt)) -> Option<SwapReceipt> {
        // A receipt may have made room for newer ones.
        let receipt = self.receipts.iter_mut().find(|receipt| receipt.number == number)?;
        what(receipt);
        Some(receipt.clone())
    }
}

/// Receipts that are kept, some kilobytes each at most.
const KEPT: usize = 100;
