//! Makes a library a plugin: two statics, the note and the root.

/// Writes a plugin's note and root into the crate that calls it. Authors call `framegate_plugin_api::export_source!` instead.
///
/// Both contain the crate's name, so that several sources can be linked into one program. The macro writes nothing
/// else: in a crate that forbids unsafe code, only an attribute that is named here may be `unsafe`.
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
                ::core::concat!("framegate_root_", ::core::env!("CARGO_CRATE_NAME")),
                ::core::env!("CARGO_PKG_NAME"),
                ::core::env!("CARGO_PKG_VERSION"),
                ::core::cfg!(debug_assertions),
            );

            #[unsafe(export_name = ::core::concat!("framegate_root_", ::core::env!("CARGO_CRATE_NAME")))]
            static ROOT: $crate::vtable::LibHeader = $crate::vtable::header::<$plugin>();
        };
    };
}
