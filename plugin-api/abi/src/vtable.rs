//! The table of a plugin's functions, and how the host finds it in the file.
//!
//! A plugin exports its [`PluginTable`] under the symbol that its note names; the table's first fields contain its size
//! and version. A plugin in Rust exports a [`Layout`] beside it, which describes every type that the table leads to: the
//! host compares it with its own, if both have a compatible abi_stable. Otherwise, and for other languages, size and
//! version decide.
#![allow(unsafe_code)]

use std::ffi::c_void;

#[cfg(feature = "layout")]
use abi_stable::{StableAbi, library::AbiHeader, type_layout::TypeLayout};

use crate::{
    batch::Batch,
    error::ErrorBuffer,
    ext::Extension,
    host::HostTable,
    status::StatusForm,
    text::{Sink, Text},
};

/// Only one instance can hold what the source holds (a listening port). See [`PluginTable::flags`].
pub const EXCLUSIVE: u32 = 1;

/// What a plugin can do. All functions return an [`Outcome`](crate::codes::Outcome)'s code, except `get_extension`.
/// Exactly one of `next` and `trigger` is there; the functions after these are optional.
#[repr(C)]
#[cfg_attr(feature = "layout", derive(StableAbi))]
#[derive(Debug, Clone, Copy)]
pub struct PluginTable {
    /// Size of this table in bytes.
    pub size: u32,
    /// Major version of the ABI.
    pub abi_major: u32,
    /// Minor version of the ABI.
    pub abi_minor: u32,
    /// [`EXCLUSIVE`], or 0.
    pub flags: u32,
    /// `[instance thread]` Creates an instance from settings in JSON and writes its address into `instance`. The plugin
    /// copies the table behind `host`; from here on it owns the context, regardless of the outcome.
    pub create: unsafe extern "C" fn(
        host: *const HostTable,
        stream: Text,
        settings: Text,
        instance: *mut *mut c_void,
        error: *mut ErrorBuffer,
    ) -> i32,
    /// `[instance thread, closed]` Destroys the instance: threads that it started have ended when this returns.
    pub destroy: unsafe extern "C" fn(instance: *mut c_void, error: *mut ErrorBuffer) -> i32,
    /// `[instance thread, closed]` Opens the run of a scan.
    pub open: unsafe extern "C" fn(instance: *mut c_void, error: *mut ErrorBuffer) -> i32,
    /// `[instance thread, open]` Ends the run.
    pub close: unsafe extern "C" fn(instance: *mut c_void, error: *mut ErrorBuffer) -> i32,
    /// `[instance thread, open]` Puts events into the batch; returns within `left_ns` nanoseconds, and soon when a stop is
    /// requested. Sets `batch.progress`.
    pub next: Option<
        unsafe extern "C" fn(instance: *mut c_void, batch: *mut Batch, left_ns: u64, error: *mut ErrorBuffer) -> i32,
    >,
    /// `[instance thread, open]` Instead of `next`, for a source without a detector of its own (an on-demand source):
    /// puts the one event for `event_number` into the batch, when the other streams of the ingester have delivered theirs.
    pub trigger: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            event_number: u64,
            batch: *mut Batch,
            error: *mut ErrorBuffer,
        ) -> i32,
    >,
    /// `[instance thread, open]` Called every 100 ms in place of `next` while the host has no room for further events. Keeps
    /// connections alive, without waiting.
    pub held_back: Option<unsafe extern "C" fn(instance: *mut c_void, error: *mut ErrorBuffer) -> i32>,
    /// `[instance thread, open]` Fills in what the run tells about itself.
    pub status:
        Option<unsafe extern "C" fn(instance: *mut c_void, form: *mut StatusForm, error: *mut ErrorBuffer) -> i32>,
    /// `[instance thread]` Describes the run-time parameters: one text, a JSON list of objects with `name`,
    /// `description`, `dtype` (`str`, `binary`, `int`, `float`, `bool`) and `default`. Called once, after `create`.
    pub parameters:
        Option<unsafe extern "C" fn(instance: *mut c_void, out: *const Sink, error: *mut ErrorBuffer) -> i32>,
    /// `[instance thread]` Sets a parameter: UTF-8, or raw bytes for `binary`. Called between two calls of `next`, or
    /// while the instance is closed.
    pub set_parameter:
        Option<unsafe extern "C" fn(instance: *mut c_void, name: Text, value: Text, error: *mut ErrorBuffer) -> i32>,
    /// `[any thread]` Returns an extension of the plugin, by its id.
    pub get_extension: Option<unsafe extern "C" fn(id: Text) -> Extension>,
}

/// The description of a plugin's types, beside its table.
#[cfg(feature = "layout")]
#[repr(C)]
#[derive(Debug)]
pub struct Layout {
    /// Says which versions of abi_stable can read the description.
    pub abi_stable: AbiHeader,
    /// The description of [`PluginTable`] and of every type that it leads to.
    pub table: &'static TypeLayout,
}

#[cfg(feature = "layout")]
impl Layout {
    /// The description of this crate's types.
    pub const OWN: Self = Self { abi_stable: AbiHeader::VALUE, table: <PluginTable as StableAbi>::LAYOUT };
}
