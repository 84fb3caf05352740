//! Gates 1 and 2: inspects a plugin file without running any of it.
//!
//! Opens and reads the file once; the same bytes are later loaded from a private copy, so exactly the checked code
//! runs. Files are untrusted: every length and offset in them is checked.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use framegate_plugin_abi::{
    ABI_VERSION, fits,
    note::{KIND, Language, OWNER, SECTION},
};
use object::{
    Endian, Endianness, elf,
    read::elf::{Dyn, FileHeader, ProgramHeader, SectionHeader},
};
use sha2::{Digest, Sha256};

use super::{
    identity::SourceIdentity,
    open::{Content, Opened, open},
    refusal::{Code, Refusal},
    writable::{nobody_else_may_write, owner_is_trusted},
};

/// A plugin file that passed the checks before loading. It keeps the content that was checked.
#[derive(Debug)]
#[non_exhaustive]
pub struct Inspected {
    /// Its path.
    pub path: PathBuf,
    /// Its content.
    pub(crate) bytes: Content,
    /// SHA-256 of the content, in hexadecimal.
    pub sha256: String,
    /// Its note.
    pub note: Note,
}

impl Inspected {
    /// The identity of a source from this file.
    pub(crate) fn identity(&self) -> SourceIdentity {
        let note = &self.note;
        SourceIdentity {
            protocol: note.protocol.clone(),
            name: note.name.clone(),
            version: Some(note.version.clone()),
            file: Some(self.path.clone()),
            sha256: Some(self.sha256.clone()),
            abi: Some(format!("{}.{}", note.abi.0, note.abi.1)),
            compiler: Some(note.compiler.clone()),
        }
    }
}

/// The content of a note.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Note {
    /// The ABI it was built for.
    pub abi: (u32, u32),
    /// The language; `None` if this host does not know it.
    pub language: Option<Language>,
    /// Whether it is a debug build.
    pub debug: bool,
    /// The symbol of its table of functions.
    pub table: String,
    /// The protocol's name.
    pub protocol: String,
    /// The plugin's name.
    pub name: String,
    /// The plugin's version.
    pub version: String,
    /// The compiler that built it.
    pub compiler: String,
    /// The symbol of the description of its layout; empty if it has none.
    pub layout: String,
    /// The machine it was built for, as `uname -m` names it.
    pub machine: String,
}

/// The requirements for a file besides being a plugin.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trust<'a> {
    /// Accept files and folders that others may write to.
    pub allow_writable: bool,
    /// Requested through the admin endpoint: then the file's owner must be trusted in any case.
    pub from_outside: bool,
    /// The required SHA-256 of the content.
    pub pin: Option<&'a str>,
}

/// What a plugin file says of itself, and whether a host would load it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Description {
    /// Its note.
    pub note: Note,
    /// Its size in bytes.
    pub size: usize,
    /// SHA-256 of its content, in hexadecimal.
    pub sha256: String,
    /// Why a host on this machine refuses to load it.
    pub refusal: Option<Refusal>,
}

/// Describes a plugin file, also one for another kind of machine.
///
/// # Errors
/// The file cannot be read, or it is not a plugin.
pub fn describe(path: &Path, trust: Trust<'_>) -> Result<Description, Refusal> {
    let opened = open(path)?;
    let bytes = opened.read()?;
    let note = read_note(path, &bytes)?;
    let (size, sha256) = (bytes.len(), sha256(&bytes));
    let accepted = is_trusted(&opened, trust).and_then(|()| accept(&opened, bytes, trust));
    Ok(Description { note, size, sha256, refusal: accepted.err() })
}

/// Checks both gates, for a plugin that is to be loaded: the file, and the version of the interface.
///
/// # Errors
/// Why the file is refused.
pub fn inspect(path: &Path, trust: Trust<'_>) -> Result<Inspected, Refusal> {
    let opened = open(path)?;
    is_trusted(&opened, trust)?;
    let bytes = opened.read()?;
    accept(&opened, bytes, trust)
}

/// SHA-256 of a file, in hexadecimal.
pub(crate) fn hash(path: &Path) -> Result<String, Refusal> {
    Ok(sha256(&open(path)?.read()?))
}

/// Checks the location and the owner of a file.
fn is_trusted(opened: &Opened, trust: Trust<'_>) -> Result<(), Refusal> {
    if trust.from_outside {
        owner_is_trusted(opened)?;
    }
    if trust.allow_writable { Ok(()) } else { nobody_else_may_write(opened) }
}

