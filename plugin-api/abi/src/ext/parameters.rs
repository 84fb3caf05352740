//! `framegate.parameters`, offered by a plugin: values that people change between scans without a restart.
//!
//! `describe` gives one text: a JSON list of objects with `name`, `description`, `dtype` (`str`, `binary`, `int`,
//! `float`, `bool`) and `default`. The host calls it once, after `create`. `set` is called between two calls of `next`,
//! or while the instance is closed.

use std::ffi::c_void;

use abi_stable::StableAbi;

use crate::{
    error::ErrorBuffer,
    text::{Sink, Text},
};

/// See the module.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Copy)]
pub struct ParametersTable {
    /// `[instance thread, not poisoned]` Describes the parameters. Returns an [`Outcome`](crate::codes::Outcome)'s
    /// code.
    pub describe: unsafe extern "C" fn(instance: *mut c_void, out: *const Sink, error: *mut ErrorBuffer) -> i32,
    /// `[instance thread, not poisoned]` Sets a new value: UTF-8, or raw bytes for `binary`. Returns an outcome's code.
    pub set: unsafe extern "C" fn(instance: *mut c_void, name: Text, value: Text, error: *mut ErrorBuffer) -> i32,
}

impl super::Table for ParametersTable {
    const ID: &'static str = "framegate.parameters";
    const VERSION: u32 = 1;
}
