//! What a run has received, in numbers: for people who look for what was lost.
//!
//! Pure; used on the reader thread. It counts and decides nothing.

/// Counts of one run.
#[derive(Debug, Default)]
pub(crate) struct Received {
    messages: u64,
    bytes: u64,
    /// The detector's number of the last data; `None` until there was one.
    last: Option<i64>,
    /// Numbers that the detector left out between one data and the next.
    lost: u64,
}

impl Received {
    pub(crate) fn message(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Takes the detector's own number of data. One that is not above the last begins a new count.
    pub(crate) fn number(&mut self, number: i64) {
        if let Some(left_out) = self.last.and_then(|last| number.checked_sub(last)?.checked_sub(1))
            && (1..=LARGEST_GAP).contains(&left_out)
        {
            self.lost += left_out as u64;
        }
        self.last = Some(number);
    }

    pub(crate) fn counters(&self) -> Vec<(&'static str, u64)> {
        let mut counters = vec![("messages", self.messages), ("bytes", self.bytes)];
        if self.last.is_some() {
            counters.push(("lost_on_the_way", self.lost));
        }
        counters
    }
}

/// A jump beyond this is no loss but another way of counting.
const LARGEST_GAP: i64 = 1_000_000_000;

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
}
