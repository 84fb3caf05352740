//! Framegate takes detector data from where it is made to the workers that compute on it.
#![allow(dead_code)] // while the house is being built

pub mod names;
pub mod settings;

pub(crate) mod control;
pub(crate) mod ingester;
pub(crate) mod source;

pub use ingester::report::{CaptureReport, Report, StreamReport, WorkerReport};
