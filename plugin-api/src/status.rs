//! What a run tells about itself, for the host's status and metrics.

use std::time::Instant;

use framegate_plugin_abi::{codes::Connected, status::StatusWriter};

/// What a run tells about itself. The host asks a few times a second. Fill in what your source knows:
/// `RunStatus { counters: vec![("messages", self.messages)], ..RunStatus::default() }`.
#[derive(Debug, Clone, Default)]
pub struct RunStatus {
    /// What this run has received, in counters that the source defines (`messages`, `bytes`, …). They only go up; a
    /// name is one or two words with underscores.
    pub counters: Vec<(&'static str, u64)>,
    /// Messages of this run that gave no event: each reason, a few words for people, with its count.
    pub skipped: Vec<(&'static str, u64)>,
    /// The reason why the last invalid message of this run was invalid, as a line for people. It may contain details
    /// that differ between messages.
    pub last_invalid: Option<String>,
    /// Bytes that this run has received and not yet delivered: the beginning of an incomplete event, or data that waits
    /// until the host calls `next`.
    pub bytes_waiting: u64,
    /// Whether a detector is connected.
    pub connection: Connection,
}

/// Whether a detector is connected to a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Connection {
    /// The source cannot tell: it gets datagrams, or requests that come one by one.
    #[default]
    Unknown,
    /// No detector is connected; the source waits for one, or keeps connecting.
    No {
        /// Since when.
        since: Instant,
        /// The address that it connects to or listens on, if it knows.
        address: Option<String>,
    },
    /// A detector is connected.
    Yes {
        /// Since when.
        since: Instant,
        /// The detector's address, if the source knows it.
        address: Option<String>,
    },
}

impl RunStatus {
    /// The count of messages that were skipped for this reason.
    #[must_use]
    pub fn skipped_for(&self, reason: &str) -> u64 {
        self.skipped.iter().filter(|(known, _)| *known == reason).map(|(_, count)| count).sum()
    }

    /// The value of this counter; 0 if the source has none of this name.
    #[must_use]
    pub fn counter(&self, name: &str) -> u64 {
        self.counters.iter().filter(|(known, _)| *known == name).map(|(_, count)| count).sum()
    }

    pub(crate) fn write(&self, form: &mut StatusWriter<'_>) {
        for (name, count) in &self.counters {
            form.counter(name, *count);
        }
        for (reason, count) in &self.skipped {
            form.skipped(reason, *count);
        }
        if let Some(reason) = &self.last_invalid {
            form.last_invalid(reason);
        }
        form.bytes_waiting(self.bytes_waiting);
        match &self.connection {
            Connection::Unknown => {}
            Connection::No { since, address } => form.connected(Connected::No, since.elapsed(), address.as_deref()),
            Connection::Yes { since, address } => form.connected(Connected::Yes, since.elapsed(), address.as_deref()),
        }
    }
}
