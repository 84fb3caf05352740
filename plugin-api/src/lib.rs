#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod address;
mod deadline;
mod descriptors;
mod error;
mod event;
pub mod export;
mod host;
#[cfg(feature = "export")]
mod log;
mod parameter;
mod run;
pub mod settings;
mod source;
mod status;
pub mod testing;

pub use framegate_plugin_abi::{
    codes::{ErrorKind, EventKind, LogLevel, Progress},
    error::SourceError,
    frame::Frame,
    host::HostServices,
};

pub use crate::{
    address::Address,
    deadline::Deadline,
    descriptors::descriptors_left,
    error::Context,
    event::{Event, EventSink},
    host::HostContext,
    parameter::{Parameter, ParameterType, ParameterValue},
    run::{OnDemand, OnDemandRun, Run, SourceRun},
    source::Source,
    status::{Connection, RunStatus},
};
