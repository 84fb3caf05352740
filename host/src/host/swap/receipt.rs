//! The request and the result of a swap.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::super::problem::Problem;
use crate::{
    names::{ScanId, StreamName},
    plugin::identity::SourceIdentity,
    settings::WhenFull,
};

/// The new source of a stream.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SwapSpec {
    /// A plugin's name, or a path to its file, or the name of a linked source; append `#sha256:HEX` to pin a file's
    /// content.
    pub source: String,
    /// The source's own settings; `None`: those of the stream's current source.
    pub settings: Option<Value>,
    /// What happens when the stream's share of memory is full; `None`: unchanged.
    pub when_full: Option<WhenFull>,
}

impl SwapSpec {
    /// This source, with the stream's current settings.
    #[must_use]
    pub fn new(source: &str) -> Self {
        Self { source: source.to_owned(), settings: None, when_full: None }
    }

    /// The same with its own settings.
    #[must_use]
    pub fn with_settings(self, settings: Value) -> Self {
        Self { settings: Some(settings), ..self }
    }
}

/// The origin of a swap request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum AskedBy {
    /// A person, with `framegate swap`.
    Command,
    /// A program: one that embeds the host, or uses its admin endpoint.
    Api,
    /// A change of the configuration file.
    Configuration,
    /// The host itself: a call of the old source did not return.
    Recovery,
}

impl fmt::Display for AskedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Command => "command",
            Self::Api => "API",
            Self::Configuration => "configuration",
            Self::Recovery => "recovery",
        })
    }
}

/// The progress of a swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum SwapState {
    /// The new source is being found, checked, loaded and created. The old one feeds the stream.
    Making,
    /// The new source is ready, and takes over at the next scan start. The old one feeds the stream.
    Pending,
    /// The new source feeds the stream.
    Effective,
    /// The new source was not accepted; nothing has changed.
    Refused,
    /// A later swap of the stream overrode it; it has changed nothing.
    Superseded,
}

/// The subject of a swap's problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ProblemSubject {
    /// The plugin was refused.
    Plugin,
    /// The source refuses its settings.
    Settings,
    /// The new source is not needed: the old one works again.
    Source,
    /// The machine has no more threads, or the host is stopping.
    Machine,
}

impl ProblemSubject {
    pub(super) fn of(problem: &Problem) -> Self {
        match problem {
            Problem::Setting(_) | Problem::SourceSettings { .. } => Self::Settings,
            Problem::Plugin { .. } => Self::Plugin,
            _ => Self::Machine,
        }
    }
}

/// A swap, from its request on: what was requested, and what has happened.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SwapReceipt {
    /// The number of the swap, within the host.
    pub number: u64,
    /// The stream.
    pub stream: StreamName,
    /// Its progress.
    pub state: SwapState,
    /// The origin of the request.
    pub asked_by: AskedBy,
    /// Time of the request; RFC 3339.
    pub asked_at: String,
    /// The requested source, as written.
    pub asked_for: String,
    /// The source before the swap.
    pub from: SourceIdentity,
    /// The new source; `None` before it was found.
    pub to: Option<SourceIdentity>,
    /// Whether the code had already been loaded for this stream.
    pub reused: bool,
    /// Time from the request until the new source was ready, in milliseconds.
    pub ready_ms: Option<f64>,
    /// Why it was refused: two lines, the problem and what to do.
    pub problem: Option<String>,
    /// The subject of the problem.
    pub problem_with: Option<ProblemSubject>,
    /// The later swap that overrode it.
    pub superseded_by: Option<u64>,
    /// When it took effect; RFC 3339.
    pub effective_at: Option<String>,
    /// The first scan that the new source feeds.
    pub effective_scan: Option<ScanId>,
    /// The state of the old source; `None` before the swap took effect.
    pub old: Option<OldSource>,
}

/// A source that was replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct OldSource {
    /// Number of events that it gave, in all its scans.
    pub events: u64,
    /// Number of frames that it gave.
    pub frames: u64,
    /// Number of these frames that were returned: nobody holds them any more.
    pub frames_returned: u64,
    /// Its thread has ended.
    pub ended: bool,
    /// When its thread had ended and its last frame was returned; RFC 3339.
    pub settled_at: Option<String>,
    /// Why its thread was given up: a call does not return.
    pub left_behind: Option<String>,
}

impl SwapReceipt {
    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self.state {
            SwapState::Refused | SwapState::Superseded => true,
            SwapState::Making | SwapState::Pending => false,
            SwapState::Effective => self.old.as_ref().is_none_or(|old| old.settled_at.is_some()),
        }
    }
}

/// Why a swap failed. The stream keeps its source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SwapError {
    /// The host has no such stream.
    #[error("there is no stream {stream:?}{}\n  streams here: {}", did_you_mean(meant), listed(known))]
    UnknownStream {
        /// The name.
        stream: String,
        /// A stream with a similar name.
        meant: Option<String>,
        /// The streams of the host.
        known: Vec<StreamName>,
    },
    /// The plugin was refused, or the source refuses its settings.
    #[error("{0}")]
    Refused(Problem),
    /// Too many swaps are in progress.
    #[error("{making} swaps are being made\n  ask again when one of them is ready or refused")]
    Busy {
        /// Their number.
        making: usize,
    },
    /// The host is stopping.
    #[error("the host stops")]
    Stopping,
}

fn did_you_mean(name: &Option<String>) -> String {
    name.as_ref().map_or_else(String::new, |name| format!("; did you mean {name:?}?"))
}

fn listed(names: &[StreamName]) -> String {
    names.iter().map(StreamName::as_str).collect::<Vec<_>>().join(", ")
}
