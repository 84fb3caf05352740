//! Compares everything that crosses the boundary with a file for each version: `layout/MAJOR.MINOR.txt`.
//!
//! The file contains the offset and type of every field of every struct, the meaning of every code, and all extensions.
//! A change of any of these fails here until the version is increased, and a minor version may only add. The C header
//! is compared with the same file (`tests/tests/authors/header.rs`), and a plugin of version 1.0 is built from a frozen copy
//! and loaded (`tests/old-plugins/`).

use std::{any::type_name, collections::BTreeSet, fmt::Write as _, fs, mem::offset_of, path::PathBuf};

use crate::{
    ABI_VERSION,
    batch::{Batch, RawEvent},
    codes::{ErrorKind, EventKind, LogLevel, Outcome, Progress},
    error::ErrorBuffer,
    ext::{
        Extension, Table, counters::CountersTable, log::LogTable, parameters::ParametersTable, present::PresentTable,
        skipped::SkippedTable, trigger::TriggerTable,
    },
    frame::RawFrame,
    host::HostTable,
    note::{self, Description, Language, Note},
    text::{Sink, Text},
    vtable::{EXCLUSIVE, PluginTable, Root},
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
        Extension { size, version, layout, table }
        HostTable { context, stop_requested, stop_descriptor, get_extension, release }
        RawFrame { data, len, owner, release }
        RawEvent { typ, frames, kind }
        Batch {
            events, events_len, events_capacity, frames, frames_len, frames_capacity, max_events, max_bytes, progress, grow,
        }
        PluginTable {
            size, abi_major, abi_minor, flags, create, destroy, open, next, close, get_extension,
        }
        LogTable { log }
        ParametersTable { describe, set }
        SkippedTable { skipped }
        CountersTable { counters }
        TriggerTable { trigger }
        PresentTable { bytes_waiting, last_invalid }
        Description { abi_major, abi_minor, language, debug, root, protocol, name, version, compiler }
        Note { owner_len, description_len, kind, owner, description }
    );
    // Not part of the C interface: the root of a plugin in Rust.
    structs!(text: Root { table });
    codes!(text:
        Outcome { Outcome::ALL }
        Progress { Progress::ALL }
        ErrorKind { ErrorKind::ALL }
        EventKind { EventKind::ALL }
        LogLevel { LogLevel::ALL }
        Language { [Language::Rust, Language::C] }
    );
    let _ = writeln!(text, "\nflag EXCLUSIVE {EXCLUSIVE}");
    let _ = writeln!(text, "\nnote {} in {}, of kind {}", note::OWNER, note::SECTION, note::KIND);
    extension::<LogTable>(&mut text);
    extension::<ParametersTable>(&mut text);
    extension::<SkippedTable>(&mut text);
    extension::<CountersTable>(&mut text);
    extension::<TriggerTable>(&mut text);
    extension::<PresentTable>(&mut text);
    text
}

fn extension<T: Table>(text: &mut String) {
    let _ = writeln!(text, "\nextension {}, version {}: {}", T::ID, T::VERSION, without_modules(type_name::<T>()));
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

/// The parts that a later version of the same major version lacks or has changed.
fn lacks(later: &str, earlier: &str) -> Vec<String> {
    let parts = |text: &str| text.split("\n\n").skip(1).map(|part| part.trim_end().to_owned()).collect::<BTreeSet<_>>();
    parts(earlier).difference(&parts(later)).cloned().collect()
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
        "{} does not say what crosses. What is there in a version that was released never changes, because plugins were built \
         with it: put the change into an extension, raise the minor version (in Cargo.toml and `ABI_VERSION`), and \
         write its file. It would be\n{now}",
        path.display()
    );
}

/// The structs in one file of this crate that derive `StableAbi`.
fn crossing(text: &str) -> impl Iterator<Item = &str> {
    let derived = text.split("#[derive(StableAbi").skip(1);
    let names =
        derived.filter_map(|rest| rest.split_once("pub struct ")?.1.split(|c: char| !c.is_alphanumeric()).next());
    names.filter(|name| !name.is_empty()) // an empty name comes from this file itself
}

#[test]
fn every_struct_that_crosses_is_described() {
    let now = now();
    let src = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = 0;
    for folder in [src.join("ext"), src] {
        for file in fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).filter(|path| path.is_file()) {
            for name in crossing(&fs::read_to_string(&file).unwrap()) {
                assert!(now.contains(&format!("\nstruct {name} of ")), "{name} of {}", file.display());
                found += 1;
            }
        }
    }
    assert!(found > 12, "{found}");
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
fn a_minor_version_only_adds() {
    let later = "version 1.1\n\nstruct A\n  0 a\n\nstruct B\n  0 b\n";
    assert_eq!(lacks(later, "version 1.0\n\nstruct A\n  0 a\n"), [""; 0]);
    assert_eq!(lacks(later, "version 1.0\n\nstruct A\n  4 a\n"), ["struct A\n  4 a"]);
    assert_eq!(lacks(later, "version 1.0\n\nstruct C\n  0 c\n"), ["struct C\n  0 c"]);
    let now = now();
    for file in fs::read_dir(files()).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if name.split('.').next() == Some(&ABI_VERSION.0.to_string()) {
            let lacks = lacks(&now, &fs::read_to_string(&path).unwrap());
            assert!(lacks.is_empty(), "{name} had, and this version has not:\n{}", lacks.join("\n"));
        }
    }
}

#[test]
fn the_version_is_that_of_the_crate() {
    let (major, minor) = ABI_VERSION;
    let version = [env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR")];
    assert_eq!(version, [major.to_string(), minor.to_string()]);
}