/// Checks that the content is a plugin for this host, with the required hash.
fn accept(opened: &Opened, bytes: Content, trust: Trust<'_>) -> Result<Inspected, Refusal> {
    let path = &opened.path;
    let note = read_note(path, &bytes)?;
    let here = std::env::consts::ARCH;
    if note.machine != here {
        let found = format!("{} is for {} machines, this one is {here}", path.display(), note.machine);
        return Err(Refusal::new(Code::Machine, found, format!("build the plugin for {here}")));
    }
    let sha256 = sha256(&bytes);
    if let Some(pin) = trust.pin.filter(|pin| !pin.eq_ignore_ascii_case(&sha256)) {
        let found = format!("{} has the SHA-256 {sha256}, pinned is {pin}", path.display());
        let remedy = "put the pinned file back, or pin the SHA-256 of this one if the change is intended";
        return Err(Refusal::new(Code::Hash, found, remedy));
    }
    check_version(path, &note)?;
    Ok(Inspected { path: path.clone(), bytes, sha256, note })
}

/// The note of a file, also for other machines.
pub(crate) fn read_note(path: &Path, bytes: &[u8]) -> Result<Note, Refusal> {
    let elf_starts = bytes.starts_with(&elf::ELFMAG);
    let class = bytes.get(4).copied();
    let notes = match class {
        _ if !elf_starts => return Err(not_elf(path, bytes)),
        Some(class) if class == elf::ELFCLASS32.0 => notes_of::<elf::FileHeader32<Endianness>>(path, bytes)?,
        _ => notes_of::<elf::FileHeader64<Endianness>>(path, bytes)?,
    };
    let shown = path.display();
    let [note] = <[Note; 1]>::try_from(notes).map_err(|notes| {
        if notes.is_empty() {
            let remedy = "build it as a cdylib whose crate calls framegate_plugin_api::export_source!";
            Refusal::new(Code::Note, format!("{shown} is not a source plugin: it has no {SECTION} section"), remedy)
        } else {
            let names: Vec<_> = notes.iter().map(|note| note.name.as_str()).collect();
            let found = format!("{shown} is {} plugins in one ({}), expected one", notes.len(), names.join(", "));
            let remedy = "a plugin must not link another: put what they share into a crate without export_source!";
            Refusal::new(Code::Notes, found, remedy)
        }
    })?;
    Ok(note)
}

/// The hash of the content, in hexadecimal.
fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    })
}

/// Gate 2.
pub(crate) fn check_version(path: &Path, note: &Note) -> Result<(), Refusal> {
    let ((major, minor), (ours, our_minor)) = (note.abi, ABI_VERSION);
    if fits(major, minor) && note.language.is_some() {
        return Ok(());
    }
    let found = format!(
        "{} ({} {}) was built for plugin ABI {major}.{minor}, this host has {ours}.{our_minor}",
        path.display(),
        note.name,
        note.version
    );
    let remedy = if note.abi > ABI_VERSION {
        "use a newer framegate, or build the plugin with an older framegate-plugin-api"
    } else {
        "build the plugin again with this framegate's framegate-plugin-api"
    };
    Err(Refusal::new(Code::Version, found, remedy))
}

fn not_elf(path: &Path, bytes: &[u8]) -> Refusal {
    let shown = path.display();
    let what = match bytes {
        [] => "empty",
        [b'#', b'!', ..] => "a script",
        bytes if std::str::from_utf8(&bytes[..bytes.len().min(512)]).is_ok() => "a text file",
        _ => "not an ELF file",
    };
    let found = format!("{shown} is {what}, expected a shared library (ELF)");
    Refusal::new(Code::Elf, found, "give the .so file that cargo puts into target/release")
}

/// All plugin notes of an ELF file that is a whole shared library.
fn notes_of<Elf: FileHeader<Endian = Endianness>>(path: &Path, bytes: &[u8]) -> Result<Vec<Note>, Refusal> {
    let shown = path.display();
    let damaged = |what: String| {
        let remedy = "copy or build it again; was it still being written?";
        Refusal::new(Code::Damaged, format!("{shown} is damaged: {what}"), remedy)
    };
    let broken = |problem: object::read::Error| damaged(problem.to_string());
    let header = Elf::parse(bytes).map_err(broken)?;
    let endian = header.endian().map_err(broken)?;
    let segments = header.program_headers(endian, bytes).map_err(broken)?;
    let mut is_program = header.e_type(endian) != elf::ET_DYN;
    for segment in segments {
        let (start, size): (u64, u64) = (segment.p_offset(endian).into(), segment.p_filesz(endian).into());
        if start.checked_add(size).is_none_or(|end| end > bytes.len() as u64) {
            return Err(damaged(format!("it ends after {} bytes, in the middle", bytes.len())));
        }
        is_program |= segment.p_type(endian) == elf::PT_INTERP;
        for entry in segment.dynamic(endian, bytes).map_err(broken)?.unwrap_or_default() {
            let value: u64 = entry.d_val(endian).into();
            is_program |= entry.d_tag(endian) == elf::DT_FLAGS_1 && value & elf::DF_1_PIE.0 != 0;
        }
    }
    let sections = header.sections(endian, bytes).map_err(broken)?;
    if is_program {
        let found = format!("{shown} is a program or an object file, expected a shared library");
        return Err(Refusal::new(
            Code::Program,
            found,
            "set crate-type = [\"cdylib\"] in the plugin's Cargo.toml and give that .so file",
        ));
    }
    let machine = machine(header.e_machine(endian), header.is_class_64(), endian.is_little_endian());
    let mut found = Vec::new();
    for section in sections.iter() {
        if sections.section_name(endian, section).map_err(broken)? != SECTION.as_bytes() {
            continue;
        }
        let Some(mut notes) = section.notes(endian, bytes).map_err(broken)? else { continue };
        while let Some(note) = notes.next().map_err(broken)? {
            if note.name() == OWNER.as_bytes() && note.n_type(endian).0 == KIND {
                found.push(
                    description(note.desc(), endian, &machine)
                        .ok_or_else(|| damaged("its note is too short".to_owned()))?,
                );
            }
        }
    }
    Ok(found)
}

