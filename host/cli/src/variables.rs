//! The environment variables, for the help of the commands.

use framegate::settings::variables::{self, Variable};

/// The variables of `framegate run`.
pub(super) fn of_run() -> String {
    variables::of_run().map(|variable| shown(&variable)).collect()
}

/// The variables of the commands that replace a dranspose ingester.
pub(super) fn of_drop_in() -> String {
    variables::of_drop_in().map(|variable| shown(&variable)).collect()
}

/// Its names, the first sentence of its meaning, and its default.
fn shown(Variable { names, meaning, default, .. }: &Variable) -> String {
    let first = meaning.split_once(". ").map_or(meaning.trim_end_matches('.'), |(first, _)| first).replace('`', "");
    let default = default.map(|default| format!(" [default: {}]", default.trim_matches('"')));
    format!("\n  {}{}\n      {first}", names.join(", else "), default.unwrap_or_default())
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
