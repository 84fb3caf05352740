//! Framegate takes detector data from its source to the workers that compute on it.
//!
//! The feature `command` is the program `framegate`. Without it (`default-features = false`) the library is the same, and
//! builds neither a command line nor libzmq.
#![cfg_attr(not(feature = "command"), allow(dead_code, reason = "the command uses what remains"))]

pub mod allocator;
#[doc(hidden)]
pub mod fuzz;
pub mod names;
pub mod settings;

pub(crate) mod batch;
pub(crate) mod budget;
pub(crate) mod capture;
#[cfg(feature = "command")]
pub(crate) mod cli;
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
pub(crate) mod plugin;
pub(crate) mod recycle;
pub(crate) mod source;
mod sync;
pub(crate) mod threads;
pub(crate) mod wake;
#[cfg(test)]
mod walk;
mod worker;
pub(crate) mod zmtp;

#[cfg(feature = "command")]
#[doc(hidden)]
pub use cli::main;
pub use control::program::{Assignment, Scan, ScanBuilder, ScanError, ScanOutcome};
pub use control::report::{ControlDriver, ControlProblem, ControlReport, ControlState, FaultSubject};
pub use counter::Counter;
pub use events::{Events, HostEvent, WaitError};
pub use host::{
    AskedBy, Host, HostBuilder, HostFailure, OldSource, ProblemSubject, Reload, StartError, SwapError, SwapReceipt,
    SwapSpec, SwapState, Watch,
};
pub use ingester::{
    counts::EventCounts,
    report::{CaptureReport, ConnectionReport, IngesterState, Report, SourceState, StreamReport, WorkerReport},
};
pub use observe::{
    faults::Fault,
    status::{SourceStatus, Status},
};
pub use plugin::{generation::GenerationReport, identity::SourceIdentity};
pub use worker::{StreamFrames, Worker, WorkerBuilder, WorkerError, WorkerEvent, WorkerThread};
