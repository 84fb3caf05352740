//! What the end-to-end tests are made of: processes that end with their test, and the real programs to test against.
//!
//! `process` runs any program; `framegate` is ours as a file, `host` is ours running; `worker` is who it serves.

#![forbid(unsafe_code)]

pub mod framegate;
pub mod host;
pub mod process;
pub mod worker;
