//! The two traits of a plugin: a source, which lives across scans, and a run for each scan.

use serde::de::DeserializeOwned;

use crate::{Deadline, EventSink, HostContext, Parameter, Progress, SourceError};

/// A source: created when the host starts or swaps, lives as long as its stream uses this plugin.
///
/// All methods of a source and of its runs are called on one thread, which the host owns.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a framegate source",
    label = "this type does not implement `framegate_plugin_api::Source`",
    note = "`export_source!` takes the type that implements `Source`, the one that is created once, not the run of a scan"
)]
pub trait Source: Sized + 'static {
    /// The plugin's settings; if a field does not fit, the host's error names it.
    type Settings: DeserializeOwned;
    /// What yields the events of one scan.
    type Run: SourceRun;

    /// The protocol's name, for people (`stins`).
    const PROTOCOL: &'static str;

    /// Whether only one instance can hold the source's resources (a listening port): the host then drops the old one
    /// before it creates a new one.
    const EXCLUSIVE: bool = false;

    /// Whether runs implement [`SourceRun::trigger`] instead of [`SourceRun::next`] (a stream without a detector of its
    /// own).
    const ON_DEMAND: bool = false;

    /// Checks the settings and acquires resources that must last between scans. Does not contact the detector.
    ///
    /// # Errors
    /// [`SourceError::settings`] for a setting that cannot work; its message names the setting.
    fn create(settings: Self::Settings, host: HostContext) -> Result<Self, SourceError>;

    /// Opens the run of one scan. After it returns, nothing that the detector sends may be lost.
    ///
    /// # Errors
    /// Anything that makes the run impossible. An absent detector is not an error: keep trying to connect.
    fn open(&mut self) -> Result<Self::Run, SourceError>;

    /// The run-time parameters of this source.
    fn parameters(&self) -> Vec<Parameter> {
        Vec::new()
    }

    /// Sets a parameter. dranspose sends the value as UTF-8 text (`5`, `0.1`, `True`), or as raw bytes for
    /// [`ParameterType::Binary`](crate::ParameterType::Binary). Called between two scans or between two calls of
    /// `next`.
    ///
    /// # Errors
    /// [`SourceError::settings`] when the value cannot be used; the old one stays.
    fn set_parameter(&mut self, name: &str, value: &[u8]) -> Result<(), SourceError> {
        let _ = value;
        Err(SourceError::settings(format!("this source has no parameter {name:?}")))
    }
}

/// The run of one scan: normally one series of the detector, from header to end. Dropped when the scan is over.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the run of a framegate source",
    label = "this type does not implement `framegate_plugin_api::SourceRun`",
    note = "`Source::Run` is what `Source::open` returns, and gives the events of one scan in `SourceRun::next`"
)]
pub trait SourceRun: 'static {
    /// Gives the events that have arrived; waits for the first event until `deadline` at most.
    ///
    /// # Errors
    /// An error that ends the run. A single malformed message is not an error: skip, count and log it.
    fn next(&mut self, out: &mut EventSink<'_>, deadline: Deadline) -> Result<Progress, SourceError>;

    /// For on-demand runs: gives the one event for `event_number`, after the other streams of the ingester have
    /// delivered theirs.
    ///
    /// # Errors
    /// An error that ends the run.
    fn trigger(&mut self, event_number: u64, out: &mut EventSink<'_>) -> Result<(), SourceError> {
        let _ = (event_number, out);
        Err(SourceError::internal("this source is not triggered by software"))
    }

    /// Messages that arrived in this run and gave no event: each reason with its count since the run was opened.
    fn skipped(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// What this run has received, in counters that the source defines (`messages`, `bytes`, …). They only go up; a
    /// name is one or two words with underscores. The host asks a few times a second and shows them in its status and
    /// metrics.
    fn counters(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
    /// The reason why the last invalid message of this run was invalid, as a line for people; `None` if there was none.
    /// Shown beside the counts of [`skipped`](Self::skipped): it may contain details that differ between messages.
    fn last_invalid(&self) -> Option<String> {
        None
    }

    /// Bytes that this run has received and not yet delivered: the beginning of an incomplete event, or data that waits
    /// until the host calls [`next`](Self::next).
    fn bytes_waiting(&self) -> u64 {
        0
    }
}
