//! `framegate.skipped`, offered by a plugin: messages of a run that gave no event.
//!
//! A reason is a few words for people; its count covers the current run. The host shows the reasons in its status.

use std::ffi::c_void;

use abi_stable::StableAbi;

use crate::{error::ErrorBuffer, text::Sink};

/// See the module.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Copy)]
pub struct SkippedTable {
    /// `[instance thread, not poisoned]` Gives each reason with its count. Returns an
    /// [`Outcome`](crate::codes::Outcome)'s code.
    pub skipped: unsafe extern "C" fn(instance: *mut c_void, out: *const Sink, error: *mut ErrorBuffer) -> i32,
}

impl super::Table for SkippedTable {
    const ID: &'static str = "framegate.skipped";
    const VERSION: u32 = 1;
}
