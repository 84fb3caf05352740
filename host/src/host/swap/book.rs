//! The source of each stream, and the receipts of all swaps: values only, no thread, no file, no lock.
//!
//! [`Swaps`](super::Swaps) holds it behind a lock, for one short access at a time. Each update is a step of one swap:
//!
//! ```text
//!   asked ──▶ Making ──ready──▶ Pending ──effective──▶ Effective ──settled──▶ (final)
//!               │ refused          │ superseded, or refused when it is made late
//!               ▼                  ▼
//!            Refused      Superseded, Refused
//! ```
//!
//! A source that can be created only after the old one is dropped stays `Pending` until then: the scan in which it may
//! take over begins before the outcome is known.

use std::collections::{BTreeMap, VecDeque};

use super::{
    super::feed::Feed,
    receipt::{AskedBy, OldSource, ProblemSubject, SwapReceipt, SwapState},
};
use crate::{
    control::report::now,
    names::{ScanId, StreamName},
    plugin::identity::SourceIdentity,
    source::Created,
};

/// See the module.
#[derive(Debug)]
pub(super) struct Book {
    next: u64,
    feeds: BTreeMap<StreamName, Feed>,
    /// Sources that were created and handed over, by the swap's number.
    waiting: BTreeMap<u64, Feed>,
    /// The waiting sources that are being created now, after the old source was dropped; with the scan in which they take over.
    late: BTreeMap<u64, ScanId>,
    /// Oldest first.
    receipts: VecDeque<SwapReceipt>,
}

impl Book {
    pub(super) fn new(feeds: BTreeMap<StreamName, Feed>) -> Self {
        Self { next: 1, feeds, waiting: BTreeMap::new(), late: BTreeMap::new(), receipts: VecDeque::new() }
    }

    /// The source of a stream.
    pub(super) fn feed(&self, stream: &str) -> Option<&Feed> {
        self.feeds.get(stream)
    }

    /// The source of a stream from the next scan on.
    pub(super) fn latest(&self, stream: &str) -> Option<&Feed> {
        let waits = |feed: &&Feed| feed.settings.name.as_str() == stream;
        self.waiting.values().rfind(waits).or_else(|| self.feeds.get(stream))
    }

    /// The source of each stream.
    pub(super) fn feeds(&self) -> impl Iterator<Item = (&StreamName, &Feed)> {
        self.feeds.iter()
    }

    pub(super) fn receipts(&self) -> impl DoubleEndedIterator<Item = &SwapReceipt> {
        self.receipts.iter()
    }

    /// Number of swaps whose sources are being created.
    pub(super) fn making(&self) -> usize {
        self.receipts.iter().filter(|receipt| receipt.state == SwapState::Making).count()
    }

    /// Whether a swap of this stream is in progress.
    pub(super) fn is_changing(&self, stream: &StreamName) -> bool {
        let is_open = |state| matches!(state, SwapState::Making | SwapState::Pending);
        self.receipts.iter().any(|receipt| receipt.stream == *stream && is_open(receipt.state))
    }

    /// Records a requested swap. Returns its number.
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

    pub(super) fn refused(&mut self, number: u64, problem: &str, with: ProblemSubject) -> Option<SwapReceipt> {
        self.waiting.remove(&number);
        self.late.remove(&number);
        self.note(number, |receipt| {
            receipt.problem_with = Some(with);
            receipt.state = SwapState::Refused;
            receipt.problem = Some(problem.to_owned());
        })
    }

