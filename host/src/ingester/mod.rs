//! The heart: values in, values out; no socket, file, thread, clock.

pub(crate) mod command;
pub(crate) mod report;