/// Reads the description, field by field: see `framegate_plugin_abi::note::Description`.
fn description(bytes: &[u8], endian: Endianness, machine: &str) -> Option<Note> {
    let mut rest = bytes;
    let mut number = || {
        let (four, after) = rest.split_first_chunk::<4>()?;
        rest = after;
        Some(endian.read_u32(*four))
    };
    let (abi, language, debug) = ((number()?, number()?), number()?, number()?);
    let mut text = |len: usize| {
        let (field, after) = rest.split_at_checked(len)?;
        rest = after;
        let end = field.iter().position(|&byte| byte == 0).unwrap_or(len);
        // Control characters are replaced, because it is shown on terminals.
        Some(String::from_utf8_lossy(&field[..end]).replace(|c: char| c.is_control(), "?"))
    };
    Some(Note {
        abi,
        language: Language::from_code(language),
        debug: debug != 0,
        table: text(128)?,
        protocol: text(32)?,
        name: text(64)?,
        version: text(32)?,
        compiler: text(96)?,
        // Missing in plugins of earlier versions, which are refused for their version.
        layout: text(128).unwrap_or_default(),
        machine: machine.to_owned(),
    })
}

/// The machine's name, if there is a common one.
fn machine(machine: elf::Machine, class_64: bool, little: bool) -> String {
    let name = match (machine, class_64, little) {
        (elf::EM_X86_64, true, true) => "x86_64",
        (elf::EM_AARCH64, true, true) => "aarch64",
        (elf::EM_386, false, true) => "x86",
        (elf::EM_ARM, false, true) => "arm",
        (elf::EM_PPC64, true, _) => "powerpc64",
        (elf::EM_RISCV, true, true) => "riscv64",
        (elf::EM_S390, true, false) => "s390x",
        _ => return format!("ELF machine {}", machine.0),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, strategy::ValueTree};

    use super::*;
    use crate::plugin::locate;

    /// A real plugin: cargo puts the plugins that tests need beside the tests.
    fn plugin() -> (PathBuf, Vec<u8>) {
        let places = locate::places(&[]);
        let (_, path) = places.iter().flat_map(|place| locate::plugins_in(place)).next().unwrap();
        let bytes = open(&path).unwrap().read().unwrap();
        (path, bytes.to_vec())
    }

    /// The offsets of the parts that are read: the header, the section table, and the note.
    fn read_parts(bytes: &[u8]) -> Vec<usize> {
        let sections = u64::from_le_bytes(bytes[0x28..0x30].try_into().unwrap()) as usize;
        let note = bytes.windows(OWNER.len()).position(|window| window == OWNER.as_bytes()).unwrap();
        (0..0x400).chain(sections..bytes.len()).chain(note - 16..note + 400).collect()
    }

    #[test]
    fn a_note_says_what_the_macro_wrote() {
        let (path, bytes) = plugin();
        let note = read_note(&path, &bytes).unwrap();
        assert_eq!((note.abi, note.language, note.debug), (ABI_VERSION, Some(Language::Rust), cfg!(debug_assertions)));
        let own_name = note.name.replace('-', "_");
        assert_eq!(note.table, format!("framegate_table_{own_name}"));
        assert_eq!(note.layout, format!("framegate_layout_{own_name}"));
        assert!(note.compiler.starts_with("rustc "), "{}", note.compiler);
    }

    #[test]
    fn any_damage_is_a_refusal_or_harmless_and_never_a_panic() {
        let (path, mut bytes) = plugin();
        let parts = read_parts(&bytes);
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8);
        for _ in 0..2000 {
            let damage = damage.new_tree(&mut runner).unwrap().current();
            let before: Vec<_> = damage
                .iter()
                .map(|(place, byte)| {
                    let place = parts[place.index(parts.len())];
                    (place, std::mem::replace(&mut bytes[place], *byte))
                })
                .collect();
            let _ = read_note(&path, &bytes);
            // Backwards: a place may have been changed twice.
            for (place, byte) in before.into_iter().rev() {
                bytes[place] = byte;
            }
        }
        read_note(&path, &bytes).unwrap();
    }
}
