//! Lets a test report that it did not run.
//!
//! For cargo, a skipped test has passed. `tests/run` counts skips; where CI is set, it fails unless
//! `tests/allowed-skips` names them.

#![forbid(unsafe_code)]

use std::{
    env,
    fs::OpenOptions,
    io::{self, Write as _},
    panic::Location,
    path::Path,
    thread,
};

/// The file that collects skips; `tests/run` sets it.
pub const FILE: &str = "FRAMEGATE_SKIPS";

/// Reports that the calling test does not run, or only partly. The caller then returns.
///
/// # Panics
/// The file of skips cannot be written, so a skip would not be counted.
#[track_caller]
pub fn skip(reason: &str) {
    let caller = Location::caller();
    // Each test has a thread with its name, unless the tests run one after the other.
    let test = thread::current().name().filter(|name| *name != "main").map_or(caller.to_string(), str::to_owned);
    eprintln!("skipped: {test}: {reason}");
    if let Some(file) = env::var_os(FILE) {
        add(Path::new(&file), &test, reason).unwrap_or_else(|error| panic!("{}: {error}", Path::new(&file).display()));
    }
}

/// One write for each line, because tests run in parallel.
fn add(file: &Path, test: &str, reason: &str) -> io::Result<()> {
    let line = format!("{test}: {}\n", reason.replace('\n', " "));
    OpenOptions::new().create(true).append(true).open(file)?.write_all(line.as_bytes())
}