    /// The source is created, and about to be handed over.
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
        self.late.remove(&number);
        self.note(number, |receipt| {
            receipt.state = SwapState::Superseded;
            receipt.superseded_by = Some(by);
        })
    }

    /// The old source is replaced; the new one feeds its stream, or will if it can be created. Returns the old one, and
    /// the receipt.
    pub(super) fn effective(&mut self, number: u64, scan: ScanId) -> Option<(Feed, Option<SwapReceipt>)> {
        let feed = self.waiting.get(&number)?;
        let (stream, waits) = (feed.settings.name.clone(), feed.created.waits);
        // A replacement that was still to be created when this one replaced it.
        let unmade = self.late.keys().copied().find(|late| *late != number && self.is_for(*late, &stream));
        let unmade = unmade.and_then(|late| {
            let feed = self.waiting.get(&late).cloned();
            self.superseded(late, number);
            feed
        });
        let old = unmade.or_else(|| self.feeds.get(&stream).cloned())?;
        let from = old.factory.identity();
        let receipt = self.note(number, |receipt| {
            receipt.from = from;
            receipt.old = Some(OldSource::default());
        });
        if waits {
            self.late.insert(number, scan);
            return Some((old, receipt));
        }
        Some((old, self.feeds_from(number, scan)))
    }

    /// The new source was created after the old one was dropped. Returns its receipt.
    pub(super) fn made_late(&mut self, number: u64, created: Created) -> Option<SwapReceipt> {
        // Unless another source has replaced it since.
        let scan = self.late.remove(&number)?;
        self.waiting.get_mut(&number)?.created = created;
        self.feeds_from(number, scan)
    }

    /// The new source could not be created after the old one was dropped; whether the old one was created again.
    /// Returns the stream.
    pub(super) fn not_made_late(
        &mut self,
        number: u64,
        problem: &str,
        with: ProblemSubject,
        again: Option<Created>,
    ) -> Option<StreamName> {
        // Unless another source has replaced it since.
        self.late.remove(&number)?;
        let stream = self.waiting.get(&number)?.settings.name.clone();
        self.refused(number, problem, with);
        let feed = self.feeds.get_mut(&stream)?;
        feed.created =
            again.unwrap_or(Created { parameters: Vec::new(), on_demand: false, ledger: None, waits: false });
        Some(stream)
    }

    fn is_for(&self, number: u64, stream: &StreamName) -> bool {
        self.waiting.get(&number).is_some_and(|feed| feed.settings.name == *stream)
    }

    /// A created source takes over.
    fn feeds_from(&mut self, number: u64, scan: ScanId) -> Option<SwapReceipt> {
        let feed = self.waiting.remove(&number)?;
        self.feeds.insert(feed.settings.name.clone(), feed);
        self.note(number, |receipt| {
            receipt.state = SwapState::Effective;
            receipt.effective_at = Some(now());
            receipt.effective_scan = Some(scan);
        })
    }

    /// Updates the state of the old source.
    pub(super) fn old(&mut self, number: u64, old: OldSource) {
        self.note(number, |receipt| receipt.old = Some(old));
    }

    fn note(&mut self, number: u64, what: impl FnOnce(&mut SwapReceipt)) -> Option<SwapReceipt> {
        // Its receipt may have been removed for newer ones.
        let receipt = self.receipts.iter_mut().find(|receipt| receipt.number == number)?;
        what(receipt);
        Some(receipt.clone())
    }
}

/// Number of receipts kept, a few kilobytes each at most.
const KEPT: usize = 100;

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::settings::StreamSettings;
    use crate::{names::StreamName, source::linked::linked};

    fn created(waits: bool) -> Created {
        Created { parameters: Vec::new(), on_demand: false, ledger: None, waits }
    }

    /// A book with one stream, `s`, fed by source 0, and pending swaps that wait until the old source is dropped.
    fn book(swaps: u64) -> Book {
        let feed = |number| Feed {
            number,
            settings: StreamSettings::new(StreamName::new("s").unwrap(), "stins", json!({})),
            factory: linked::<framegate_stins::Stins>(),
            created: created(number > 0),
        };
        let stream = StreamName::new("s").unwrap();
        let mut book = Book::new([(stream.clone(), feed(0))].into());
        for number in 1..=swaps {
            assert_eq!(book.asked(&stream, "stins", AskedBy::Api), Some(number));
            book.ready(feed(number), 1.0);
        }
        book
    }

    fn state(book: &Book, number: u64) -> (SwapState, Option<ScanId>, u64) {
        let receipt = book.receipts().find(|receipt| receipt.number == number).unwrap();
        (receipt.state, receipt.effective_scan, book.feed("s").unwrap().number)
    }

    #[test]
    fn a_source_that_is_made_late_is_effective_only_when_it_is_made() {
        let (mut book, scan) = (book(1), ScanId(Uuid::new_v4()));
        let (old, _) = book.effective(1, scan).unwrap();
        assert_eq!((old.number, state(&book, 1)), (0, (SwapState::Pending, None, 0)));
        book.made_late(1, created(false)).unwrap();
        assert_eq!(state(&book, 1), (SwapState::Effective, Some(scan), 1));
    }

    #[test]
    fn a_source_that_cannot_be_made_late_is_never_shown_as_effective() {
        let mut book = book(1);
        book.effective(1, ScanId(Uuid::new_v4())).unwrap();
        assert_eq!(state(&book, 1), (SwapState::Pending, None, 0));
        assert_eq!(book.not_made_late(1, "no", ProblemSubject::Settings, Some(created(false))).unwrap().as_str(), "s");
        assert_eq!(state(&book, 1), (SwapState::Refused, None, 0));
    }

    #[test]
    fn a_source_that_was_still_to_be_made_gives_way_to_the_next() {
        let (mut book, scan) = (book(2), ScanId(Uuid::new_v4()));
        book.effective(1, ScanId(Uuid::new_v4())).unwrap();
        // The first swap's source is the one that is replaced, regardless of its outcome.
        assert_eq!(book.effective(2, scan).unwrap().0.number, 1);
        assert_eq!(state(&book, 1), (SwapState::Superseded, None, 0));
        assert!(
            book.made_late(1, created(false)).is_none()
                && book.not_made_late(1, "no", ProblemSubject::Settings, None).is_none()
        );
        book.made_late(2, created(false)).unwrap();
        assert_eq!(state(&book, 2), (SwapState::Effective, Some(scan), 2));
    }
}
