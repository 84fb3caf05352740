//! Compares everything that crosses the boundary with a file of this version: `layout/MAJOR.MINOR.txt`.
//!
//! The file contains the offset and type of every field of every struct, and the meaning of every code. A change of any
//! of these fails here until the version is increased. The C header is compared with the same file
//! (`tests/tests/authors/header.rs`).

use std::{any::type_name, collections::BTreeSet, fmt::Write as _, fs, mem::offset_of, path::PathBuf};

use crate::{
    ABI_VERSION,
    batch::{Batch, RawEvent},
    codes::{Connected, ErrorKind, EventKind, LogLevel, Outcome, Progress},
    error::ErrorBuffer,
    ext::Extension,
    fits,
    host::HostTable,
    note::{self, Description, Language, Note},
    raw::RawFrame,
    status::StatusForm,
    text::{Sink, Text},
    vtable::{EXCLUSIVE, PluginTable},
};

/// Describes structs. A struct with a field that is not named here does not compile.
macro_rules! structs {
    ($text:ident: $($name:ident { $($field:ident),* $(,)? })*) => {$(
        let _ = |all: $name| { let $name { $($field: _),* } = all; };
        let (size, align) = (size_of::<$name>(), align_of::<$name>());
        let _ = writeln!($text, "\nstruct {} of {size} bytes, aligned to {align}", stringify!($name));
        $(
            let of = type_of(|all: &$name| &all.$field);
            let _ = writeln!($text, "    {:>3} {}: {of}", offset_of!($name, $field), stringify!($field));
        )*
    )*};
}

/// Describes codes.
macro_rules! codes {
    ($text:ident: $($name:ident { $all:expr })*) => {$(
        let _ = writeln!($text, "\ncodes {}", stringify!($name));
        for one in $all {
            let _ = writeln!($text, "    {:>3} {one:?}", one.code());
        }
    )*};
}

/// The layout of this version.
fn now() -> String {
    let mut text = format!("version {}.{}\n", ABI_VERSION.0, ABI_VERSION.1);
    structs!(text:
        Text { data, len }
        Sink { context, take }
        ErrorBuffer { data, capacity, len, kind }
        Extension { size, version, table }
        HostTable { context, log, log_level, stop_requested, stop_descriptor, get_extension, release }
        RawFrame { data, len, owner, release }
        RawEvent { typ, frames, kind }
        Batch {
            events, events_len, events_capacity, frames, frames_len, frames_capacity, max_events, max_bytes, progress, grow,
        }
        PluginTable {
            size, abi_major, abi_minor, flags, create, destroy, open, close, next, trigger, held_back, status, parameters,
            set_parameter, get_extension,
        }
        StatusForm {
            context, counter, skipped, last_invalid, peer, bytes_waiting, connected_for_ns, connected,
        }
        Description { abi_major, abi_minor, language, debug, table, protocol, name, version, compiler, layout }
        Note { owner_len, description_len, kind, owner, description }
    );
    codes!(text:
        Outcome { Outcome::ALL }
        Progress { Progress::ALL }
        ErrorKind { ErrorKind::ALL }
        EventKind { EventKind::ALL }
        Connected { Connected::ALL }
        LogLevel { LogLevel::ALL }
        Language { [Language::Rust, Language::C] }
    );
    let _ = writeln!(text, "\nflag EXCLUSIVE {EXCLUSIVE}");
    let _ = writeln!(text, "\nnote {} in {}, of kind {}", note::OWNER, note::SECTION, note::KIND);
    text
}

fn type_of<S, T>(_: impl Fn(&S) -> &T) -> String {
    without_modules(type_name::<T>())
}

/// `*const text::Text` → `*const Text`.
fn without_modules(name: &str) -> String {
    let mut text = String::new();
    for (at, part) in name.split("::").enumerate() {
        if at > 0 {
            text.truncate(text.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_').len());
        }
        text += part;
    }
    text
}

fn files() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("layout")
}

#[test]
fn what_crosses_is_what_the_file_of_this_version_says() {
    let path = files().join(format!("{}.{}.txt", ABI_VERSION.0, ABI_VERSION.1));
    let (said, now) = (fs::read_to_string(&path).unwrap_or_default(), now());
    assert!(
        said == now,
        "{} does not describe what crosses. Plugins in C are checked by version and size only, so each change of the layout \
         needs a new version: raise the minor version (in Cargo.toml, `ABI_VERSION` and the C header), and write its file. \
         It would be\n{now}",
        path.display()
    );
}

/// The structs in one file of this crate that derive `StableAbi`.
fn crossing(text: &str) -> impl Iterator<Item = &str> {
    let derived = text.split("derive(StableAbi))]").skip(1);
    let names =
        derived.filter_map(|rest| rest.split_once("pub struct ")?.1.split(|c: char| !c.is_alphanumeric()).next());
    names.filter(|name| !name.is_empty()) // an empty name comes from this file itself
}

#[test]
fn every_struct_that_crosses_is_described() {
    let now = now();
    let src = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = 0;
    for file in fs::read_dir(src).unwrap().map(|file| file.unwrap().path()).filter(|path| path.is_file()) {
        for name in crossing(&fs::read_to_string(&file).unwrap()) {
            assert!(now.contains(&format!("\nstruct {name} of ")), "{name} of {}", file.display());
            found += 1;
        }
    }
    assert!(found > 8, "{found}");
}

#[test]
fn every_struct_that_is_named_is_described() {
    let now = now();
    let types = now.lines().filter(|line| line.starts_with("    ")).filter_map(|line| line.split_once(": "));
    let words = types.flat_map(|(_, of)| of.split(|c: char| !c.is_alphanumeric()));
    let structs = words.filter(|word| word.len() > 1 && word.starts_with(char::is_uppercase) && *word != "Option");
    let structs: BTreeSet<&str> = structs.collect();
    assert!(structs.contains("HostTable"), "{structs:?}");
    for name in structs {
        assert!(now.contains(&format!("\nstruct {name} of ")), "{name}");
    }
}

#[test]
fn the_version_is_that_of_the_crate() {
    let (major, minor) = ABI_VERSION;
    let version = [env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR")];
    assert_eq!(version, [major.to_string(), minor.to_string()]);
}

#[test]
fn before_1_0_a_plugin_must_have_the_same_version() {
    let (major, minor) = ABI_VERSION;
    assert_eq!(major, 0, "from 1.0 on the minor version may differ: change this test");
    assert!(fits(0, minor) && !fits(0, minor + 1) && !fits(0, minor - 1) && !fits(1, minor) && !fits(1, 0));
}
