//! Checks the given values and converts them into [`Settings`]; reports all problems at once.
//!
//! Pure functions, without access to files and network. Whether a source accepts its settings, plugins can be loaded
//! and ports be bound is known only when the host starts.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    time::Duration,
};

use serde_json::{Map, Value as Json};

use super::{
    AdminSwap, CaptureWhenFull, Control, IngesterSettings, LogLevel, Settings, Standalone, StreamSettings, WhenFull,
    dranspose,
    given::{Origin, Table, Value},
    read::{
        HOUR, MILLISECOND, YEAR, address, admin, bind, count, folder, generations, one_of, paths, size, text, time,
        time_or_off, truth, workers,
    },
    redis_settings,
    section::{Problems, Section},
};
use crate::names::{IngesterName, StreamName};

/// Settings, and values that only the command needs.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) settings: Settings,
    /// The minimum severity of logged lines.
    pub(crate) log_level: LogLevel,
}

/// Checks everything; `problems` are those found before.
pub(super) fn check(table: &Table, mut problems: Problems) -> Result<Checked, Vec<String>> {
    let problems_of = &mut problems;
    let mut top = Section::new(table, "");
    let mut settings = Settings::new(control(&mut top, problems_of), Vec::new());
    top.set("plugin_dirs", &mut settings.plugin_dirs, problems_of, paths);
    top.set("allow_writable_plugins", &mut settings.allow_writable_plugins, problems_of, truth);
    top.set("probe", &mut settings.probe, problems_of, |given| Ok(truth(given)?.then(|| COMMAND.into())));
    top.set("shutdown_grace", &mut settings.shutdown_grace, problems_of, time(Duration::ZERO, HOUR));
    top.set("source_timeout", &mut settings.source_timeout, problems_of, time(MILLISECOND, HOUR));
    top.set("max_generations", &mut settings.max_generations, problems_of, |given| generations(count(given)?));
    settings.capture_root = top.read("capture_root", problems_of, folder);
    top.set("admin_swap", &mut settings.admin_swap, problems_of, one_of(&ADMIN_SWAP));
    top.set("admin", &mut settings.admin, problems_of, admin);
    let mut log_level = LogLevel::default();
    top.set("log_level", &mut log_level, problems_of, one_of(&LOG_LEVELS));
    let standalone = matches!(settings.control, Control::Standalone(_));
    let mut taken = Taken::default();
    if let Some(given) = table.get("admin") {
        settings.admin_search = matches!(given.origin, Origin::Default);
        let claimed = settings.admin.filter(|_| !settings.admin_search);
        taken.admin = claimed.map(|address| (address.port(), given.origin.clone()));
    }
    let ingesters = top.tables("ingester", problems_of);
    if ingesters.is_empty() && table.get("ingester").is_none() {
        problems_of
            .add(&table.origin, "there is no ingester\n  add at least one [[ingester]] with an [[ingester.stream]]");
    }
    top.end(problems_of);
    for table in ingesters {
        settings.ingesters.extend(ingester(table, standalone, &mut taken, problems_of));
    }
    problems.into_result(Checked { settings, log_level })
}

fn control(top: &mut Section<'_>, problems: &mut Problems) -> Control {
    let Some(table) = top.table("standalone", problems) else {
        return Control::Redis(redis_settings::read(top, problems));
    };
    redis_settings::contradict(top, table, problems);
    let mut standalone = Standalone::default();
    let mut section = Section::new(table, "standalone");
    section.set("broadcast", &mut standalone.broadcast, problems, truth);
    standalone.scans = section.read("scans", problems, count);
    section.set("min_workers", &mut standalone.min_workers, problems, |given| {
        count(given).and_then(|workers| usize::try_from(workers).map_err(|_| "too many".into()))
    });
    section.end(problems);
    Control::Standalone(standalone)
}

