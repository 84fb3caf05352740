//! The counters of everything that has no counter of its own: what could not be used, and what was lost.
//!
//! Code, status and metrics know a counter by its id, which does not change; the text is for people.

use std::{borrow::Borrow, cmp::Ordering, fmt};

use serde::{Serialize, Serializer};

macro_rules! counters {
    ($($(#[doc = $about:literal])* $variant:ident = $id:literal,)*) => {
        /// A counter. It is 0 at the start of the process and only goes up.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Counter { $($(#[doc = $about])* $variant,)* }

        impl Counter {
            /// Every counter, in the order of their ids.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The id, as in `/status` and metrics.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self { $(Self::$variant => $id,)* }
            }

            /// What it counts.
            #[must_use]
            pub fn about(self) -> &'static str {
                match self { $(Self::$variant => concat!($($about),*).trim(),)* }
            }
        }
    };
}

counters! {
    /// Assignments that came after the scan was finished.
    AssignmentsAfterFinish = "assignments_after_finish",
    /// Assignments that came twice.
    AssignmentsDuplicate = "assignments_duplicate",
    /// Entries of the assignments' stream in Redis that are not assignments.
    AssignmentsInvalid = "assignments_invalid",
    /// Assignments of another scan than the current one.
    AssignmentsOfAnotherScan = "assignments_of_another_scan",
    /// Assignments to a worker whose name is not possible.
    AssignmentsToImpossibleWorkers = "assignments_to_impossible_workers",
    /// Assignments whose events never came.
    AssignmentsWithoutEvents = "assignments_without_events",
    /// Captures whose path leads out of `capture_root` or to something that is not a regular file.
    CapturesRefused = "captures_refused",
    /// Connections ended because of a message without an end.
    ConnectionsEndless = "connections_endless",
    /// Connections ended because of invalid data.
    ConnectionsInvalid = "connections_invalid",
    /// Connections that could not be accepted.
    ConnectionsNotAccepted = "connections_not_accepted",
    /// Connections ended because their worker has another one, or was evicted.
    ConnectionsOfLostWorkers = "connections_of_lost_workers",
    /// Connections refused because another worker has their name.
    ConnectionsOfRivals = "connections_of_rivals",
    /// Connections ended because too many had sent no ping of a worker.
    ConnectionsWithoutWorker = "connections_without_worker",
    /// Connections that did not speak ZeroMQ's protocol.
    ConnectionsWithoutZeroMq = "connections_without_zeromq",
    /// Events that came after their scan was over.
    EventsLate = "events_late",
    /// Finish notices of another scan than the current one.
    FinishesOfAnotherScan = "finishes_of_another_scan",
    /// Messages dropped because their worker was evicted.
    MessagesDropped = "messages_dropped",
    /// Messages from the workers' side that are not pings.
    MessagesInvalid = "messages_invalid",
    /// Messages that were lost when a worker's connection ended.
    MessagesLost = "messages_lost",
    /// Messages for workers that the setting `workers` does not allow.
    MessagesNotAllowed = "messages_not_allowed",
    /// Messages of the last scan that were being sent when the next one began.
    MessagesOfLastScan = "messages_of_last_scan",
    /// Messages that still waited when a new scan replaced theirs.
    MessagesReplaced = "messages_replaced",
    /// Values of parameters that are announced and missing in Redis.
    ParameterValuesMissing = "parameter_values_missing",
    /// Pings of workers that the setting `workers` does not allow.
    PingsNotAllowed = "pings_not_allowed",
    /// Pings of workers for which there was no place.
    PingsWithoutPlace = "pings_without_place",
    /// Reads of keys in Redis with content of another type.
    RedisKeysOfAnotherType = "redis_keys_of_another_type",
    /// Scans in which a source failed.
    SourceFailures = "source_failures",
    /// Sources that could not be created again after a fault.
    SourcesNotRecreated = "sources_not_recreated",
    /// Sources that were created again after a fault.
    SourcesRecreated = "sources_recreated",
    /// Sources that were written off because a call did not return.
    SourcesWrittenOff = "sources_written_off",
    /// Entries of the controller's updates in Redis that are not updates.
    UpdatesInvalid = "updates_invalid",
    /// Updates of a scan that a newer one has superseded.
    UpdatesSuperseded = "updates_superseded",
    /// Workers that were evicted.
    WorkersEvicted = "workers_evicted",
}

impl Counter {
    /// The counter with this id.
    #[must_use]
    pub fn with_id(id: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|counter| counter.id() == id)
    }

    /// What it counts, as the beginning of a line: `workers that were evicted`.
    #[must_use]
    pub fn in_a_line(self) -> String {
        let about = self.about().trim_end_matches('.');
        let mut chars = about.chars();
        chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
    }
}

// Ordered like its id, so that a map of counters can be asked for an id.
impl Ord for Counter {
    fn cmp(&self, other: &Self) -> Ordering {
        self.id().cmp(other.id())
    }
}

impl PartialOrd for Counter {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Borrow<str> for Counter {
    fn borrow(&self) -> &str {
        self.id()
    }
}

impl Serialize for Counter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_in_order_and_labels_of_metrics() {
        assert!(Counter::ALL.is_sorted());
        for counter in Counter::ALL {
            assert!(counter.id().chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{counter}");
            assert_eq!(Counter::with_id(counter.id()), Some(*counter));
            assert!(counter.about().ends_with('.'), "{counter}");
        }
        assert_eq!(Counter::WorkersEvicted.in_a_line(), "workers that were evicted");
    }
}
