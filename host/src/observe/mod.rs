//! The externally visible state of a running host: status, metrics, the admin endpoint, logs.
//!
//! Reads the reports that ingesters publish anyway; nothing on the data path depends on it or waits for it.

pub(crate) mod admin;
mod families;
pub(crate) mod faults;
pub mod logs;
pub(crate) mod metrics;
pub mod plain;
mod process;
pub(crate) mod status;
mod swap;
