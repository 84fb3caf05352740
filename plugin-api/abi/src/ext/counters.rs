//! `framegate.counters`, offered by a plugin: what a run has received, in counters that the source defines.
//!
//! A name is one or two words with underscores, because it becomes a label of metrics; its count only goes up while the
//! run is open. The host shows the counters in its status.

use std::ffi::c_void;

use abi_stable::StableAbi;

use crate::{error::ErrorBuffer, text::Sink};

/// See the module.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Copy)]
pub struct CountersTable {
    /// `[instance thread, not poisoned]` Gives each name with its count. Returns an
    /// [`Outcome`](crate::codes::Outcome)'s code.
    pub counters: unsafe extern "C" fn(instance: *mut c_void, out: *const Sink, error: *mut ErrorBuffer) -> i32,
}

impl super::Table for CountersTable {
    const ID: &'static str = "framegate.counters";
    const VERSION: u32 = 1;
}
