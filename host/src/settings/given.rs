//! The values as written, with their origins, as a tree.
//!
//! File, environment and flags all become this tree ([`super::layers`]); [`super::check`] reads it without knowing
//! their source, and can still name file and line, variable or option in every message. Nothing is interpreted here.

use std::{fmt, sync::Arc};

use serde_json::json;
use toml::de::{DeTable, DeValue};

use super::problem::SettingProblem;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// A line of a file; without a name: a line of the text that the program gave.
    Line { file: Option<Arc<str>>, line: usize },
    /// An environment variable, by its documented name.
    Variable(&'static str),
    /// A command-line option.
    Flag(&'static str),
    /// A default value.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { file: Some(file), line } => write!(f, "{file}:{line}"),
            Self::Line { file: None, line } => write!(f, "line {line}"),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Flag(name) => write!(f, "option {name}"),
            Self::Default => f.write_str("the default"),
        }
    }
}

/// A value and its origin.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Given {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// The kinds of TOML values.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    Time(String),
    List(Vec<Given>),
    Table(Table),
}

/// A table's entries, in their original order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    pub(super) entries: Vec<(String, Given)>,
    pub(super) origin: Origin,
}

impl Given {
    pub(super) fn text(text: &str, origin: Origin) -> Self {
        Self { value: Value::Text(text.to_owned()), origin }
    }

    /// The kind of value, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Text(_) => "a text",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a number",
            Value::Bool(_) => "true or false",
            Value::Time(_) => "a date or time",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }

    /// Converts to JSON, for a source's own settings.
    pub(super) fn json(&self) -> serde_json::Value {
        match &self.value {
            Value::Text(text) | Value::Time(text) => json!(text),
            Value::Integer(number) => json!(number),
            Value::Float(number) => json!(number),
            Value::Bool(truth) => json!(truth),
            Value::List(list) => list.iter().map(Self::json).collect(),
            Value::Table(table) => table.json(),
        }
    }
}

impl Table {
    pub(super) fn new(origin: Origin) -> Self {
        Self { entries: Vec::new(), origin }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Given> {
        self.entries.iter().find(|(name, _)| name == key).map(|(_, given)| given)
    }

    /// Sets a value; replaces an earlier one and its origin.
    pub(super) fn set(&mut self, key: &str, given: Given) {
        self.remove(key);
        self.entries.push((key.to_owned(), given));
    }

    pub(super) fn remove(&mut self, key: &str) {
        self.entries.retain(|(name, _)| name != key);
    }

    pub(super) fn json(&self) -> serde_json::Value {
        self.entries.iter().map(|(key, given)| (key.clone(), given.json())).collect()
    }
}

/// Reads TOML.
///
/// # Errors
/// Every place where the text is not valid TOML, with line and column.
pub(super) fn parse(text: &str, file: Option<&str>) -> Result<Table, Vec<SettingProblem>> {
    let source = Source { text, file: file.map(Arc::from) };
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(source.table(table.get_ref(), table.span().start));
    }
    let mut errors: Vec<_> = errors.iter().map(|error| (error.span().map_or(0, |span| span.start), error)).collect();
    errors.sort_by_key(|(at, _)| *at);
    // A mistake often causes further ones on its line.
    errors.dedup_by_key(|(at, _)| source.origin(*at).to_string());
    let told = errors.into_iter().map(|(at, error)| {
        let message = error.message().trim().replace('\n', "; ");
        let place = format!("{}, column {}", source.origin(at), source.column(at));
        SettingProblem::new(Some(place), format_args!("not TOML: {message}"))
    });
    Err(told.collect())
}

struct Source<'a> {
    text: &'a str,
    file: Option<Arc<str>>,
}

impl Source<'_> {
    fn before(&self, at: usize) -> &[u8] {
        &self.text.as_bytes()[..at.min(self.text.len())]
    }

    fn origin(&self, at: usize) -> Origin {
        let line = 1 + self.before(at).iter().filter(|byte| **byte == b'\n').count();
        Origin::Line { file: self.file.clone(), line }
    }

    /// The column in characters, counted from 1.
    fn column(&self, at: usize) -> usize {
        let line = self.before(at).rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        1 + String::from_utf8_lossy(line).chars().count()
    }

    fn table(&self, table: &DeTable<'_>, at: usize) -> Table {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let entries = entries.into_iter().map(|(key, value)| {
            // A value has the line of its key: for a reader, a multi-line list begins there.
            let at = key.span().start;
            (key.get_ref().to_string(), self.given(value.get_ref(), at))
        });
        Table { entries: entries.collect(), origin: self.origin(at) }
    }

    fn given(&self, value: &DeValue<'_>, at: usize) -> Given {
        let value = match value {
            DeValue::String(text) => Value::Text(text.to_string()),
            // An integer outside of i64 is kept as its number text.
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Integer(number),
                Err(_) => Value::Float(number.as_str().parse().unwrap_or(f64::INFINITY)),
            },
            DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(truth) => Value::Bool(*truth),
            DeValue::Datetime(time) => Value::Time(time.to_string()),
            DeValue::Array(list) => Value::List(
                list.iter()
                    .map(|item| {
                        let at = item.span().start;
                        self.given(item.get_ref(), at)
                    })
                    .collect(),
            ),
            DeValue::Table(table) => Value::Table(self.table(table, at)),
        };
        Given { value, origin: self.origin(at) }
    }
}
