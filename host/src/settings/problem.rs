//! One problem with a setting.

use std::fmt;

/// A setting that is missing or wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettingProblem {
    /// Where it was written: a line of a file, a variable, an option, or a part of the settings that a program built.
    /// `None`: nowhere, because it is missing.
    pub place: Option<String>,
    /// What is wrong, with the key.
    pub finding: String,
    /// What to do, if the finding does not say it.
    pub remedy: Option<String>,
}

impl SettingProblem {
    /// `text` may have a second line, which says what to do.
    pub fn new(place: Option<String>, text: impl fmt::Display) -> Self {
        let (finding, remedy) = finding_and_remedy(&text.to_string());
        Self { place, finding, remedy }
    }
}

impl fmt::Display for SettingProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.finding)?;
        self.remedy.iter().try_for_each(|remedy| write!(f, "\n  {remedy}"))
    }
}

/// Separates the two lines of a message: what was found, and what to do.
pub(crate) fn finding_and_remedy(text: &str) -> (String, Option<String>) {
    match text.split_once("\n  ") {
        Some((finding, remedy)) => (finding.to_owned(), Some(remedy.to_owned())),
        None => (text.to_owned(), None),
    }
}
