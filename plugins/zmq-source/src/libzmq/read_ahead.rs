//! Computes how many messages libzmq may hold for a run, from a budget in bytes.
//!
//! Pure; used on the reader thread, after each message. When the number changes, `link.rs` sets it on the socket.

/// How many messages libzmq may hold. libzmq counts messages, not bytes, so the number depends on the sizes seen.
///
/// libzmq can change the number of an open connection, but it does not wake a side that waits because of the old
/// number, and both sides could wait for each other for ever. The reader acknowledges messages at multiples of half the
/// number. The number is a power of two, changes by a factor of two, and changes only after at least that many messages
/// since the last change. So the other side can always send up to the next multiple, and the number of messages not yet
/// acknowledged is always less than the new number.
///
/// A bound socket has a connection for each detector, and libzmq does not tell how many messages came over each; a new
/// one begins with [`READ_AHEAD_AT_FIRST`]. So for these the number falls once at most, to half: less than that is not
/// acknowledged on any connection, and at the first number the other side may send the rest. A second fall may come
/// before a connection has acknowledged anything.
pub(crate) struct ReadAhead {
    budget: u64,
    may_grow: bool,
    largest: u64,
    /// Messages taken since `messages` changed.
    taken: u32,
    /// Invariant: a power of two, from 2 to 1024.
    messages: u32,
}

impl ReadAhead {
    /// Before any size is known. `is_bound`: several detectors may be connected.
    pub(crate) fn new(budget: u64, is_bound: bool) -> Self {
        Self { budget, may_grow: !is_bound, largest: 1, taken: 0, messages: READ_AHEAD_AT_FIRST }
    }

    /// Records a message; returns the new number if it must change.
    pub(crate) fn seen(&mut self, bytes: usize) -> Option<i32> {
        self.taken = self.taken.saturating_add(1);
        self.largest = self.largest.max(bytes as u64);
        if self.taken < self.messages {
            return None;
        }
        let room = self.budget / self.largest;
        let wanted = if self.may_grow && room >= u64::from(self.messages) * 2 {
            (self.messages * 2).min(1024)
        } else if room < u64::from(self.messages) {
            (self.messages / 2).max(if self.may_grow { 2 } else { READ_AHEAD_AT_FIRST / 2 })
        } else {
            self.messages
        };
        if wanted == self.messages {
            return None;
        }
        self.taken = 0;
        self.messages = wanted;
        i32::try_from(wanted).ok()
    }
}

/// Before any size is known: 64 MiB for images of 4 MiB. Small messages reach the largest number after about 1000.
pub(crate) const READ_AHEAD_AT_FIRST: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_ahead_follows_the_largest_message_in_steps_of_two() {
        let changes_of = |is_bound, sizes: &mut dyn Iterator<Item = usize>| {
            let mut ahead = ReadAhead::new(64 << 20, is_bound);
            sizes.filter_map(|bytes| ahead.seen(bytes)).collect::<Vec<_>>()
        };
        let changes = |sizes: &mut dyn Iterator<Item = usize>| changes_of(false, sizes);
        assert_eq!(changes(&mut std::iter::repeat_n(64, 5000)), [32, 64, 128, 256, 512, 1024]);
        assert_eq!(changes(&mut std::iter::repeat_n(4 << 20, 5000)), [0i32; 0]);
        assert_eq!(changes(&mut std::iter::repeat_n(1 << 20, 5000)), [32, 64]);
        assert_eq!(changes(&mut std::iter::repeat_n(100 << 20, 5000)), [8, 4, 2]);
        assert_eq!(changes(&mut (0..5000).map(|n| if n < 100 { 64 } else { 8 << 20 })), [32, 64, 32, 16, 8]);
        assert_eq!(changes_of(true, &mut std::iter::repeat_n(100 << 20, 5000)), [8]);
        assert_eq!(changes_of(true, &mut (0..5000).map(|n| if n < 100 { 64 } else { 8 << 20 })), [8]);
    }
}
