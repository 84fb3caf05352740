//! A shared library that is not a plugin.

/// A symbol to export.
#[unsafe(no_mangle)]
pub extern "C" fn not_a_plugin() -> i32 {
    1
}
