//! The reference page of settings, made from the keys, and compared with the one in the repository.

use std::fmt::Write as _;

use super::{
    example::about,
    tables::{DROP_IN_VARIABLES, PLUGIN_PATH, heading, keys_of},
};
use crate::pages;

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
fn the_reference_page_has_every_key() {
    pages::compare("../docs/reference/settings.md", "## Keys\n\n", &tables());
}
