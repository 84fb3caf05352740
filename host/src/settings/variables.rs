//! The environment variables that override keys of a configuration, for the help texts of programs that read them.

use super::{
    keys::Key,
    tables::{DROP_IN_VARIABLES, PLUGIN_PATH, keys_of},
};

/// An environment variable, and what it sets.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Variable {
    /// Its names; the first one that is set counts.
    pub names: &'static [&'static str],
    /// Its meaning, in Markdown. The first sentence can stand alone.
    pub meaning: String,
    /// The value without it, as it is written in a configuration file.
    pub default: Option<&'static str>,
}

impl Variable {
    /// Of a key that has variables.
    fn of(key: &Key) -> Option<Self> {
        let names = Some(key.variables).filter(|names| !names.is_empty())?;
        Some(Self { names, meaning: key.text(), default: key.default })
    }
}

/// The variables that [`run`](super::layers::run) takes, and the one with the folders of plugins.
pub fn of_run() -> impl Iterator<Item = Variable> {
    keys_of("").chain([&PLUGIN_PATH]).filter_map(Variable::of)
}

/// The variables that [`drop_in`](super::layers::drop_in) takes, and the one with the folders of plugins.
pub fn of_drop_in() -> impl Iterator<Item = Variable> {
    let keys = DROP_IN_VARIABLES.iter().chain(keys_of("ingester")).chain(keys_of("")).chain([&PLUGIN_PATH]);
    keys.filter_map(Variable::of)
}
