//! Reports why a host did not start: all problems at once.

use std::fmt;

use super::problem::Problem;
use crate::settings::{SettingsError, write_lines};

/// Why a host did not start: all problems. Its `Debug` is the same text as its `Display`, because Rust prints the
/// error of `main` with `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct StartError {
    problems: Vec<Problem>,
}

impl StartError {
    /// All problems; at least one.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    pub(super) fn new() -> Self {
        Self { problems: Vec::new() }
    }

    pub(super) fn add(&mut self, problem: Problem) {
        self.problems.push(problem);
    }
}

impl From<SettingsError> for StartError {
    fn from(error: SettingsError) -> Self {
        Self { problems: error.problems().iter().cloned().map(Problem::Setting).collect() }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_lines(f, &self.problems)
    }
}

impl fmt::Debug for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for StartError {}
