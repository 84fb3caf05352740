//! What is asked of a swap, and what is told of it.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::{
    names::{ScanId, StreamName},
    plugin::identity::SourceIdentity,
    settings::WhenFull,
};

/// What shall feed a stream.
#[derive(Debug, Clone)]
pub struct SwapSpec {
    /// A plugin's name, or a path to its file, or the name of a linked source; a file's content may be pinned with
    /// `#sha256:HEX` behind it.
    pub source: String,
    /// The source's own settings; none: those of the source that feeds the stream now.
    pub settings: Option<Value>,
    /// What happens when the stream's share of memory is full; none: as it is.
    pub when_full: Option<WhenFull>,
}

impl SwapSpec {
    /// This source, with the settings that the stream has.
    #[must_use]
    pub fn new(source: &str) -> Self {
        Self { source: source.to_owned(), settings: None, when_full: None }
    }

    /// The same with settings of its own.
    #[must_use]
    pub fn with_settings(self, settings: Value) -> Self {
        Self { settings: Some(settings), ..self }
    }
}

/// Who asked for a swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AskedBy {
    /// Somebody with `framegate swap`.
    Command,
    /// A program: one that has the host inside, or one that talks to its admin endpoint.
    Api,
    /// The configuration file has changed.
    Configuration,
    /// framegate itself: a call of the old source did not return.
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

/// How far a swap is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SwapState {
    /// The new source is looked for, checked, loaded and made. The old one feeds the stream.
    Making,
    /// The new source is there, and takes over at the next scan start. The old one feeds the stream.
    Pending,
    /// The new source feeds the stream.
    Effective,
    /// The new source was not accepted; nothing has changed.
    Refused,
    /// A swap of the stream that was asked for later came before it; it has changed nothing.
    Superseded,
}

/// A swap, from the moment it was asked for: what it was to do, and what of it has happened.
#[derive(Debug, Clone, Serialize)]
pub struct SwapReceipt {
    /// Counts the swaps of a host.
    pub number: u64,
    /// The stream.
    pub stream: StreamName,
    /// How far it is.
    pub state: SwapState,
    /// Who asked for it.
    pub asked_by: AskedBy,
    /// When; RFC 3339.
    pub asked_at: String,
    /// The source that was asked for, as it was written.
    pub asked_for: String,
    /// What feeds, or fed, the stream.
    pub from: SourceIdentity,
    /// What takes its place; none before it was found.
    pub to: Option<SourceIdentity>,
    /// Whether the code had been loaded for this stream already.
    pub reused: bool,
    /// From asking to a source that is ready to take over, in milliseconds.
    pub ready_ms: Option<f64>,
    /// Why it was refused: two lines, what was found and what to do.
    pub problem: Option<String>,
    /// What that is about: `plugin`, `settings` or `machine`.
    pub problem_with: Option<&'static str>,
    /// The later swap that came before it.
    pub superseded_by: Option<u64>,
    /// When it took effect; RFC 3339.
    pub effective_at: Option<String>,
    /// The first scan that the new source feeds.
    pub effective_scan: Option<ScanId>,
    /// What became of the old source; none before the swap took effect.
    pub old: Option<OldSource>,
}

/// A source that was replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct OldSource {
    /// Events that it gave, in all its scans.
    pub events: u64,
    /// Frames that it gave.
    pub frames: u64,
    /// Of them, those that it got back: nobody holds them any more.
    pub frames_returned: u64,
    /// Its thread has ended.
    pub ended: bool,
    /// When its thread had ended and its last frame was back; RFC 3339.
    pub settled_at: Option<String>,
    /// Why its thread is not waited for any more: a call does not return.
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

/// Why a swap does not come about. The stream has the source that it had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SwapError {
    /// The host has no such stream.
    #[error("{0}")]
    UnknownStream(String),
    /// The plugin was not accepted.
    #[error("{0}")]
    Refused(String),
    /// The source does not take its settings.
    #[error("{0}")]
    Settings(String),
    /// A later swap of the stream was ready before it.
    #[error("swap {0} of the stream was asked for later, and was ready before this one")]
    Superseded(u64),
    /// So many swaps are being made that another must wait.
    #[error("{0} swaps are being made\n  ask again when one of them is ready or refused")]
    Busy(usize),
    /// The host stops.
    #[error("the host stops")]
    Stopping,
}
