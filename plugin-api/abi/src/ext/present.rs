//! `framegate.present`, offered by a plugin: the current state of a run, in addition to its counters.
//!
//! The host asks a few times a second and shows both values in its status. A reason is a few words for people.

use std::ffi::c_void;

use abi_stable::StableAbi;

use crate::{error::ErrorBuffer, text::Sink};

/// See the module.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Copy)]
pub struct PresentTable {
    /// `[instance thread, not poisoned]` Writes the number of bytes that the source has received and not yet delivered
    /// into `bytes`. Returns an [`Outcome`](crate::codes::Outcome)'s code.
    pub bytes_waiting: unsafe extern "C" fn(instance: *mut c_void, bytes: *mut u64, error: *mut ErrorBuffer) -> i32,
    /// `[instance thread, not poisoned]` Gives the reason why the last invalid message of this run was invalid, with a
    /// count of 0; gives nothing if there was none. Returns an outcome's code.
    pub last_invalid: unsafe extern "C" fn(instance: *mut c_void, out: *const Sink, error: *mut ErrorBuffer) -> i32,
}

impl super::Table for PresentTable {
    const ID: &'static str = "framegate.present";
    const VERSION: u32 = 1;
}
