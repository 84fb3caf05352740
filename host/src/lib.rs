#![doc = include_str!("../docs/tutorial.md")]

pub mod allocator;
#[cfg(feature = "capture")]
pub mod capture;
#[cfg(feature = "__fuzz")]
pub mod fuzz;
pub mod names;
pub mod plugin;
pub mod settings;
pub mod threads;

pub(crate) mod batch;
pub(crate) mod budget;
pub(crate) mod control;
mod counter;
pub(crate) mod event;
mod events;
#[cfg(test)]
mod explore;
pub(crate) mod forwarder;
mod host;
pub(crate) mod ingester;
pub(crate) mod near;
pub(crate) mod observe;
pub(crate) mod output;
#[cfg(test)]
mod pages;
mod park;
pub(crate) mod recycle;
pub(crate) mod source;
mod sync;
pub(crate) mod turns;
pub(crate) mod wake;
#[cfg(test)]
mod walk;
mod worker;
pub(crate) mod zmtp;

pub use control::program::{Assignment, Scan, ScanBuilder, ScanError, ScanOutcome};
pub use control::report::{ControlDriver, ControlProblem, ControlReport, ControlState, FaultSubject};
pub use counter::Counter;
pub use events::{Events, HostEvent, WaitError};
pub use host::{
    AskedBy, Host, HostBuilder, HostFailure, OldSource, Problem, ProblemSubject, Reload, StartError, SwapError,
    SwapReceipt, SwapSpec, SwapState, Swapper, Watch,
};
pub use ingester::{
    counts::EventCounts,
    report::{CaptureReport, ConnectionReport, IngesterState, Report, SourceState, StreamReport, WorkerReport},
};
#[cfg(feature = "redis")]
pub use observe::logs;
pub use observe::{
    faults::Fault,
    plain,
    status::{SourceStatus, Status},
};
pub use plugin::{SourceIdentity, report::GenerationReport};
pub use source::{BATCH_BYTES, BATCH_EVENTS, parameter::Parameter};
pub use worker::{StreamFrames, Worker, WorkerBuilder, WorkerError, WorkerEvent, WorkerThread};
