//! Reports why a host did not start: all problems at once.

use std::fmt;

use super::{make::Problem, swap::receipt::ProblemSubject};
use crate::{names::StreamName, settings::SettingsError};

/// Why a host did not start: all problems, each a few lines for a person.
#[derive(Debug)]
pub struct StartError {
    problems: Vec<String>,
    plugin: bool,
    settings: bool,
}

impl StartError {
    /// All problems.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Whether a plugin was refused.
    #[must_use]
    pub fn is_plugin_refused(&self) -> bool {
        self.plugin
    }

    /// Whether settings are invalid, of the host or of a source.
    #[must_use]
    pub fn is_settings_wrong(&self) -> bool {
        self.settings
    }

    pub(super) fn new() -> Self {
        Self { problems: Vec::new(), plugin: false, settings: false }
    }

    pub(super) fn add(&mut self, problem: String) {
        self.problems.push(problem);
    }

    pub(super) fn no_source(&mut self, stream: &StreamName, problem: &Problem) {
        self.plugin |= problem.with == ProblemSubject::Plugin;
        self.settings |= problem.with == ProblemSubject::Settings;
        self.add(format!("stream {stream}: {}", problem.text));
    }
}

impl From<SettingsError> for StartError {
    fn from(error: SettingsError) -> Self {
        Self { problems: error.problems().to_vec(), plugin: false, settings: true }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl std::error::Error for StartError {}