/// Values that must be unique, with their owners.
#[derive(Debug, Default)]
struct Taken {
    ingesters: HashMap<String, Origin>,
    ports: HashMap<u16, Origin>,
    streams: HashMap<String, Origin>,
    dumps: HashMap<PathBuf, Origin>,
    admin: Option<(u16, Origin)>,
}

fn claim<K: std::hash::Hash + Eq>(
    taken: &mut HashMap<K, Origin>,
    key: K,
    origin: &Origin,
    problems: &mut Problems,
    what: impl FnOnce(&Origin) -> String,
) {
    match taken.get(&key) {
        Some(first) => problems.add(origin, what(first)),
        None => drop(taken.insert(key, origin.clone())),
    }
}

fn ingester(table: &Table, standalone: bool, taken: &mut Taken, problems: &mut Problems) -> Option<IngesterSettings> {
    let mut section = Section::new(table, "ingester");
    let name = section.given("name");
    let url = section.given("url");
    let address = section.read("url", problems, address);
    let url_is_wrong = url.is_some() && address.is_none();
    let (host, port) = address.unwrap_or_else(|| (DEFAULT_HOST.into(), DEFAULT_PORT));
    let tables = section.tables("stream", problems);
    if tables.is_empty() {
        let origin = table.get("stream").map_or(&table.origin, |given| &given.origin);
        problems.add(origin, "in [ingester]: it has no stream\n  add [[ingester.stream]] with `name` and `source`");
    }
    let streams: Vec<_> = tables.into_iter().filter_map(|table| stream(table, taken, problems)).collect();
    let name = match name {
        Some(given) => match text(given).and_then(|name| IngesterName::new(&name).map_err(|bad| bad.to_string())) {
            Ok(name) => Some((name, &given.origin)),
            Err(why) => {
                problems.add_value("name", given, &why);
                None
            }
        },
        None => match default_name(&streams) {
            Ok(name) => name.map(|name| (name, &table.origin)),
            Err(why) => {
                problems
                    .add(&table.origin, format_args!("in [ingester]: the name made of its streams: {why}; set `name`"));
                None
            }
        },
    };
    let placeholder = || IngesterName::new("unnamed").expect("the name is constant and allowed");
    let mut ingester =
        IngesterSettings::new(name.as_ref().map_or_else(placeholder, |(name, _)| name.clone()), &host, port, streams);
    section.set("bind", &mut ingester.bind, problems, bind);
    section.set("workers", &mut ingester.workers, problems, workers);
    section.set("memory_limit", &mut ingester.memory_limit, problems, size);
    section.set("capture_limit", &mut ingester.capture_limit, problems, size);
    section.set("worker_timeout", &mut ingester.worker_timeout, problems, time(MILLISECOND, YEAR));
    ingester.stall_timeout = standalone.then_some(STALL_TIMEOUT_STANDALONE);
    section.set("stall_timeout", &mut ingester.stall_timeout, problems, time_or_off);
    section.set("capture_when_full", &mut ingester.capture_when_full, problems, one_of(&CAPTURE_WHEN_FULL));
    let dump = section.given("dump_path").map(|given| &given.origin);
    ingester.dump_path = section.read("dump_path", problems, text).map(PathBuf::from);
    section.end(problems);

    if let Some((name, origin)) = &name {
        claim(&mut taken.ingesters, name.to_string(), origin, problems, |first| {
            format!("in [ingester]: a second ingester is named \"{name}\"; the first: {first}")
        });
    }
    if !url_is_wrong {
        let origin = url.map_or(&table.origin, |given| &given.origin);
        claim(&mut taken.ports, port, origin, problems, |first| {
            format!(
                "in [ingester]: a second ingester has port {port}; the first: {first}\n  give each a `url` of its own"
            )
        });
        if let Some((_, admin)) = taken.admin.as_ref().filter(|(admin, _)| *admin == port) {
            problems.add(origin, format_args!("in [ingester]: port {port} is that of `admin` ({admin})"));
        }
    }
    if let (Some(path), Some(origin)) = (&ingester.dump_path, dump) {
        claim(&mut taken.dumps, path.clone(), origin, problems, |first| {
            format!("in [ingester]: a second ingester writes to this dump_path; the first: {first}")
        });
    }
    Some(ingester)
}

