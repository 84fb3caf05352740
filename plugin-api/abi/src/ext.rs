//! Extensions: what a later version of the interface adds beside the tables, in both directions.
//!
//! Either side asks the other by an id and gets a table with its size and version, or nothing. There are none yet: what
//! this version offers is in [`PluginTable`](crate::vtable::PluginTable) and [`HostTable`](crate::host::HostTable).
//! Planned are tables for how an event may be shown, and for memory that the host lends for frames.

use std::{ffi::c_void, ptr};

#[cfg(feature = "layout")]
use abi_stable::StableAbi;

/// The answer to `get_extension`.
#[repr(C)]
#[cfg_attr(feature = "layout", derive(StableAbi))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extension {
    /// Size of the table in bytes; 0 if there is no such extension.
    pub size: usize,
    /// Increases when the meaning of a function in the table changes.
    pub version: u32,
    /// The table; it lives as long as the process.
    pub table: *const c_void,
}

impl Extension {
    /// There is no such extension.
    pub const NONE: Self = Self { size: 0, version: 0, table: ptr::null() };
}
