//! Counts of received messages in a run: helps people to find where data was lost.
//!
//! Pure; used on the reader thread. Only counts.

/// Counts of one run.
#[derive(Debug, Default)]
pub(crate) struct Received {
    messages: u64,
    bytes: u64,
    /// The detector's number of the last data; `None` before the first.
    last: Option<i64>,
    /// Numbers missing between consecutive data, plus losses that the detector reports itself; `None` until it gave a
    /// number.
    lost: Option<u64>,
}

impl Received {
    pub(crate) fn message(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// Takes the detector's own number of data. A number that is not above the last starts a new count.
    pub(crate) fn number(&mut self, number: i64) {
        self.numbers_below(number);
        self.last = Some(number);
    }

    /// The detector has numbered its data up to below `next`: numbers between the last one received and `next` are
    /// lost.
    pub(crate) fn numbers_below(&mut self, next: i64) {
        let left_out = self.last.and_then(|last| next.checked_sub(last)?.checked_sub(1)).unwrap_or(0);
        self.lost(u64::try_from(left_out).unwrap_or(0));
        self.last = next.checked_sub(1);
    }

    /// Counts lost data.
    pub(crate) fn lost(&mut self, count: u64) {
        let lost = self.lost.get_or_insert(0);
        if count <= LARGEST_GAP {
            *lost += count;
        }
    }

    pub(crate) fn counters(&self) -> Vec<(&'static str, u64)> {
        let mut counters = vec![("messages", self.messages), ("bytes", self.bytes)];
        if let Some(lost) = self.lost {
            counters.push(("lost_on_the_way", lost));
        }
        counters
    }
}

/// A larger jump is not a loss: the detector has started another numbering.
const LARGEST_GAP: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_left_out_are_counted_and_a_new_count_is_no_loss() {
        let lost = |numbers: &[i64]| {
            let mut received = Received::default();
            numbers.iter().for_each(|number| received.number(*number));
            received.counters().last().copied()
        };
        assert_eq!(lost(&[]), Some(("bytes", 0)));
        for (numbers, expected) in [
            (&[0, 1, 2][..], 0),
            (&[7, 8, 10, 13], 3),
            (&[0, 1, 1, 2], 0),
            (&[5, 6, 0, 1, 3], 1),
            (&[i64::MIN, i64::MAX, i64::MIN], 0),
            (&[0, i64::MAX], 0),
        ] {
            assert_eq!(lost(numbers), Some(("lost_on_the_way", expected)), "{numbers:?}");
        }
    }

    #[test]
    fn a_total_that_the_detector_tells_shows_what_is_missing_at_the_end() {
        let mut received = Received::default();
        received.numbers_below(0);
        received.number(0);
        received.numbers_below(3);
        received.number(3);
        received.numbers_below(4);
        assert_eq!(received.counters().last(), Some(&("lost_on_the_way", 2)));
        received.lost(5);
        received.lost(u64::MAX);
        assert_eq!(received.counters().last(), Some(&("lost_on_the_way", 7)));
    }
}
