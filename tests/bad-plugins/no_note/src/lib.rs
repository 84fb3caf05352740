//! A shared library that is no plugin.

/// Something to export.
#[unsafe(no_mangle)]
pub extern "C" fn not_a_plugin() -> i32 {
    1
}
