//! Extensions: everything beside the frozen core, in both directions.
//!
//! Either side asks the other by an id and gets `{size, version, layout, table}`, or nothing. An addition to the ABI is
//! a new table with its own id, in its own file here; an existing table never changes. The side that asks compares the
//! layout before it uses the table.
#![allow(unsafe_code)]

pub mod counters;
pub mod log;
pub mod parameters;
pub mod present;
pub mod skipped;
pub mod trigger;

use std::{ffi::c_void, ptr};

use abi_stable::{
    StableAbi,
    abi_stability::abi_checking::{CheckingGlobals, check_layout_compatibility_with_globals},
    type_layout::TypeLayout,
};

/// A table that one side offers and the other asks for.
pub trait Table: StableAbi + Sized + 'static {
    /// The id that the other side asks for.
    const ID: &'static str;
    /// Increases when the meaning of a function changes.
    const VERSION: u32;
}

/// The answer to `get_extension`.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Copy)]
pub struct Extension {
    /// Size of the table in bytes; 0 if there is no such extension.
    pub size: usize,
    /// The table's [`Table::VERSION`].
    pub version: u32,
    /// Description of the table, a `TypeLayout` of abi_stable; null in a plugin that is not written in Rust.
    pub layout: *const c_void,
    /// The table; it lives as long as the process.
    pub table: *const c_void,
}

impl Extension {
    /// There is no such extension.
    pub const NONE: Self = Self { size: 0, version: 0, layout: ptr::null(), table: ptr::null() };

    /// Offers a table.
    #[must_use]
    pub const fn new<T: Table>(table: &'static T) -> Self {
        Self {
            size: size_of::<T>(),
            version: T::VERSION,
            layout: ptr::from_ref(<T as StableAbi>::LAYOUT).cast(),
            table: ptr::from_ref(table).cast(),
        }
    }

    /// The table, if the other side has it.
    ///
    /// # Safety
    /// - This is the answer of the other side to `T::ID`;
    /// - `layout` is null, or points to a `TypeLayout` of a plugin or host with a compatible abi_stable.
    ///
    /// # Errors
    /// The part that does not fit.
    pub unsafe fn table<T: Table>(self) -> Result<Option<&'static T>, String> {
        if self.size == 0 || self.table.is_null() {
            return Ok(None);
        }
        if self.version != T::VERSION || self.size != size_of::<T>() {
            return Err(format!(
                "{}: version {} of {} bytes, expected version {} of {}",
                T::ID,
                self.version,
                self.size,
                T::VERSION,
                size_of::<T>()
            ));
        }
        // SAFETY: null or a `TypeLayout`, as the caller promises; layouts are static.
        if let Some(layout) = unsafe { self.layout.cast::<TypeLayout>().as_ref::<'static>() }
            && let Err(problem) =
                check_layout_compatibility_with_globals(<T as StableAbi>::LAYOUT, layout, &CheckingGlobals::new())
        {
            return Err(format!("{}: the layout differs: {problem}", T::ID));
        }
        // SAFETY: the table is static, and has the size, version and (where it is described) layout of `T`.
        Ok(unsafe { self.table.cast::<T>().as_ref() })
    }
}
