//! Who may be sent to, given what is in flight.

/// Whether a message may be handed to the network for a worker for which the network already holds `in_flight` bytes.
///
/// One message is always allowed, whatever its size. The rest waits in our own queue, where a new scan can drop it.
pub(crate) fn may_send(in_flight: u64, message: u64, limit: u64) -> bool {
    in_flight == 0 || in_flight.saturating_add(message) <= limit
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
}
