//! `framegate.log`, offered by the host: lines for its log.
//!
//! A line becomes a `tracing` event of the host with the stream's name. Log one line for a change of state; count
//! frequent events instead of logging them.

use std::ffi::c_void;

use abi_stable::StableAbi;

use crate::text::Text;

/// See the module.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Copy)]
pub struct LogTable {
    /// `[any thread]` Writes one line; `level` is a [`LogLevel`](crate::codes::LogLevel)'s code, `context` is the
    /// context of the host's table.
    pub log: unsafe extern "C" fn(context: *mut c_void, level: i32, message: Text),
}

impl super::Table for LogTable {
    const ID: &'static str = "framegate.log";
    const VERSION: u32 = 1;
}
