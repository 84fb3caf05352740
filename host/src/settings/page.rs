//! The example file and the reference page, made from the keys, and compared with those in the repository.
//!
//! `FRAMEGATE_UPDATE=1 cargo test -p framegate --lib settings::page` writes them anew.

use std::fmt::Write as _;

use super::{
    keys::{Key, TakesEffect},
    tables::{DROP_IN_VARIABLES, PLUGIN_PATH, TABLES, heading, keys_of},
};
use crate::pages;

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

fn example() -> String {
    let mut out = HEAD.to_owned();
    for (table, keys) in TABLES {
        if !table.is_empty() {
            let parent = TABLES.iter().flat_map(|(_, keys)| *keys).find(|key| table.ends_with(key.name));
            out.push('\n');
            comment(&mut out, &parent.expect("a table is a key, too").text());
            let mark = if table == "standalone" { "#" } else { "" };
            writeln!(out, "{mark}{}", heading(table)).unwrap();
        }
        for key in keys.iter().filter(|key| !is_table(key)) {
            out.push('\n');
            comment(&mut out, &about(key, table));
            let mark = if SET.contains(&key.name) { "" } else { "#" };
            writeln!(out, "{mark}{} = {}", key.name, key.example.or(key.default).expect("it shows a value")).unwrap();
        }
    }
    out + "\n# The source's own settings, which it checks before anything starts.\n[ingester.stream.settings]\n\
           upstream_url = \"tcp://localhost:9999\"\n\n\
           # The source's parameters, until a controller sets others.\n#[ingester.stream.parameters]\n"
}

/// Tables and lists of tables, which have a heading.
fn is_table(key: &Key) -> bool {
    key.default.or(key.example).is_none()
}

/// The documentation of a key, with its default if the example shows another value, its variables and its option.
fn about(key: &Key, table: &str) -> String {
    let mut text = key.text();
    if !key.otherwise.is_empty() {
        write!(text, " Default: {}.", key.otherwise).unwrap();
    }
    let variables = key.variables.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ");
    match (variables.is_empty(), key.flag) {
        (true, _) => {}
        (false, Some(flag)) => write!(text, " Overridden by {variables} and `{flag}`.").unwrap(),
        (false, None) if table.is_empty() => write!(text, " Overridden by {variables}.").unwrap(),
        // `framegate run` has these in the file only.
        (false, None) => write!(text, " For `framegate ingester`: {variables}.").unwrap(),
    }
    match key.takes_effect {
        TakesEffect::Restart => {}
        TakesEffect::NextScan => text += " A change takes effect with the next scan.",
        TakesEffect::NextSwap => text += " A change takes effect with the next swap of a source.",
    }
    text
}

fn comment(out: &mut String, text: &str) {
    let mut line = String::from("#");
    for word in text.replace('`', "").split(' ') {
        if line.len() + word.len() >= 80 {
            writeln!(out, "{line}").unwrap();
            line = String::from("#");
        }
        write!(line, " {word}").unwrap();
    }
    writeln!(out, "{line}").unwrap();
}

fn tables() -> String {
    let mut out = String::new();
    for table in ["", "standalone", "ingester", "ingester.stream"] {
        let title = if table.is_empty() { "At the top".to_owned() } else { format!("`{}`", heading(table)) };
        writeln!(out, "### {title}\n\n| key | default | meaning |\n|---|---|---|").unwrap();
        for key in keys_of(table) {
            let default = key.default.filter(|default| *default != "[]").map(|default| format!("`{default}`"));
            writeln!(out, "| `{}` | {} | {} |", key.name, default.unwrap_or_default(), about(key, table)).unwrap();
        }
        out.push('\n');
    }
    out += "### Variables without a key\n\n| variable | meaning |\n|---|---|\n";
    for variable in DROP_IN_VARIABLES.iter().chain([&PLUGIN_PATH]) {
        writeln!(out, "| `{}` | {} |", variable.name, variable.text()).unwrap();
    }
    out
}

#[test]
fn the_example_file_has_every_key() {
    pages::compare("examples/framegate.toml", "", &example());
}

#[test]
fn the_reference_page_has_every_key() {
    pages::compare("../docs/reference/settings.md", "## Keys\n\n", &tables());
}
