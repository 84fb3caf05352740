//! The functions that the host offers a plugin, as a trait and as the table that crosses the boundary.
//!
//! The table's context has one owner, who calls `release` once. So a thread that a plugin left behind can still call
//! it.
#![allow(unsafe_code)]

use std::{
    ffi::c_void,
    fmt,
    os::fd::{BorrowedFd, RawFd},
    sync::OnceLock,
};

#[cfg(feature = "layout")]
use abi_stable::StableAbi;

use crate::{codes::LogLevel, ext::Extension, text::Text};

/// The host's side of a source: its log and its stop token. Implemented by the host and by the boundary.
pub trait HostServices: Send + Sync {
    /// Writes one line to the host's log, with the stream's name. `[any thread]`
    fn log(&self, level: LogLevel, message: &str);
    /// The most detailed level that the host's log takes; lines of other levels are dropped. `[any thread]`
    fn log_level(&self) -> LogLevel {
        LogLevel::Debug
    }
    /// Whether the current call should return soon. `[any thread]`
    fn stop_requested(&self) -> bool;
    /// A descriptor that is readable while a stop is requested; never read from it. Always the same. `[any thread]`
    fn stop_descriptor(&self) -> BorrowedFd<'_>;
    /// The callback for calls that a plugin makes after it has released these services; `None` by default. The host
    /// asks for it once, at the release, and keeps it for ever, so it should hold no descriptor. `[any thread]`
    fn stray_calls(&self) -> Option<StrayCalls> {
        None
    }
}

/// Gets the name of each host function that a plugin calls after the release. `[any thread]`
pub type StrayCalls = std::sync::Arc<dyn Fn(&'static str) + Send + Sync>;

/// The table of the host's functions, created for one instance.
#[repr(C)]
#[cfg_attr(feature = "layout", derive(StableAbi))]
#[derive(Debug, Clone, Copy)]
pub struct HostTable {
    /// Passed to every function unchanged.
    pub context: *mut c_void,
    /// `[any thread]` Writes one line to the host's log, with the stream's name; `level` is a [`LogLevel`]'s code. Log
    /// one line for a change of state; count frequent events instead of logging them.
    pub log: unsafe extern "C" fn(context: *mut c_void, level: i32, message: Text),
    /// `[any thread]` Returns the code of the most detailed [`LogLevel`] that the host's log takes.
    pub log_level: unsafe extern "C" fn(context: *mut c_void) -> i32,
    /// `[any thread]` Not 0 while the current call should return soon.
    pub stop_requested: unsafe extern "C" fn(context: *mut c_void) -> i32,
    /// `[any thread]` A descriptor that is readable while a stop is requested; never read from it. It is always the same,
    /// and open until `release`.
    pub stop_descriptor: unsafe extern "C" fn(context: *mut c_void) -> i32,
    /// `[any thread]` Returns an extension of the host, by its id.
    pub get_extension: unsafe extern "C" fn(context: *mut c_void, id: Text) -> Extension,
    /// `[any thread]` Releases the context, once; the table is not used afterwards. The host refuses and logs later
    /// calls.
    pub release: unsafe extern "C" fn(context: *mut c_void),
}

/// The plugin's side: owns a table's context.
pub struct HostHandle {
    table: HostTable,
    /// Asked for once: sources need it for each wait.
    stop: OnceLock<RawFd>,
}

// SAFETY: all functions of a `HostTable` may be called on any thread, as their declaration says; the context is only
// passed to them.
unsafe impl Send for HostHandle {}
// SAFETY: as above; they may be called on several threads at once.
unsafe impl Sync for HostHandle {}

impl HostHandle {
    /// Takes over a table.
    ///
    /// # Safety
    /// - The functions may be called with `context` on any thread until `release`, which nobody else calls;
    /// - the descriptor that `stop_descriptor` returns is open until then.
    #[must_use]
    pub unsafe fn new(table: HostTable) -> Self {
        Self { table, stop: OnceLock::new() }
    }
}

impl HostServices for HostHandle {
    fn log(&self, level: LogLevel, message: &str) {
        // SAFETY: the context is released in `drop` only; the message lives during the call.
        unsafe { (self.table.log)(self.table.context, level.code(), Text::new(message)) }
    }

    fn log_level(&self) -> LogLevel {
        // SAFETY: the context is released in `drop` only.
        let code = unsafe { (self.table.log_level)(self.table.context) };
        LogLevel::from_code(code).unwrap_or(LogLevel::Debug)
    }

    fn stop_requested(&self) -> bool {
        // SAFETY: the context is released in `drop` only.
        unsafe { (self.table.stop_requested)(self.table.context) != 0 }
    }

    fn stop_descriptor(&self) -> BorrowedFd<'_> {
        // SAFETY: the context is released in `drop` only.
        let descriptor = *self.stop.get_or_init(|| unsafe { (self.table.stop_descriptor)(self.table.context) });
        // SAFETY: open until the release, which needs this handle's drop, and never -1 before it.
        unsafe { BorrowedFd::borrow_raw(descriptor) }
    }
}

impl Drop for HostHandle {
    fn drop(&mut self) {
        // SAFETY: this handle is the only owner of the context and ends here.
        unsafe { (self.table.release)(self.table.context) }
    }
}

impl fmt::Debug for HostHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostHandle").finish_non_exhaustive()
    }
}
