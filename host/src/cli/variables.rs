//! The environment variables, for the help of the commands.

use crate::settings::{
    keys::Key,
    tables::{DROP_IN_VARIABLES, PLUGIN_PATH, keys_of},
};

/// The variables of `framegate run`.
pub(super) fn of_run() -> String {
    list(keys_of("").chain([&PLUGIN_PATH]))
}

/// The variables of the commands that replace a dranspose ingester.
pub(super) fn of_drop_in() -> String {
    list(DROP_IN_VARIABLES.iter().chain(keys_of("ingester")).chain(keys_of("")).chain([&PLUGIN_PATH]))
}

/// Each with the first sentence of its meaning, and with its default.
fn list<'a>(keys: impl Iterator<Item = &'a Key>) -> String {
    let mut out = String::new();
    for key in keys.filter(|key| !key.variables.is_empty()) {
        let text = key.text();
        let meaning = text.split_once(". ").map_or(text.trim_end_matches('.'), |(first, _)| first).replace('`', "");
        let default = key.default.map(|default| format!(" [default: {}]", default.trim_matches('"')));
        out += &format!("\n  {}{}\n      {meaning}", key.variables.join(", else "), default.unwrap_or_default());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variables_fit_a_terminal_of_80_columns() {
        for line in of_drop_in().lines().chain(of_run().lines()) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
