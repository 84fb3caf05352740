//! How a test says that it did not run.
//!
//! A skipped test is green for cargo. `tests/run` counts skips, and fails where CI is set and `tests/allowed-skips` does not name them.

#![forbid(unsafe_code)]

use std::{
    env,
    fs::OpenOptions,
    io::{self, Write as _},
    panic::Location,
    path::Path,
    thread,
};

/// The file to which skips are added; `tests/run` sets it.
pub const FILE: &str = "FRAMEGATE_SKIPS";

/// Says that the test that calls it does not run, or not all of it. The caller returns then.
///
/// # Panics
/// If the file of skips cannot be written: a skip would not be counted.
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

/// One write for one line: tests run side by side.
fn add(file: &Path, test: &str, reason: &str) -> io::Result<()> {
    let line = format!("{test}: {}\n", reason.replace('\n', " "));
    OpenOptions::new().create(true).append(true).open(file)?.write_all(line.as_bytes())
}
