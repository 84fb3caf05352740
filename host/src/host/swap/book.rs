//! The source of each stream, and the receipts of all swaps: values only, no thread, no file, no lock.
//!
//! [`Swaps`](super::Swaps) holds it behind a lock, for one short access at a time. Each update is a step of one swap:
//!
//! ```text
//!   asked ──▶ Making ──ready──▶ Pending ──took over──▶ Effective ──settled──▶ (final)
//!               │ refused          │ superseded, or refused when it should take over
//!               ▼                  ▼
//!            Refused      Superseded, Refused
//! ```
//!
//! A swap stays `Pending` until the old source has ended and the new one is there: the scan in which it takes over begins
//! before the outcome is known.

use std::collections::{BTreeMap, VecDeque};

use super::receipt::{AskedBy, OldSource, ProblemSubject, SwapReceipt, SwapState};
use crate::{
    control::report::now,
    names::{ScanId, StreamName},
    plugin::identity::SourceIdentity,
    source::{Feed, parameter::Parameter},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Book {
    next: u64,
    current: BTreeMap<StreamName, Current>,
    /// Oldest first.
    receipts: VecDeque<SwapReceipt>,
}

/// The source that feeds a stream.
#[derive(Debug, Clone)]
pub(super) struct Current {
    /// The latest swap of the stream that has taken over, or tried to; 0: none.
    pub(super) number: u64,
    pub(super) feed: Feed,
    /// Its run-time parameters.
    pub(super) parameters: Vec<Parameter>,
}

impl Book {
    pub(super) fn new(sources: impl IntoIterator<Item = (Feed, Vec<Parameter>)>) -> Self {
        let current =
            |(feed, parameters): (Feed, _)| (feed.settings.name.clone(), Current { number: 0, feed, parameters });
        Self { next: 1, current: sources.into_iter().map(current).collect(), receipts: VecDeque::new() }
    }

    /// The source of each stream.
    pub(super) fn current(&self) -> &BTreeMap<StreamName, Current> {
        &self.current
    }

    /// The source of a stream.
    pub(super) fn feed(&self, stream: &str) -> Option<&Feed> {
        self.current.get(stream).map(|current| &current.feed)
    }

    pub(super) fn receipts(&self) -> impl DoubleEndedIterator<Item = &SwapReceipt> {
        self.receipts.iter()
    }

    /// Number of swaps whose sources are being created.
    pub(super) fn making(&self) -> usize {
        self.receipts.iter().filter(|receipt| receipt.state == SwapState::Making).count()
    }

    /// Whether a source of this stream is being created.
    pub(super) fn is_making(&self, stream: &StreamName) -> bool {
        self.receipts.iter().any(|receipt| receipt.stream == *stream && receipt.state == SwapState::Making)
    }

    /// Records a requested swap. Returns its number.
    pub(super) fn asked(&mut self, stream: &StreamName, asked_for: &str, asked_by: AskedBy) -> Option<u64> {
        let from = self.feed(stream.as_str())?.factory.identity();
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
        self.note(number, |receipt| {
            receipt.problem_with = Some(with);
            receipt.state = SwapState::Refused;
            receipt.problem = Some(problem.to_owned());
        })
    }

    /// The source is ready, and about to be handed over.
    pub(super) fn ready(&mut self, number: u64, took_ms: f64) -> Option<SwapReceipt> {
        self.note(number, |receipt| {
            receipt.state = SwapState::Pending;
            receipt.ready_ms = Some(took_ms);
        })
    }

    pub(super) fn superseded(&mut self, number: u64, by: u64) -> Option<SwapReceipt> {
        self.note(number, |receipt| {
            receipt.state = SwapState::Superseded;
            receipt.superseded_by = Some(by);
        })
    }

    /// A swap has replaced the source `from`. From this scan on its stream is fed by `new`: by the swap's source, or with a
    /// problem by the one that was created in its place. Returns whether that is so, and not out of date.
    pub(super) fn took_over(
        &mut self,
        new: Current,
        scan: ScanId,
        from: SourceIdentity,
        problem: Option<(&str, ProblemSubject)>,
    ) -> bool {
        let (number, stream) = (new.number, new.feed.settings.name.clone());
        let Some(current) = self.current.get_mut(&stream) else { return false };
        // Its call hung, and a later source has taken over meanwhile.
        if current.number > number {
            return false;
        }
        *current = new;
        let earlier = |receipt: &&mut SwapReceipt| {
            receipt.stream == stream && receipt.number < number && receipt.state == SwapState::Pending
        };
        // Sources whose calls hang when they should take over.
        for receipt in self.receipts.iter_mut().filter(earlier) {
            receipt.state = SwapState::Superseded;
            receipt.superseded_by = Some(number);
        }
        self.note(number, |receipt| {
            receipt.from = from;
            receipt.old = Some(OldSource::default());
        });
        match problem {
            Some((problem, with)) => drop(self.refused(number, problem, with)),
            None => drop(self.note(number, |receipt| {
                receipt.state = SwapState::Effective;
                receipt.effective_at = Some(now());
                receipt.effective_scan = Some(scan);
            })),
        }
        true
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
    use crate::{settings::StreamSettings, source::factory::linked};

    fn current(number: u64) -> Current {
        let settings = StreamSettings::new(StreamName::new("s").unwrap(), "stins", json!({}));
        let feed = Feed { settings, factory: linked::<framegate_stins::Stins>() };
        Current { number, feed, parameters: Vec::new() }
    }

    /// A book with one stream, `s`, and pending swaps.
    fn book(swaps: u64) -> Book {
        let Current { feed, parameters, .. } = current(0);
        let mut book = Book::new([(feed, parameters)]);
        for number in 1..=swaps {
            assert_eq!(book.asked(&StreamName::new("s").unwrap(), "stins", AskedBy::Api), Some(number));
            book.ready(number, 1.0);
        }
        book
    }

    fn takes_over(book: &mut Book, number: u64, scan: ScanId, problem: Option<(&str, ProblemSubject)>) -> bool {
        book.took_over(current(number), scan, SourceIdentity::linked("the one before"), problem)
    }

    fn state(book: &Book, number: u64) -> (SwapState, Option<ScanId>, Option<u64>) {
        let receipt = book.receipts().find(|receipt| receipt.number == number).unwrap();
        (receipt.state, receipt.effective_scan, receipt.superseded_by)
    }

    #[test]
    fn a_source_is_effective_only_when_it_has_taken_over() {
        let (mut book, scan) = (book(1), ScanId(Uuid::new_v4()));
        assert_eq!(state(&book, 1), (SwapState::Pending, None, None));
        assert!(takes_over(&mut book, 1, scan, None));
        assert_eq!(state(&book, 1), (SwapState::Effective, Some(scan), None));
    }

    #[test]
    fn a_source_that_cannot_take_over_is_never_shown_as_effective() {
        let mut book = book(1);
        assert!(takes_over(&mut book, 1, ScanId(Uuid::new_v4()), Some(("no", ProblemSubject::Settings))));
        assert_eq!(state(&book, 1), (SwapState::Refused, None, None));
        assert_eq!(
            book.receipts().next().unwrap().from.to_string(),
            SourceIdentity::linked("the one before").to_string()
        );
    }

    #[test]
    fn a_source_that_hangs_when_it_should_take_over_gives_way_to_the_next() {
        let (mut book, scan) = (book(2), ScanId(Uuid::new_v4()));
        assert!(takes_over(&mut book, 2, scan, None));
        assert_eq!(state(&book, 1), (SwapState::Superseded, None, Some(2)));
        // Its call returns after all.
        assert!(!takes_over(&mut book, 1, ScanId(Uuid::new_v4()), None));
        assert_eq!((state(&book, 1), book.current()["s"].number), ((SwapState::Superseded, None, Some(2)), 2));
        assert_eq!(state(&book, 2), (SwapState::Effective, Some(scan), None));
    }
}
