//! The rules of the house, checked against the sources.
//!
//! Each rule is a function from sources to complaints. It must have no complaint about the real sources, and must have
//! one about an invented source that breaks the rule: a rule that cannot fail is useless.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod circles;
mod code;
mod documents;
mod text;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use code::{Code, module_of, read, read_all, within};

type Sources = BTreeMap<String, Code>;

/// A room of the host, and the other rooms that it may use. Rooms that are not listed may use everything.
const ROOMS: &[(&str, &[&str])] = &[
    ("allocator", &[]),
    ("names", &[]),
    ("sync", &[]),
    ("wake", &["sync"]),
    ("turns", &["sync", "wake"]),
    ("budget", &["sync"]),
    ("counter", &[]),
    ("event", &[]),
    ("batch", &["budget", "event"]),
    ("recycle", &[]),
    ("capture", &["names"]),
    ("settings", &["names", "near"]),
    ("zmtp", &[]),
    ("park", &[]),
    ("events", &["names", "park"]),
    ("ingester", &["names", "batch", "counter", "budget", "event", "events", "recycle", "settings", "zmtp"]),
    ("worker", &["names", "budget", "control", "events", "ingester", "output", "park", "recycle", "threads"]),
    ("source", &["plugin", "names", "batch", "budget", "event", "sync", "turns", "wake", "settings"]),
    ("plugin", &["names", "near"]),
    ("output", &["ingester", "capture", "counter", "names", "budget", "recycle", "sync", "wake", "settings", "zmtp"]),
    (
        "control",
        &[
            "ingester::command",
            "ingester::report",
            "source::parameter",
            "counter",
            "names",
            "settings",
            "observe::logs",
            "observe::plain",
            "park",
            "worker::link",
        ],
    ),
    (
        "forwarder",
        &[
            "ingester",
            "source::reader",
            "source::queue",
            "source::replacement",
            "output",
            "counter",
            "turns",
            "wake",
            "budget",
            "settings",
            "names",
            "events",
            "worker::link",
        ],
    ),
];

/// The modules that may name a crate or a part of the standard library. The rest of the host may not.
const KNOWN_BY: &[(&str, &[&str])] = &[
    ("redis", &["control::redis"]),
    ("zmq", &["cli::listen", "cli::replay", "cli::plugin::check::upstream"]),
    ("zmq_sys", &[]),
    ("libloading", &["plugin::load"]),
    ("abi_stable", &["plugin"]),
    ("object", &["plugin::inspect"]),
    ("axum", &["observe"]),
    ("framegate_http_server", &["observe"]),
    ("clap", &["cli"]),
    ("toml", &["settings"]),
    ("tracing_subscriber", &["cli::logs", "observe::logs"]),
    ("tokio", &["control", "cli", "observe", "host", "forwarder", "events", "worker"]),
    // `plugin`: the locations of this program's file and its plugins, the kind of machine, the folder for temporary
    // files.
    ("std::env", &["cli", "plugin"]),
    // The wall clock, which people can set: only for times shown to people. Waits use `Instant`.
    ("jiff::Timestamp::now", &["control::report"]),
    ("jiff::Zoned::now", &[]),
    (
        "std::time::SystemTime",
        &[
            "ingester::header",
            "ingester::pair",
            "ingester::workers",
            "forwarder",
            "worker::link",
            "observe::logs",
            "cli::status",
            "fuzz",
        ],
    ),
];

/// What the heart must not name.
const NOT_IN_THE_HEART: &[&str] = &[
    "std::net",
    "std::fs",
    "std::thread",
    "std::io::stdin",
    "Instant::now",
    "SystemTime::now",
    "thread::sleep",
    "zmq",
    "redis",
    "tokio",
];

/// Where `unsafe` is allowed.
const UNSAFE: &[&str] = &[
    "plugin-api/abi/src/",
    "host/src/plugin/load.rs",
    "host/src/output/unconfirmed.rs",
    "host/src/allocator.rs",
    "host/isolation/src/arena.rs",
    "tests/benches/ingest/relay.rs",
    // Not part of the program: a process that is wrong on purpose, and such plugins, or odd ones.
    "host/isolation/tests/common/puppet.rs",
    "tests/bad-plugins/",
    "tests/plugins/other_abi_stable/",
];

