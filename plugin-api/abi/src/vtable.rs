//! The table of a plugin's functions, and how the host finds it in the file.
//!
//! A plugin in Rust exports abi_stable's `LibHeader` under the symbol that its note names; the header describes the
//! layout of [`Root`], which leads to the table. A plugin in another language exports the [`PluginTable`] itself under
//! that symbol: the table's first fields contain its size and version.
//!
//! Frozen: adding or removing a field in anything reachable from here needs a new major version of the ABI.
#![allow(unsafe_code)]

use std::ffi::c_void;

use abi_stable::{
    StableAbi,
    library::{CheckTypeLayout, RootModule, RootModuleError, RootModuleResult},
    marker_type::ErasedPrefix,
    package_version_strings,
    prefix_type::{PrefixRef, PrefixRefTrait, PrefixTypeTrait},
    sabi_types::VersionStrings,
    std_types::{RErr, ROk},
};

pub use abi_stable::library::LibHeader;

use crate::{
    batch::Batch,
    catch,
    error::ErrorBuffer,
    ext::Extension,
    guard::{self, Plugin},
    hook,
    host::HostTable,
    text::Text,
};

/// Only one instance can hold what the source holds (a listening port). See [`PluginTable::flags`].
pub const EXCLUSIVE: u32 = 1;

/// What a plugin can do. All functions return an [`Outcome`](crate::codes::Outcome)'s code, except `get_extension`.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Copy)]
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
    /// `[instance thread, open]` Puts events into the batch; returns within `left_ns` nanoseconds, and soon when a stop is
    /// requested. Sets `batch.progress`.
    pub next:
        unsafe extern "C" fn(instance: *mut c_void, batch: *mut Batch, left_ns: u64, error: *mut ErrorBuffer) -> i32,
    /// `[instance thread, open]` Ends the run.
    pub close: unsafe extern "C" fn(instance: *mut c_void, error: *mut ErrorBuffer) -> i32,
    /// `[any thread]` Returns an extension of the plugin, by its id.
    pub get_extension: unsafe extern "C" fn(id: Text) -> Extension,
}

/// The root module of a plugin in Rust. Frozen: it will always have one field.
#[repr(C)]
#[derive(StableAbi, Debug)]
#[sabi(kind(Prefix(prefix_ref = RootRef, prefix_fields = RootPrefix)))]
#[sabi(missing_field(panic))]
pub struct Root {
    /// The plugin's functions.
    #[sabi(last_prefix_field)]
    pub table: &'static PluginTable,
}

impl RootModule for RootRef {
    abi_stable::declare_root_module_statics! {RootRef}
    const BASE_NAME: &'static str = "framegate";
    const NAME: &'static str = "framegate source plugin";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}

/// What a plugin exports under the symbol that its note names.
#[must_use]
pub const fn header<P: Plugin>() -> LibHeader {
    // SAFETY: `root` returns a `RootRef`, the type that is named here.
    unsafe { LibHeader::from_constructor::<RootRef>(root::<P>, CheckTypeLayout::Yes) }
}

/// The loader of a plugin file calls this once, before anything else. Never called in a program that links the source.
extern "C" fn root<P: Plugin>() -> RootModuleResult {
    let made = catch::quietly(|| {
        hook::install();
        let root: RootRef = Root { table: guard::table::<P>() }.leak_into_prefix();
        let erased = root.to_prefix_ref();
        // SAFETY: the loader casts it back to the type that `header` named, which is `RootRef`.
        unsafe { erased.cast::<ErasedPrefix>() }
    });
    match made {
        Some(root) => ROk::<PrefixRef<ErasedPrefix>, RootModuleError>(root),
        None => RErr(RootModuleError::Unwound),
    }
}
