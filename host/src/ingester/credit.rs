//! Who may be sent to, given what is in flight.

/// Whether a message may be handed to the network for a worker for which the network already holds `in_flight` bytes.
///
/// One message is always allowed, whatever its size. The rest waits in our own queue, where a new scan can drop it.
pub(crate) fn may_send(in_flight: u64, message: u64, limit: u64) -> bool {
    in_flight == 0 || in_flight.saturating_add(message) <= limit
}

/// How little must be left in flight before more is handed over, once a message had to wait: half of the limit, so that the
/// network is not fed one message at a time, with a wake-up for each, while it still has enough to do.
pub(crate) fn low(message: u64, limit: u64) -> u64 {
    (limit / 2).min(limit.saturating_sub(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_always_passes_and_a_second_only_within_the_limit() {
        assert!(may_send(0, u64::MAX, 8));
        assert!(may_send(4, 4, 8));
        assert!(!may_send(5, 4, 8));
        assert!(!may_send(1, u64::MAX, 8));
    }

    #[test]
    fn what_waited_may_be_sent_when_little_is_left() {
        for message in [0, 1, 4, 5, 8, 9, u64::MAX] {
            assert!(low(message, 8) <= 4 && may_send(low(message, 8), message, 8), "{message}");
        }
    }
}
