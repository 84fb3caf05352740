//! Makes a library a plugin: three statics, the note, the table, and the description of the table's layout.

/// Writes a plugin's note, table and layout into the crate that calls it. Authors call
/// `framegate_plugin_api::export_source!` instead.
///
/// The symbols contain the crate's name, so that several sources can be linked into one program. The macro writes
/// nothing else: in a crate that forbids unsafe code, only an attribute that is named here may be `unsafe`.
#[macro_export]
macro_rules! export_plugin {
    ($plugin:ty) => {
        #[cfg(not(panic = "unwind"))]
        ::core::compile_error!(
            "a framegate plugin must be built with panic = \"unwind\": with \"abort\" a panic in it would end the host. \
             Remove panic = \"abort\" from the profile in Cargo.toml, or -C panic=abort from RUSTFLAGS."
        );

        const _: () = {
            #[used]
            #[unsafe(link_section = ".note.framegate")]
            static NOTE: $crate::note::Note = $crate::note::Note::new::<$plugin>(
                ::core::concat!("framegate_table_", ::core::env!("CARGO_CRATE_NAME")),
                ::core::concat!("framegate_layout_", ::core::env!("CARGO_CRATE_NAME")),
                ::core::env!("CARGO_PKG_NAME"),
                ::core::env!("CARGO_PKG_VERSION"),
                ::core::cfg!(debug_assertions),
            );

            #[unsafe(export_name = ::core::concat!("framegate_table_", ::core::env!("CARGO_CRATE_NAME")))]
            static TABLE: $crate::vtable::PluginTable = *$crate::guard::exported::<$plugin>();

            #[unsafe(export_name = ::core::concat!("framegate_layout_", ::core::env!("CARGO_CRATE_NAME")))]
            static LAYOUT: $crate::vtable::Layout = $crate::vtable::Layout::OWN;
        };
    };
}
