//! A clock on the wall that a test sets, for one program: it jumps, and the clocks that nobody can set go on.
//!
//! The program gets it with LD_PRELOAD; `clock.c` says how.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::preload::compile;

/// See the module.
#[derive(Debug)]
pub struct Clock {
    library: PathBuf,
    step: PathBuf,
}

impl Clock {
    /// A clock that goes right, with its files in a folder.
    ///
    /// # Panics
    /// There is no C compiler.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        let clock = Self { library: compile("clock", folder), step: folder.join("clock-step") };
        fs::write(&clock.step, 0i64.to_ne_bytes()).expect("a temporary folder can be written to");
        clock
    }

    /// A command whose program will have it.
    pub fn give(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("CLOCK_STEP", &self.step);
    }

    /// Sets it, to so many seconds from the right time.
    ///
    /// # Panics
    /// Its folder is gone.
    pub fn set(&self, seconds_off: i64) {
        // In place: the program has the file before its eyes.
        let file = fs::File::options().write(true).open(&self.step).expect("its folder is there");
        std::os::unix::fs::FileExt::write_all_at(&file, &seconds_off.to_ne_bytes(), 0).expect("it can be written to");
    }
}
