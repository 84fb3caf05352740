//! A frame in the form in which it crosses the boundary.

use std::ffi::c_void;

#[cfg(feature = "layout")]
use abi_stable::StableAbi;

/// One frame in the form that crosses the boundary: the address of its bytes, and the function that releases them.
#[repr(C)]
#[cfg_attr(feature = "layout", derive(StableAbi))]
#[derive(Debug, Clone, Copy)]
pub struct RawFrame {
    /// First byte; may be dangling when `len` is 0.
    pub data: *const u8,
    /// Number of bytes.
    pub len: usize,
    /// Passed to `release` unchanged.
    pub owner: *mut c_void,
    /// [any thread] Releases the bytes; called exactly once. `None` for bytes that live as long as the process.
    pub release: Option<unsafe extern "C" fn(owner: *mut c_void)>,
}
