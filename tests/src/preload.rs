//! C libraries for LD_PRELOAD: a clock that a test sets, and a simulated name server.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Compiles a file of this folder into a library in `folder`.
///
/// # Panics
/// There is no C compiler.
#[must_use]
pub(crate) fn compile(name: &str, folder: &Path) -> PathBuf {
    let library = folder.join(format!("lib{name}.so"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/{name}.c"));
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]).arg(source).arg("-o").arg(&library);
    assert!(compiler.status().expect("there is a C compiler").success(), "{name}.c does not compile");
    library
}

/// A name server for names that end in `.test`, for one program; see `names.c`.
#[derive(Debug)]
pub struct Names {
    library: PathBuf,
    file: PathBuf,
}

impl Names {
    /// A name server that knows no name, with its files in `folder`.
    ///
    /// # Panics
    /// There is no C compiler.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        let names = Self { library: compile("names", folder), file: folder.join("names") };
        names.set(&[]);
        names
    }

    /// Lets the program of a command use it.
    pub fn give(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("NAMES", &self.file);
    }

    /// Sets all names: with their addresses, or with `silent` for a name without an answer.
    ///
    /// # Panics
    /// Its folder is gone.
    pub fn set(&self, names: &[(&str, &str)]) {
        let lines: String = names.iter().map(|(name, address)| format!("{name} {address}\n")).collect();
        // Atomically, because the program may be reading it.
        let new = self.file.with_extension("new");
        fs::write(&new, lines).expect("its folder is there");
        fs::rename(&new, &self.file).expect("its folder is there");
    }
}
