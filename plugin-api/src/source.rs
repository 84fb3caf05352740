//! The two traits of a plugin: a source that lasts, and a run for each scan.

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
    /// The plugin's settings; a field that does not fit is named in the host's error.
    type Settings: DeserializeOwned;
    /// What yields the events of one scan.
    type Run: SourceRun;

    /// The protocol's name, for people (`stins`).
    const PROTOCOL: &'static str;

    /// Whether only one instance can hold what this source holds (a listening port): the host then drops the old one
    /// before it creates a new one.
    const EXCLUSIVE: bool = false;

    /// Whether runs answer [`SourceRun::trigger`] instead of [`SourceRun::next`] (a stream without a detector of its own).
    const ON_DEMAND: bool = false;

    /// Checks the settings and takes what must last between scans. Talks to no detector.
    ///
    /// # Errors
    /// [`SourceError::settings`] for a setting that cannot work, naming it.
    fn create(settings: Self::Settings, host: HostContext) -> Result<Self, SourceError>;

    /// Opens the run of one scan. When it returns, nothing that the detector sends from then on may be lost.
    ///
    /// # Errors
    /// Whatever makes the run impossible. A detector that is merely absent is not an error: go on connecting.
    fn open(&mut self) -> Result<Self::Run, SourceError>;

    /// The run-time parameters that this source has.
    fn parameters(&self) -> Vec<Parameter> {
        Vec::new()
    }

    /// Takes the value of a parameter, as dranspose sends it: UTF-8 text (`5`, `0.1`, `True`), or raw bytes for
    /// [`ParameterType::Binary`](crate::ParameterType::Binary). Called between two scans or two `next`.
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
    /// Gives what has arrived, waiting for the first event until `deadline` at most.
    ///
    /// # Errors
    /// What ends the run; a single malformed message does not: skip, count and log it.
    fn next(&mut self, out: &mut EventSink<'_>, deadline: Deadline) -> Result<Progress, SourceError>;

    /// For on-demand runs: produces the one event for `event_number`, after the other streams of the ingester have
    /// delivered theirs.
    ///
    /// # Errors
    /// What ends the run.
    fn trigger(&mut self, event_number: u64, out: &mut EventSink<'_>) -> Result<(), SourceError> {
        let _ = (event_number, out);
        Err(SourceError::internal("this source is not triggered by software"))
    }

    /// Messages that arrived in this run and gave no event, each reason with its count since the run was opened.
    fn skipped(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// What this run has received, in numbers of the source's own (`messages`, `bytes`, …). They only go up; a name is a
    /// word or two with underscores. The host asks a few times a second and shows them in its status and metrics.
    fn counters(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
    /// Why the last message of this run that was invalid was so, in a line for people; `None` if none was. Shown beside what
    /// [`skipped`](Self::skipped) counts: it may say what differs from message to message.
    fn last_invalid(&self) -> Option<String> {
        None
    }

    /// Bytes that this run has received and not given yet: the beginning of an event whose rest has to come, or what waits until the
    /// host calls [`next`](Self::next).
    fn bytes_waiting(&self) -> u64 {
        0
    }
}
