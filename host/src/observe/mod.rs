//! The externally visible state of a running host: status, metrics, the admin endpoint, logs.
//!
//! Reads the reports that ingesters publish anyway; nothing on the data path depends on it or waits for it.

#[cfg(feature = "admin")]
pub(crate) mod admin;
#[cfg(not(feature = "admin"))]
#[path = "no_admin.rs"]
pub(crate) mod admin;
mod families;
pub(crate) mod faults;
#[cfg(feature = "redis")]
pub mod logs;
pub(crate) mod metrics;
pub mod plain;
mod process;
pub(crate) mod status;
#[cfg(feature = "admin")]
mod swap;
