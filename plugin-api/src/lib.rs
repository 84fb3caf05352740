//! Write a source plugin for framegate.
#![forbid(unsafe_code)]

mod error;
mod event;
mod host;
mod parameter;
mod progress;
mod source;

pub use framegate_plugin_abi::frame::Frame;

pub use crate::{
    error::{ErrorKind, SourceError},
    event::{Event, EventKind, EventSink, Frames},
    host::{HostContext, HostServices, LogLevel},
    parameter::{Parameter, ParameterType},
    progress::{Deadline, Progress},
    source::{Source, SourceRun},
};