fn default_name(streams: &[StreamSettings]) -> Result<Option<IngesterName>, String> {
    if streams.is_empty() {
        return Ok(None);
    }
    let names: Vec<_> = streams.iter().map(|stream| stream.name.as_str()).collect();
    IngesterName::new(&format!("{}-ingester", names.join("_"))).map(Some).map_err(|bad| bad.to_string())
}

fn stream(table: &Table, taken: &mut Taken, problems: &mut Problems) -> Option<StreamSettings> {
    let mut section = Section::new(table, "ingester.stream");
    let origin = section.given("name").map_or(&table.origin, |given| &given.origin);
    let name = section.read("name", problems, |given| {
        text(given).and_then(|name| StreamName::new(&name).map_err(|bad| bad.to_string()))
    });
    let source = section.read("source", problems, |given| {
        let name = text(given)?;
        dranspose::Source::parse(&name).map_err(|why| format!("{name:?}: {why}"))
    });
    for key in ["name", "source"] {
        if table.get(key).is_none() {
            problems.add(&table.origin, format_args!("in [ingester.stream]: `{key}` is missing"));
        }
    }
    let settings = section.table("settings", problems).map_or_else(|| Json::Object(Map::new()), Table::json);
    let parameters = section.table("parameters", problems).map(|table| parameters(table, problems));
    let mut when_full = WhenFull::default();
    section.set("when_full", &mut when_full, problems, one_of(&WHEN_FULL));
    section.end(problems);
    let name = name?;
    claim(&mut taken.streams, name.to_string(), origin, problems, |first| {
        format!(
            "in [ingester.stream]: a second stream is named \"{name}\"; the first: {first}\n  names of streams are unique"
        )
    });
    let mut stream = StreamSettings::new(name, &source?.plugin, settings);
    stream.when_full = when_full;
    stream.parameters = parameters.unwrap_or_default();
    Some(stream)
}

/// Values in the form of a dranspose controller: Python's `str()`.
fn parameters(table: &Table, problems: &mut Problems) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for (name, given) in &table.entries {
        let value = match &given.value {
            Value::Text(text) => text.clone(),
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => format!("{number:?}"),
            Value::Bool(truth) => if *truth { "True" } else { "False" }.to_owned(),
            _ => {
                let problem = format!("expected a text, a number, true or false, not {}", given.kind());
                problems.add(&given.origin, format_args!("in [ingester.stream.parameters]: {name}: {problem}"));
                continue;
            }
        };
        values.insert(name.clone(), value);
    }
    values
}

/// The program that probes plugins; the command itself sets its own file.
const COMMAND: &str = "framegate";

/// dranspose 0.2.0, `ingester.py`.
const DEFAULT_HOST: &str = "localhost";
const DEFAULT_PORT: u16 = 10000;

/// Without a controller nobody else notices a worker that pings but has stopped reading.
const STALL_TIMEOUT_STANDALONE: Duration = Duration::from_secs(30);

const LOG_LEVELS: [(&str, LogLevel); 4] =
    [("DEBUG", LogLevel::Debug), ("INFO", LogLevel::Info), ("WARNING", LogLevel::Warning), ("ERROR", LogLevel::Error)];
const ADMIN_SWAP: [(&str, AdminSwap); 3] =
    [("loopback", AdminSwap::Loopback), ("anywhere", AdminSwap::Anywhere), ("off", AdminSwap::Off)];
const WHEN_FULL: [(&str, WhenFull); 2] = [("block", WhenFull::Block), ("drop", WhenFull::Drop)];
const CAPTURE_WHEN_FULL: [(&str, CaptureWhenFull); 3] =
    [("thin", CaptureWhenFull::Thin), ("close", CaptureWhenFull::Close), ("block", CaptureWhenFull::Block)];
