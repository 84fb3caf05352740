//! `framegate.trigger`, offered by a plugin whose source has no detector of its own.
//!
//! Such a source delivers events on request: when the other streams of an ingester have delivered event N, the host
//! calls `trigger(N)` instead of `next`.

use std::ffi::c_void;

use abi_stable::StableAbi;

use crate::{batch::Batch, error::ErrorBuffer};

/// See the module.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Copy)]
pub struct TriggerTable {
    /// `[instance thread, open]` Puts the event for `event_number` into the batch. Returns an
    /// [`Outcome`](crate::codes::Outcome)'s code.
    pub trigger: unsafe extern "C" fn(
        instance: *mut c_void,
        event_number: u64,
        batch: *mut Batch,
        error: *mut ErrorBuffer,
    ) -> i32,
}

impl super::Table for TriggerTable {
    const ID: &'static str = "framegate.trigger";
    const VERSION: u32 = 1;
}
