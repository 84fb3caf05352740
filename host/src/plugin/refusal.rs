//! Why a plugin is refused: a code, the problem, and what to do, in two lines.
//!
//! docs/write-a-source/plugin-check.md has the same for people, with what to do.
//!
//! | code | gate | a plugin is refused because |
//! |---|---|---|
//! | `FG-ABI-FIND` | 1 | there is no such file, under a name or at a path |
//! | `FG-ABI-FILE` | 1 | it is no regular file, or cannot be read |
//! | `FG-ABI-WRITABLE` | 1 | others than root and the user of this process own it or a directory on its path, or may write there |
//! | `FG-ABI-ELF` | 1 | it is no ELF file |
//! | `FG-ABI-DAMAGED` | 1 | it is an ELF file with a part missing |
//! | `FG-ABI-PROGRAM` | 1 | it is a program or an object file, not a shared library |
//! | `FG-ABI-MACHINE` | 1 | it was built for another kind of machine |
//! | `FG-ABI-NOTE` | 1 | it carries no plugin note: it is some other library |
//! | `FG-ABI-NOTES` | 1 | it carries more than one: a plugin that was linked into another |
//! | `FG-ABI-HASH` | 1 | its SHA-256 is not the pinned one |
//! | `FG-ABI-VERSION` | 2 | it was built for another version of the ABI |
//! | `FG-ABI-LOAD` | 3 | the loader of the system does not take it |
//! | `FG-ABI-SYMBOL` | 3 | the symbol that its note names is missing |
//! | `FG-ABI-HEADER` | 3 | what stands under that symbol is not readable |
//! | `FG-ABI-OPTED-OUT` | 3 | it was built without a description of its layout |
//! | `FG-ABI-LAYOUT` | 3 | its layout differs from the host's |
//! | `FG-ABI-GENERATIONS` | 3 | this process has loaded too many plugins already |
//! | `FG-ABI-CRASH` | 3, 4 | it ended the child process in which it was tried out |
//! | `FG-ABI-PROBE` | 3, 4 | it cannot be tried out in a child process, as the settings want it |
//! | `FG-ABI-PANIC` | 4 | its `create` panicked |
//! | `FG-ABI-HANG` | 4 | its `create` does not return |
//! | `FG-ABI-CREATE` | 4 | its `create` failed, and not because of a setting |

use std::{fmt, time::Duration};

use framegate_plugin_abi::caller::Fault;
use serde::{Deserialize, Serialize};

/// A refused plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Refusal {
    /// Its code.
    pub code: Code,
    /// The first line without the code.
    pub found: String,
    /// The second line.
    pub remedy: String,
}

macro_rules! refusal_codes {
    ($($(#[$about:meta])* $variant:ident = $text:literal,)*) => {
        /// Why a plugin is refused. The variants' meanings: docs/write-a-source/plugin-check.md.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum Code { $($(#[$about])* $variant,)* }

        impl Code {
            /// All codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The code, as users see it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

refusal_codes! {
    /// There is no such file, under a name or at a path.
    Find = "FG-ABI-FIND",
    /// It is no regular file, or cannot be read.
    File = "FG-ABI-FILE",
    /// Others than root and the user of this process own it or a directory on its path, or may write there.
    Writable = "FG-ABI-WRITABLE",
    /// It is no ELF file.
    Elf = "FG-ABI-ELF",
    /// It is an ELF file with a part missing.
    Damaged = "FG-ABI-DAMAGED",
    /// It is a program or an object file, not a shared library.
    Program = "FG-ABI-PROGRAM",
    /// It was built for another kind of machine.
    Machine = "FG-ABI-MACHINE",
    /// It carries no plugin note: it is some other library.
    Note = "FG-ABI-NOTE",
    /// It carries more than one: a plugin that was linked into another.
    Notes = "FG-ABI-NOTES",
    /// Its SHA-256 is not the pinned one.
    Hash = "FG-ABI-HASH",
    /// It was built for another version of the ABI.
    Version = "FG-ABI-VERSION",
    /// The loader of the system does not take it.
    Load = "FG-ABI-LOAD",
    /// The symbol that its note names is missing.
    Symbol = "FG-ABI-SYMBOL",
    /// What stands under that symbol is not readable.
    Header = "FG-ABI-HEADER",
    /// It was built without a description of its layout.
    OptedOut = "FG-ABI-OPTED-OUT",
    /// Its layout differs from the host's.
    Layout = "FG-ABI-LAYOUT",
    /// This process has loaded too many plugins already.
    Generations = "FG-ABI-GENERATIONS",
    /// It ended the child process in which it was tried out.
    Crash = "FG-ABI-CRASH",
    /// It cannot be tried out in a child process, as the settings want it.
    Probe = "FG-ABI-PROBE",
    /// Its `create` panicked.
    Panic = "FG-ABI-PANIC",
    /// Its `create` does not return.
    Hang = "FG-ABI-HANG",
    /// Its `create` failed, and not because of a setting.
    Create = "FG-ABI-CREATE",
}

impl Refusal {
    /// `found` names the problem and what was expected, with the file's path; `remedy` says what to do. One sentence each.
    pub(crate) fn new(code: Code, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code, found: found.into(), remedy: remedy.into() }
    }
}

/// Gate 4: `create` failed. `source` is the plugin's name, version and file.
pub(crate) fn not_created(source: &str, fault: &Fault) -> Refusal {
    match fault {
        Fault::Source(error) => Refusal::new(
            Code::Create,
            format!("{source} does not start: {error}"),
            "this is the plugin's own message; see its documentation",
        ),
        Fault::Lost(why) => Refusal::new(
            Code::Crash,
            format!("{source} does not start: {why}"),
            "this is a fault of the plugin: tell its author, or use another version of it",
        ),
        fault => Refusal::new(
            Code::Panic,
            format!("{source} does not start: {fault}"),
            "this is a fault of the plugin: tell its author, or use another version of it",
        ),
    }
}

/// Gate 4: `create` has not returned in time.
pub(crate) fn overdue(source: &str, limit: Duration) -> Refusal {
    Refusal::new(
        Code::Hang,
        format!("{source} does not start: create did not return within {limit:?}"),
        "this is a fault of the plugin: tell its author, or raise source_timeout if it is only slow",
    )
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]\n  {}", self.found, self.code.as_str(), self.remedy)
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_stands_in_the_table() {
        let module = include_str!("refusal.rs");
        for code in Code::ALL {
            assert!(module.contains(&format!("//! | `{}` |", code.as_str())), "{code:?}");
        }
    }

    #[test]
    fn a_refusal_has_two_lines() {
        let refusal = Refusal::new(Code::Note, "x.so is no plugin", "build one");
        assert_eq!(refusal.to_string(), "x.so is no plugin [FG-ABI-NOTE]\n  build one");
    }
}
