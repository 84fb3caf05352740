//! The tables of the file, with their keys; and what is said about a key that is in none, or in another one.

use super::{
    given::Table,
    keys::{Key, key},
    problems::Problems,
};
use crate::{names, near::near};

/// All tables, in the order of the example file: the name, empty at the top, and the keys. The keys of Redis stand at the
/// top, too.
pub(crate) const TABLES: [(&str, &[Key]); 5] = [
    ("", super::redis_settings::KEYS),
    ("", super::KEYS),
    ("standalone", super::standalone::KEYS),
    ("ingester", super::ingester::KEYS),
    ("ingester.stream", super::stream::KEYS),
];

/// The heading of a table in the file.
pub(crate) fn heading(table: &str) -> String {
    match table {
        "" => String::new(),
        "standalone" => "[standalone]".to_owned(),
        list => format!("[[{list}]]"),
    }
}

/// Variables that belong to no key of the file: those of the commands that replace a dranspose ingester ...
pub(crate) const DROP_IN_VARIABLES: [Key; 2] = [
    key(STREAMS).variables(&[STREAMS]).about(&[
        "JSON list of streams, such as [\"camera\"]; each gets a source of its own.",
        "The option -n overrides it.",
    ]),
    key(UPSTREAM).variables(&[UPSTREAM]).about(&["The address of the detector. The option -u overrides it."]),
];
pub(super) const STREAMS: &str = "INGESTER_STREAMS";
pub(super) const UPSTREAM: &str = "UPSTREAM_URL";

/// ... and one of all commands, which `plugin::locate` reads.
pub(crate) const PLUGIN_PATH: Key = key(names::PLUGIN_PATH).variables(&[names::PLUGIN_PATH]).about(&[
    "Folders with plugins, separated by colons.",
    "They come after `plugin_dirs`, and before the folder of the executable.",
]);

/// The keys of a table.
pub(crate) fn keys_of(table: &str) -> impl Iterator<Item = &'static Key> {
    TABLES.iter().filter(move |(name, _)| *name == table).flat_map(|(_, keys)| *keys)
}

/// The tables that have a key with this name.
fn tables_with(key: &str) -> impl Iterator<Item = &'static str> {
    TABLES.iter().filter(move |(_, keys)| keys.iter().any(|known| known.name == key)).map(|(name, _)| *name)
}

/// Adds a problem for every unknown key; `name` is that of the table in the file, empty at the top.
pub(super) fn refuse_unknown(table: &Table, name: &str, problems: &mut Problems) {
    let known: Vec<_> = keys_of(name).map(|key| key.name).collect();
    for (key, given) in &table.entries {
        if known.contains(&key.as_str()) {
            continue;
        }
        let place = if name.is_empty() { "at the top".to_owned() } else { format!("in [{name}]") };
        let right: Vec<_> = tables_with(key).map(belongs).collect();
        let hint = match near(key, known.iter().copied()) {
            _ if !right.is_empty() => format!("it belongs {}", right.join(", or ")),
            Some(near) => format!("did you mean `{near}`?"),
            None if known.contains(&SOURCE_SETTINGS) => {
                format!("a key of the source belongs below [{name}.{SOURCE_SETTINGS}]")
            }
            None => format!("known {place}: {}", known.join(", ")),
        };
        problems.add(&given.origin, format_args!("{place}: unknown key `{key}`\n  {hint}"));
    }
}

/// The key of a stream with the source's own settings.
const SOURCE_SETTINGS: &str = "settings";

/// Where the keys of a table are written.
fn belongs(table: &str) -> String {
    match table {
        "" => "at the top of the file, above the first [table]".to_owned(),
        _ => format!("below {}", heading(table)),
    }
}

#[cfg(test)]
mod tests {
    use crate::settings::Settings;

    #[test]
    fn a_key_in_the_wrong_table_is_answered_with_its_right_place() {
        let rest = "[[ingester]]\n[[ingester.stream]]\nname = 's'\nsource = 'x'";
        for (text, says) in [
            (
                format!("[standalone]\nadmin = 'off'\n{rest}"),
                "line 2: in [standalone]: unknown key `admin`\n  it belongs at the top",
            ),
            (
                format!("memory_limit = 1\n{rest}"),
                "line 1: at the top: unknown key `memory_limit`\n  it belongs below [[ingester]]",
            ),
            (format!("{rest}\nscans = 1"), "it belongs below [standalone]"),
            (format!("{rest}\nredis_ca = '/c'"), "it belongs at the top of the file, above the first [table]"),
            (format!("name = 's'\n{rest}"), "it belongs below [[ingester]], or below [[ingester.stream]]"),
            (
                format!("{rest}\nupstream_url = 'tcp://h:1'"),
                "in [ingester.stream]: unknown key `upstream_url`\n  a key of the source belongs below \
                 [ingester.stream.settings]",
            ),
        ] {
            let wrong = Settings::from_toml(&text).unwrap_err();
            let told = wrong.problems();
            assert!(told.len() == 1 && told[0].to_string().contains(says), "{told:?}");
        }
    }
}
