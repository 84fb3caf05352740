//! The trait of a plugin's source, which lives across scans. It opens a run for each scan.

use serde::de::DeserializeOwned;

use crate::{HostContext, Parameter, Run, SourceError};

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
    /// What yields the events of one scan: a [`SourceRun`](crate::SourceRun), or [`OnDemand`](crate::OnDemand) of an
    /// [`OnDemandRun`](crate::OnDemandRun) for a stream without a detector of its own.
    type Run: Run;

    /// The protocol's name, for people (`stins`).
    const PROTOCOL: &'static str;

    /// Whether only one instance can hold the source's resources (a listening port): the host then drops the old one
    /// before it creates a new one.
    const EXCLUSIVE: bool = false;

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
