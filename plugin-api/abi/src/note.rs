//! The ELF note of a plugin: what the host learns from a file before any of its code runs.
//!
//! `export_source!` puts a [`Note`] into the section `.note.framegate`; `readelf -n` shows it, and a plugin in C writes
//! the same. It contains the plugin's ABI version, the symbol of its table of functions, and its name and version.

use crate::guard::Plugin;

/// The section.
pub const SECTION: &str = ".note.framegate";
/// The note's owner, without its closing zero.
pub const OWNER: &str = "Framegate";
/// The note's type.
pub const KIND: u32 = 1;

/// The language of a plugin. One in Rust must have a description of its layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Exported by `export_source!`.
    Rust,
    /// C, or any other language.
    C,
}

impl Language {
    /// The code in the note.
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::Rust => 1,
            Self::C => 2,
        }
    }

    /// The language of a code.
    #[must_use]
    pub const fn from_code(code: u32) -> Option<Self> {
        match code {
            1 => Some(Self::Rust),
            2 => Some(Self::C),
            _ => None,
        }
    }
}

/// An ELF note, as stored in the file.
#[repr(C, align(4))]
#[derive(Debug)]
pub struct Note {
    pub(crate) owner_len: u32,
    pub(crate) description_len: u32,
    pub(crate) kind: u32,
    pub(crate) owner: [u8; 12],
    pub(crate) description: Description,
}

/// The note's content. Numbers are in the machine's byte order; texts are UTF-8, padded with zeros.
///
/// Its fields never change in any version of the ABI, so that every host can report what it found; new fields are
/// appended.
#[repr(C)]
#[derive(Debug)]
pub struct Description {
    /// Major version of the ABI.
    pub abi_major: u32,
    /// Minor version of the ABI.
    pub abi_minor: u32,
    /// A [`Language`]'s code.
    pub language: u32,
    /// 1 for a build with debug assertions.
    pub debug: u32,
    /// The symbol of the [`PluginTable`](crate::vtable::PluginTable).
    pub table: [u8; 128],
    /// The protocol's name.
    pub protocol: [u8; 32],
    /// The plugin's name: the name of its package.
    pub name: [u8; 64],
    /// The plugin's version.
    pub version: [u8; 32],
    /// The compiler that built the plugin.
    pub compiler: [u8; 96],
    /// The symbol of the [`Layout`](crate::vtable::Layout); empty in a plugin without one.
    pub layout: [u8; 128],
}

impl Note {
    /// The note of a plugin in Rust. A text that is too long fails the build.
    #[must_use]
    pub const fn new<P: Plugin>(table: &str, layout: &str, name: &str, version: &str, debug: bool) -> Self {
        Self {
            owner_len: OWNER.len() as u32 + 1,
            description_len: size_of::<Description>() as u32,
            kind: KIND,
            owner: text(OWNER),
            description: Description {
                abi_major: crate::ABI_VERSION.0,
                abi_minor: crate::ABI_VERSION.1,
                language: Language::Rust.code(),
                debug: debug as u32,
                table: text(table),
                protocol: text(P::PROTOCOL),
                name: text(name),
                version: text(version),
                compiler: cut(env!("FRAMEGATE_COMPILER")),
                layout: text(layout),
            },
        }
    }
}

/// A text of at most `N - 1` bytes, padded with zeros.
const fn text<const N: usize>(text: &str) -> [u8; N] {
    assert!(text.len() < N, "a name of the plugin is too long for its note: see framegate_plugin_abi::note");
    cut(text)
}

/// The first `N - 1` bytes of a text, padded with zeros.
const fn cut<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    let mut at = 0;
    while at < text.len() && at < N - 1 {
        bytes[at] = text.as_bytes()[at];
        at += 1;
    }
    bytes
}
