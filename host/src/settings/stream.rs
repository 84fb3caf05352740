//! One stream of an ingester, and the source that feeds it.

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::Value;

use super::{
    dranspose,
    given::{Given, Value as GivenValue},
    keys::{TakesEffect, key, settings},
    read::{one_of, size},
};
use crate::{names::StreamName, near::near};

settings! {
    /// One stream and the source that feeds it.
    #[derive(Debug, Clone, PartialEq)]
    pub struct StreamSettings {
        /// Its name.
        pub name: StreamName,
        /// A plugin's name, or a path to its file, or the name of a linked source.
        pub source: String,
        /// The source's own settings, checked by the source before anything starts.
        pub settings: Value,
        /// Values for the source's parameters, without a controller.
        pub parameters: BTreeMap<String, String>,
        /// A program and its arguments that is the source, in a process of its own, if `source` is [`COMMAND`].
        pub command: Vec<String>,
    }
    keys {
        key("name").example(r#""camera""#).about(&["The name of the stream, unique in this file. Required."]);
        key("source").example(dranspose::EXAMPLE).takes_effect(TakesEffect::NextScan)
            .about(&["The source: a plugin's name, a path to its file, or a class of dranspose. Required."]);
        key("command").example(r#"["/opt/ours/source", "--fast"]"#).takes_effect(TakesEffect::NextScan)
            .about(&["In place of `source`: a program that is the source, with its arguments. It speaks the protocol of",
                "isolated sources, in any language."]);
        key("when_full").takes_effect(TakesEffect::NextScan) =>
            /// When the stream's share of memory is full: "block" stops reading, "drop" drops events and counts them.
            when_full: WhenFull, one_of(&WHEN_FULL), default r#""block""#;
        key("isolate").takes_effect(TakesEffect::NextScan) =>
            /// Run the source in a process of its own: a crash or a hang of its code then costs this stream one scan, and
            /// nothing else. A table sets its limits: `shared_memory` (1 GiB) and `data_limit` (8 GiB).
            isolate: Option<Isolation>, isolation, default "false";
        key("settings").takes_effect(TakesEffect::NextScan)
            .about(&["The source's own settings, which it checks before anything starts."]);
        key("parameters").takes_effect(TakesEffect::NextScan)
            .about(&["The source's parameters, until a controller sets others."]);
    }
}

/// The `source` of a stream whose source is a program.
pub const COMMAND: &str = "command";

impl StreamSettings {
    /// A stream fed by `source`, with the source's own settings.
    #[must_use]
    pub fn new(name: StreamName, source: &str, settings: Value) -> Self {
        Self::defaults(name, source.to_owned(), settings, BTreeMap::new(), Vec::new())
    }
}

/// A source in a process of its own, and the limits of that process.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Isolation {
    /// The program that is started with the arguments `plugin serve`: a path, or a name in the PATH. The command sets its
    /// own file.
    pub program: PathBuf,
    /// Most bytes of frames that the source and the host share.
    pub shared_memory: u64,
    /// Most bytes of the process's own memory.
    pub data_limit: u64,
}

impl Default for Isolation {
    fn default() -> Self {
        Self { program: "framegate".into(), shared_memory: 1 << 30, data_limit: 8 << 30 }
    }
}

/// `true`, `false`, or a table of limits.
fn isolation(given: &Given) -> Result<Option<Isolation>, String> {
    let mut isolation = Isolation::default();
    let table = match &given.value {
        GivenValue::Bool(isolated) => return Ok(isolated.then_some(isolation)),
        GivenValue::Table(table) => table,
        _ => return Err(format!("expected true, false or a table of limits, not {}", given.kind())),
    };
    for (key, given) in &table.entries {
        let limit = match key.as_str() {
            "shared_memory" => &mut isolation.shared_memory,
            "data_limit" => &mut isolation.data_limit,
            _ => {
                let meant = near(key, ["shared_memory", "data_limit"]);
                let meant = meant.map_or(String::new(), |near| format!("; did you mean {near}?"));
                return Err(format!("{key}: no such limit; there are shared_memory and data_limit{meant}"));
            }
        };
        *limit = size(given).map_err(|why| format!("{key}: {why}"))?;
    }
    Ok(Some(isolation))
}

/// What a stream does when its share of memory is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WhenFull {
    /// Stop reading: the detector's own back-pressure applies, nothing is lost.
    #[default]
    Block,
    /// Drop the event and count it; its place is kept, so later events still meet their assignments.
    Drop,
}

const WHEN_FULL: [(&str, WhenFull); 2] = [("block", WhenFull::Block), ("drop", WhenFull::Drop)];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn a_source_may_be_isolated_and_a_program_always_is() {
        let stream = |lines: &str| {
            let text = format!("[[ingester]]\n[[ingester.stream]]\nname = 's'\n{lines}");
            Settings::from_toml(&text).map(|settings| settings.ingesters[0].streams[0].clone())
        };
        let source = "source = 'x'\n";
        assert_eq!(stream(source).unwrap().isolate, None);
        assert_eq!(stream(&format!("{source}isolate = false")).unwrap().isolate, None);
        assert_eq!(stream(&format!("{source}isolate = true")).unwrap().isolate, Some(Isolation::default()));
        let limited = stream(&format!("{source}isolate = {{ data_limit = '1 GiB', shared_memory = 1 }}")).unwrap();
        let expected = Isolation { shared_memory: 1, data_limit: 1 << 30, ..Isolation::default() };
        assert_eq!(limited.isolate, Some(expected));
        let program = stream("command = ['/a/b', '-c']").unwrap();
        assert_eq!((&*program.source, program.command), (COMMAND, vec!["/a/b".to_owned(), "-c".to_owned()]));
        assert_eq!(program.isolate, Some(Isolation::default()));
        for (lines, says) in [
            ("isolate = 'yes'", "isolate: expected true, false or a table of limits, not a text"),
            ("isolate = { memory = 1 }", "isolate: memory: no such limit; there are shared_memory and data_limit"),
            ("isolate = { data_limits = 1 }", "did you mean data_limit?"),
            ("isolate = { shared_memory = 0 }", "isolate: shared_memory: at least 1 byte is needed"),
            ("command = ['/a']", "`source` and `command`; a stream has one of them"),
        ] {
            let error = stream(&format!("{source}{lines}")).unwrap_err().to_string();
            assert!(error.contains(says), "{lines}: {error}");
        }
    }
}
