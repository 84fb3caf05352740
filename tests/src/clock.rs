//! A wall clock that a test sets, for one program: it jumps, while the clocks that cannot be set continue.
//!
//! The program gets it with LD_PRELOAD; see `clock.c`.

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
    /// A correct clock, with its files in `folder`.
    ///
    /// # Panics
    /// There is no C compiler.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        let clock = Self { library: compile("clock", folder), step: folder.join("clock-step") };
        fs::write(&clock.step, 0i64.to_ne_bytes()).expect("a temporary folder can be written to");
        clock
    }

    /// Gives the clock to the program of a command.
    pub fn give(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("CLOCK_STEP", &self.step);
    }

    /// Sets the clock to `seconds_off` seconds from the correct time.
    ///
    /// # Panics
    /// Its folder is gone.
    pub fn set(&self, seconds_off: i64) {
        // Overwrites the file in place, because the program has it open.
        let file = fs::File::options().write(true).open(&self.step).expect("its folder is there");
        std::os::unix::fs::FileExt::write_all_at(&file, &seconds_off.to_ne_bytes(), 0).expect("it can be written to");
    }
}
