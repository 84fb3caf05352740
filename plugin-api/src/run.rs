//! The two kinds of runs: of a detector that sends, and of a source that is asked for each event.

use framegate_plugin_abi::codes::Progress;

use crate::{Deadline, EventSink, RunStatus, SourceError};

/// The run of one scan: normally one series of the detector, from header to end. Dropped when the scan is over.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the run of a framegate source",
    label = "this type implements neither `SourceRun` nor, inside `OnDemand<…>`, `OnDemandRun`",
    note = "`Source::Run` is what `Source::open` returns, and gives the events of one scan in `SourceRun::next`"
)]
pub trait SourceRun: 'static {
    /// Gives the events that have arrived; waits for the first event until `deadline` at most.
    ///
    /// After [`Progress::End`] the host calls it again until the scan is over: read and count late messages then, and give
    /// no event. A source that makes its events itself must remember that it has given them all.
    ///
    /// # Errors
    /// An error that ends the run. A single malformed message is not an error: skip, count and log it.
    fn next(&mut self, out: &mut EventSink<'_>, deadline: Deadline) -> Result<Progress, SourceError>;

    /// Called every 100 ms in place of [`next`](Self::next) while the host has no room for further events, because a worker is
    /// slow: keep connections alive here, without waiting. What a detector sends meanwhile should stay with it.
    fn held_back(&mut self) {}

    /// What this run tells about itself.
    fn status(&self) -> RunStatus {
        RunStatus::default()
    }
}

/// The run of a stream without a detector of its own: the host asks it for each event. [`Source::Run`](crate::Source::Run)
/// is then [`OnDemand`]`<R>`.
pub trait OnDemandRun: 'static {
    /// Gives the one event for `event_number`, after the other streams of the ingester have delivered theirs.
    ///
    /// # Errors
    /// An error that ends the run.
    fn trigger(&mut self, event_number: u64, out: &mut EventSink<'_>) -> Result<(), SourceError>;

    /// What this run tells about itself.
    fn status(&self) -> RunStatus {
        RunStatus::default()
    }
}

/// Makes an [`OnDemandRun`] the run of a source.
#[derive(Debug, Clone, Copy)]
pub struct OnDemand<R>(pub R);

/// A [`SourceRun`], or an [`OnDemandRun`] in [`OnDemand`]: what [`Source::open`](crate::Source::open) can return.
/// Implemented for both; authors do not implement it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the run of a framegate source",
    label = "this type implements neither `SourceRun` nor, inside `OnDemand<…>`, `OnDemandRun`",
    note = "`Source::Run` is what `Source::open` returns, and gives the events of one scan in `SourceRun::next`"
)]
pub trait Run: 'static {
    /// Whether the host asks for each event.
    const ON_DEMAND: bool;
    /// See [`SourceRun::next`].
    ///
    /// # Errors
    /// The run's own.
    fn next(&mut self, out: &mut EventSink<'_>, deadline: Deadline) -> Result<Progress, SourceError>;
    /// See [`OnDemandRun::trigger`].
    ///
    /// # Errors
    /// The run's own.
    fn trigger(&mut self, event_number: u64, out: &mut EventSink<'_>) -> Result<(), SourceError>;
    /// See [`SourceRun::held_back`].
    fn held_back(&mut self);
    /// See [`SourceRun::status`].
    fn status(&self) -> RunStatus;
}

impl<R: SourceRun> Run for R {
    const ON_DEMAND: bool = false;

    fn next(&mut self, out: &mut EventSink<'_>, deadline: Deadline) -> Result<Progress, SourceError> {
        SourceRun::next(self, out, deadline)
    }

    fn trigger(&mut self, _: u64, _: &mut EventSink<'_>) -> Result<(), SourceError> {
        Err(SourceError::internal("this source gives its events by itself"))
    }

    fn held_back(&mut self) {
        SourceRun::held_back(self);
    }

    fn status(&self) -> RunStatus {
        SourceRun::status(self)
    }
}

impl<R: OnDemandRun> Run for OnDemand<R> {
    const ON_DEMAND: bool = true;

    fn next(&mut self, _: &mut EventSink<'_>, _: Deadline) -> Result<Progress, SourceError> {
        Err(SourceError::internal("this source gives an event only when it is asked for one"))
    }

    fn trigger(&mut self, event_number: u64, out: &mut EventSink<'_>) -> Result<(), SourceError> {
        self.0.trigger(event_number, out)
    }

    fn held_back(&mut self) {}

    fn status(&self) -> RunStatus {
        self.0.status()
    }
}
