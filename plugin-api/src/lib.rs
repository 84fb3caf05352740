#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod address;
mod deadline;
mod descriptors;
mod event;
pub mod export;
mod host;
mod parameter;
pub mod settings;
mod source;
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
    event::{Event, EventSink, Frames},
    host::HostContext,
    parameter::{Parameter, ParameterType},
    source::{Source, SourceRun},
};

/// For [`export_source!`] alone.
#[doc(hidden)]
pub mod __private {
    pub use framegate_plugin_abi::export_plugin;
}
