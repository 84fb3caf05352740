//! The example file, made from the keys.

use super::{
    keys::{Key, TakesEffect},
    tables::{TABLES, heading, keys_of},
};

/// Keys that the example file sets; the others are comments.
const SET: [&str; 4] = ["redis", "name", "url", "source"];

const HEAD: &str = "\
# Configuration of `framegate run --config FILE`, with every key. A key behind
# a # shows its default, or an example if there is no default value.
# Sizes are numbers of bytes or texts such as \"256 MiB\"; times are texts such
# as \"10 s\" or \"500 ms\".
#
# Scans are started, and work is assigned, by a dranspose controller through
# Redis. To do without one, replace `redis` by [standalone].
";

/// A configuration file with every key, its meaning, and its default or an example.
#[must_use]
pub fn example() -> String {
    let mut out = HEAD.to_owned();
    for (table, keys) in TABLES {
        if !table.is_empty() {
            let is_it = |key: &&Key| table.ends_with(key.name);
            let own = TABLES.iter().flat_map(|(_, keys)| *keys).find(is_it).map(Key::text).unwrap_or_default();
            let mark = if table == "standalone" { "#" } else { "" };
            out += &format!("\n{}{mark}{}\n", comment(&own), heading(table));
        }
        for key in keys {
            // Tables have a heading instead of a value.
            if let Some(value) = key.example.or(key.default) {
                let mark = if SET.contains(&key.name) { "" } else { "#" };
                out += &format!("\n{}{mark}{} = {value}\n", comment(&about(key, table)), key.name);
            }
        }
    }
    for (name, mark) in [("settings", ""), ("parameters", "#")] {
        let own = keys_of("ingester.stream").find(|key| key.name == name).map(Key::text).unwrap_or_default();
        out += &format!("\n{}{mark}[ingester.stream.{name}]\n", comment(&own));
        if name == "settings" {
            out += "upstream_url = \"tcp://localhost:9999\"\n";
        }
    }
    out
}

/// The documentation of a key, with its default if that is no value, its variables and its option.
pub(super) fn about(key: &Key, table: &str) -> String {
    let mut text = key.text();
    if !key.otherwise.is_empty() {
        text += &format!(" Default: {}.", key.otherwise);
    }
    let variables = key.variables.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ");
    text += &match (variables.is_empty(), key.flag) {
        (true, _) => String::new(),
        (false, Some(flag)) => format!(" Overridden by {variables} and `{flag}`."),
        (false, None) if table.is_empty() => format!(" Overridden by {variables}."),
        // `framegate run` has these in the file only.
        (false, None) => format!(" For `framegate ingester`: {variables}."),
    };
    text + match key.takes_effect {
        TakesEffect::Restart => "",
        TakesEffect::NextScan => " A change takes effect with the next scan.",
        TakesEffect::NextSwap => " A change takes effect with the next swap of a source.",
    }
}

/// A comment of lines that fit a terminal.
fn comment(text: &str) -> String {
    let mut lines = vec![String::from("#")];
    for word in text.replace('`', "").split(' ') {
        if lines.last().is_some_and(|line| line.chars().count() + word.chars().count() >= 80) {
            lines.push(String::from("#"));
        }
        if let Some(line) = lines.last_mut() {
            *line += &format!(" {word}");
        }
    }
    lines.join("\n") + "\n"
}
