//! Collects all problems, so that a person gets them at once; reads tables key by key, and adds what is wrong in them.

use std::fmt;

use super::{
    SettingsError,
    given::{Given, Origin, Table, Value},
    problem::SettingProblem,
};

/// The collected problems, each with its line of the file, to sort them.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<(usize, SettingProblem)>,
    /// The keys whose values are wrong.
    keys: Vec<String>,
}

impl Problems {
    pub(super) fn add(&mut self, origin: &Origin, problem: impl fmt::Display) {
        let line = if let Origin::Line { line, .. } = origin { *line } else { 0 };
        self.found.push((line, SettingProblem::new(Some(origin.to_string()), problem)));
    }

    /// Adds a problem with a value. Variables and options are named by their own names, not by the key's.
    pub(super) fn add_value(&mut self, key: &str, given: &Given, why: &str) {
        self.keys.push(key.to_owned());
        match given.origin {
            Origin::Variable(_) | Origin::Flag(_) => self.add(&given.origin, why),
            Origin::Line { .. } | Origin::Default => self.add(&given.origin, format_args!("{key}: {why}")),
        }
    }

    pub(super) fn general(&mut self, problem: String) {
        self.found.push((0, SettingProblem::new(None, problem)));
    }

    /// Whether the value of a key is wrong.
    pub(super) fn has(&self, key: &str) -> bool {
        self.keys.iter().any(|wrong| wrong == key)
    }

    /// The value, if there are no problems.
    pub(super) fn finish<T>(self, value: T) -> Result<T, SettingsError> {
        match self.sorted() {
            problems if problems.is_empty() => Ok(value),
            problems => Err(SettingsError { problems }),
        }
    }

    /// All problems, in the order of the file.
    pub(super) fn sorted(mut self) -> Vec<SettingProblem> {
        self.found.sort_by_key(|(line, _)| *line);
        self.found.into_iter().map(|(_, problem)| problem).collect()
    }
}

/// Reads a table key by key.
impl Table {
    /// A parsed value; `None` if it is absent or wrong; a wrong value adds a problem.
    pub(super) fn read<T>(
        &self,
        key: &str,
        problems: &mut Problems,
        read: impl FnOnce(&Given) -> Result<T, String>,
    ) -> Option<T> {
        let given = self.get(key)?;
        read(given).map_err(|why| problems.add_value(key, given, &why)).ok()
    }

    /// A nested table.
    pub(super) fn table(&self, key: &str, problems: &mut Problems) -> Option<&Table> {
        let given = self.get(key)?;
        let Value::Table(table) = &given.value else {
            problems.add(&given.origin, format_args!("{key}: expected a table, not {}", given.kind()));
            return None;
        };
        Some(table)
    }

    /// The tables of a list; `heading` is the line that begins each of them in a file.
    pub(super) fn tables(&self, key: &str, heading: &str, problems: &mut Problems) -> Vec<&Table> {
        let Some(given) = self.get(key) else { return Vec::new() };
        let Value::List(list) = &given.value else {
            let hint = format!("write {heading} above its keys, once for each");
            problems
                .add(&given.origin, format_args!("{key}: expected a list of tables, not {}\n  {hint}", given.kind()));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in list {
            match &item.value {
                Value::Table(table) => tables.push(table),
                _ => problems.add(&item.origin, format_args!("{key}: expected a table, not {}", item.kind())),
            }
        }
        tables
    }
}