/// The detector protocols. The host has dranspose's class names as data, in one file.
const PROTOCOLS: &[&str] = &["stins", "eiger", "contrast", "xspress", "albaem", "pcap", "lecroy", "sardana"];
const PROTOCOLS_AS_DATA: &str = "host/src/settings/dranspose.rs";

const LONGEST_FILE: usize = 400;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Asserts that the rule has no complaint about the real sources and one about each of `broken`.
#[track_caller]
fn holds(rule: impl Fn(&Sources) -> Vec<String>, broken: &[(&str, &str)]) {
    for (path, text) in broken {
        let sources = Sources::from([(path.to_string(), read(path, text))]);
        assert_eq!(rule(&sources).len(), 1, "the rule says nothing about {text:?}, or too much: {:?}", rule(&sources));
    }
    let complaints = rule(&read_all(&root()));
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// The host's files with their modules: `host/src/source/queue.rs` is `source::queue`; and those of the command, which are
/// the module `cli`: `host/cli/src/run.rs` is `cli::run`.
fn of_host(sources: &Sources) -> impl Iterator<Item = (&String, String, &Code)> {
    sources.iter().filter_map(|(path, code)| {
        let module = module_of(path);
        let in_crate = path.starts_with("host/src/") || path.starts_with("host/cli/src/");
        in_crate.then(|| (path, module.trim_start_matches("host").trim_start_matches([':', '/']).into(), code))
    })
}

#[test]
fn rooms_use_only_the_rooms_they_may() {
    let rule = |sources: &Sources| {
        let mut complaints = Vec::new();
        for (path, module, code) in of_host(sources) {
            let Some((room, may_use)) = ROOMS.iter().find(|(room, _)| within(&module, room)) else { continue };
            let used = code.paths.iter().filter_map(|path| path.strip_prefix("crate::"));
            for used in used.filter(|used| !within(used, room) && !may_use.iter().any(|other| within(used, other))) {
                complaints.push(format!("{path}: uses crate::{used}; {room} may use {may_use:?}"));
            }
        }
        complaints
    };
    holds(
        rule,
        &[
            ("host/src/control/redis/mod.rs", "use crate::source::reader::Reader;"),
            ("host/src/control/redis/mod.rs", "use crate::{names::StreamName, ingester::scan::Scan};"),
            ("host/src/source/queue.rs", "fn f() { crate::output::router::Router::bind() }"),
            ("host/src/output/dump/mod.rs", "use super::super::control::IngesterHandle;"),
            ("host/src/capture/mod.rs", "fn f() { tracing::info!(\"{}\", crate::wake::Wake::new()); }"),
        ],
    );
}

#[test]
fn each_crate_is_known_where_it_belongs_and_nowhere_else() {
    let rule = |sources: &Sources| {
        let mut complaints = Vec::new();
        for (path, module, code) in of_host(sources) {
            for (name, by) in KNOWN_BY {
                // A single word may be a module of the host.
                let is_named = |path: &String| within(path, name) && (path != name || name.contains("::"));
                if code.paths.iter().any(is_named) && !by.iter().any(|by| within(&module, by)) {
                    complaints.push(format!("{path}: names {name}, which only {by:?} know"));
                }
            }
        }
        complaints
    };
    holds(
        rule,
        &[
            ("host/src/control/standalone.rs", "use redis::Client;"),
            ("host/src/source/reader/mod.rs", "fn f() -> zmq::Context { todo!() }"),
            ("host/src/host.rs", "fn f() { std::env::var(\"HOME\"); }"),
            ("host/cli/src/status/mod.rs", "fn f() -> zmq::Context { todo!() }"),
            ("host/src/plugin/mod.rs", "use libloading::os::unix::Library;"),
            ("host/src/source/reader/mod.rs", "use std::time::{Instant, SystemTime};"),
        ],
    );
}

/// A rule for a removed module would apply to a new module with the same name.
#[test]
fn each_module_that_a_rule_names_is_there() {
    let rule = |sources: &Sources| {
        let modules: Vec<String> = of_host(sources).map(|(_, module, _)| module).collect();
        let named =
            ROOMS.iter().map(|(room, _)| room).chain(ROOMS.iter().chain(KNOWN_BY).flat_map(|(_, by)| by.iter()));
        let gone = named.filter(|name| !modules.iter().any(|module| within(module, name)));
        gone.map(|name| format!("there is no {name}")).collect::<Vec<_>>()
    };
    assert!(!rule(&Sources::new()).is_empty());
    assert_eq!(rule(&read_all(&root())), Vec::<String>::new());
}

/// Cargo takes a filter that fits no test for nothing to do.
#[test]
fn each_module_that_miri_runs_is_there() {
    let gone = |script: &str| {
        let sources = read_all(&root());
        let modules: Vec<String> = of_host(&sources).map(|(_, module, _)| module).collect();
        let (_, filters) = script.split_once("-p framegate --lib -- ").unwrap();
        let filters = filters.split("\n}").next().unwrap().split_whitespace().filter(|word| *word != "\\");
        filters.filter(|name| !modules.iter().any(|module| within(module, name))).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(gone("miri test -p framegate --lib -- budget \\\n  ingester::gone names\n}\n"), ["ingester::gone"]);
    assert_eq!(gone(&fs::read_to_string(root().join("tests/run")).unwrap()), Vec::<String>::new());
}

#[test]
fn the_heart_has_no_clock_no_thread_and_no_outside() {
    let rule = |sources: &Sources| {
        let mut complaints = Vec::new();
        for (path, _, code) in of_host(sources).filter(|(_, module, _)| within(module, "ingester")) {
            // `Instant::now` is also in `std::time::Instant::now`.
            let named =
                |word: &str| code.paths.iter().any(|path| within(path, word) || path.ends_with(&format!("::{word}")));
            complaints
                .extend(NOT_IN_THE_HEART.iter().filter(|word| named(word)).map(|word| format!("{path}: names {word}")));
        }
        complaints
    };
    holds(
        rule,
        &[
            ("host/src/ingester/pair.rs", "fn f() { let now = Instant::now(); }"),
            ("host/src/ingester/pair.rs", "fn f() { let now = std::time::Instant::now(); }"),
            ("host/src/ingester/mod.rs", "use std::{fs, time::Duration};"),
            ("host/src/ingester/mod.rs", "use tokio::sync::mpsc;"),
        ],
    );
}

#[test]
fn unsafe_stands_only_where_it_may() {
    let rule = |sources: &Sources| {
        let holds_unsafe = |code: &Code| code.words.contains("unsafe");
        let elsewhere = sources
            .iter()
            .filter(|(path, code)| holds_unsafe(code) && !UNSAFE.iter().any(|place| path.starts_with(place)));
        elsewhere.map(|(path, _)| format!("{path}: unsafe may stand in {UNSAFE:?}")).collect()
    };
    holds(
        rule,
        &[
            ("host/src/source/instance.rs", "fn f(p: *const u8) -> u8 { unsafe { *p } }"),
            ("plugins/stins/src/run.rs", "unsafe impl Send for X {}"),
        ],
    );
}

#[test]
fn the_host_names_no_protocol() {
    let rule = |sources: &Sources| {
        let mut complaints = Vec::new();
        for (path, _, code) in of_host(sources).filter(|(path, ..)| *path != PROTOCOLS_AS_DATA) {
            let protocols = |word: &&String| PROTOCOLS.iter().any(|protocol| word.contains(protocol));
            complaints
                .extend(code.named.iter().find(protocols).map(|word| format!("{path}: names a protocol: {word}")));
        }
        complaints
    };
    holds(
        rule,
        &[
            ("host/src/ingester/pair.rs", "const TYP: &str = \"STINS\";"),
            ("host/src/source/reader/mod.rs", "fn f() { if is_eiger_legacy() {} }"),
        ],
    );
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let rule = |sources: &Sources| {
        let long = sources.iter().filter(|(_, code)| code.lines > LONGEST_FILE);
        long.map(|(path, code)| format!("{path}: {} lines; split it by idea before {LONGEST_FILE}", code.lines))
            .collect()
    };
    holds(rule, &[("tests/src/worker.rs", &"// a line\n".repeat(LONGEST_FILE + 1))]);
}

#[test]
fn a_module_with_parts_is_a_folder_with_a_mod_rs() {
    let rule = |sources: &Sources| {
        let doubled = |path: &&String| {
            let folder = format!("{}/", path.trim_end_matches(".rs"));
            path.contains("/src/") && sources.keys().any(|other| other.starts_with(&folder))
        };
        let doubled = sources.keys().filter(doubled);
        doubled.map(|path| format!("{path}: move it to mod.rs in its folder, as everywhere here")).collect::<Vec<_>>()
    };
    let broken = ["host/src/a.rs", "host/src/a/b.rs"].map(|path| (path.to_owned(), Code::default()));
    assert_eq!(rule(&Sources::from(broken)).len(), 1);
    holds(rule, &[]);
}

#[test]
fn crates_depend_on_whom_they_may() {
    let broken = "[package]\nname = \"framegate-stins\"\n[dependencies]\nframegate-plugin-api.workspace = true\nframegate = \"1\"";
    assert_eq!(text::dependencies("plugins/stins/Cargo.toml", broken).len(), 1);
    assert_eq!(text::dependencies("plugins/pcap/Cargo.toml", "[dependencies]\nframegate-stins = \"1\"").len(), 1);
    assert_eq!(text::dependencies("plugin-api/Cargo.toml", "[dependencies]\nzmq = \"1\"").len(), 1);
    let mut complaints = Vec::new();
    for path in ["plugin-api/Cargo.toml", "plugin-api/abi/Cargo.toml"].map(PathBuf::from).into_iter().chain(plugins()) {
        let manifest = fs::read_to_string(root().join(&path)).unwrap();
        complaints.extend(text::dependencies(path.to_str().unwrap(), &manifest));
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn every_setting_of_a_plugin_stands_in_its_readme() {
    let code = "pub struct XSettings {\n    /// A.\n    pub a: u8,\n    #[serde(flatten)]\n    pub b: B,\n}\npub struct Y {\n    pub c: u8,\n}";
    assert_eq!(text::settings(code), ["a"]);
    let declared = |folder: &Path| {
        let files = ["lib.rs", "settings.rs"].map(|file| root().join(folder).join("src").join(file));
        files.iter().flat_map(|file| text::settings(&fs::read_to_string(file).unwrap_or_default())).collect::<Vec<_>>()
    };
    let of_all = declared(Path::new("plugins/zmq-source"));
    assert!(of_all.iter().any(|setting| setting == "attach"), "{of_all:?}");
    let mut complaints = Vec::new();
    for manifest in plugins().filter(|path| !path.starts_with("plugins/zmq-source")) {
        let folder = manifest.parent().unwrap();
        let on_zmq = fs::read_to_string(root().join(&manifest)).unwrap().contains("framegate-zmq-source.workspace");
        let readme = fs::read_to_string(root().join(folder).join("README.md")).unwrap();
        let settings = declared(folder).into_iter().chain(of_all.iter().filter(|_| on_zmq).cloned());
        let untold = settings.filter(|setting| !readme.contains(&format!("| `{setting}` |")));
        complaints
            .extend(untold.map(|setting| format!("{}/README.md: {setting} is not in the table", folder.display())));
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// The plugins' manifests, relative to the root.
fn plugins() -> impl Iterator<Item = PathBuf> {
    let manifest = |folder: fs::DirEntry| PathBuf::from("plugins").join(folder.file_name()).join("Cargo.toml");
    let folders = fs::read_dir(root().join("plugins")).unwrap().map(move |folder| manifest(folder.unwrap()));
    folders.filter(|manifest| root().join(manifest).is_file())
}
