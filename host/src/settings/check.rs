//! Checks the given values and converts them into [`Settings`]; reports all problems at once.
//!
//! Pure functions, without access to files and network. Whether a source accepts its settings, plugins can be loaded
//! and ports be bound is known only when the host starts.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use serde_json::{Map, Value as Json};

use super::{
    COMMAND, Control, IngesterSettings, LOG_LEVEL, LOG_LEVELS, LogLevel, Settings, Standalone, StreamSettings,
    dranspose,
    feature::Feature,
    given::{Given, Origin, Table, Value},
    ingester::URL,
    keys::{Key, TakesEffect},
    problem::SettingProblem,
    problems::Problems,
    read::{absolute, address, one_of, second_capture, text},
    redis_settings,
    tables::{heading, keys_of, refuse_unknown},
};
use crate::names::{IngesterName, StreamName};

/// Settings, and values that only the command needs.
#[derive(Debug)]
#[non_exhaustive]
pub struct Checked {
    /// The settings of the host.
    pub settings: Settings,
    /// The minimum severity of logged lines.
    pub log_level: LogLevel,
}

/// What is wrong, and the settings without it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Wrong {
    /// All problems, in the order of the file.
    pub problems: Vec<SettingProblem>,
    /// The streams without a problem, whose sources can still be checked; `None` if how plugins are found and loaded is
    /// itself wrong.
    pub rest: Option<Box<Settings>>,
}

impl Wrong {
    /// Problems without settings: nothing else can be checked.
    #[must_use]
    pub fn only(problem: SettingProblem) -> Self {
        vec![problem].into()
    }
}

impl From<Vec<SettingProblem>> for Wrong {
    fn from(problems: Vec<SettingProblem>) -> Self {
        Self { problems, rest: None }
    }
}

/// Checks everything; `problems` are those found before.
pub(super) fn check(table: &Table, mut problems: Problems) -> Result<Checked, Wrong> {
    let problems_of = &mut problems;
    let mut settings = Settings::new(control(table, problems_of), Vec::new());
    settings.read(table, problems_of);
    for (key, feature) in settings.without_feature() {
        refuse_without(feature, key, table, problems_of);
    }
    let of_plugins = |key: &&Key| key.takes_effect == TakesEffect::NextSwap;
    let are_plugins_known = !keys_of("").filter(of_plugins).any(|key| problems_of.has(key.name));
    let log_level = table.read(LOG_LEVEL.name, problems_of, one_of(&LOG_LEVELS));
    let log_level = log_level.unwrap_or_else(|| LOG_LEVEL.value(one_of(&LOG_LEVELS)));
    let mut taken = Taken::default();
    if let Some(given) = table.get("admin") {
        settings.admin_search = matches!(given.origin, Origin::Default);
        let claimed = settings.admin.filter(|_| !settings.admin_search);
        taken.admin = claimed.map(|address| (address.port(), given.origin.clone()));
    }
    let ingesters = table.tables("ingester", &heading("ingester"), problems_of);
    if ingesters.is_empty() && table.get("ingester").is_none() {
        problems_of
            .add(&table.origin, "there is no ingester\n  add at least one [[ingester]] with an [[ingester.stream]]");
    }
    refuse_unknown(table, "", problems_of);
    let standalone = matches!(settings.control, Control::Standalone(_));
    for table in ingesters {
        settings.ingesters.push(ingester(table, standalone, &mut taken, problems_of));
    }
    match problems.sorted() {
        problems if problems.is_empty() => Ok(Checked { settings, log_level }),
        problems => Err(Wrong { problems, rest: are_plugins_known.then(|| settings.into()) }),
    }
}

/// Adds a problem with a key that needs a missing feature.
fn refuse_without(feature: Feature, key: &str, table: &Table, problems: &mut Problems) {
    if let Some(given) = table.get(key) {
        problems.add_value(key, given, &feature.missing());
    }
}

fn control(top: &Table, problems: &mut Problems) -> Control {
    let Some(table) = top.table("standalone", problems) else {
        return Control::Redis(redis_settings::read(top, problems));
    };
    redis_settings::contradict(top, table, problems);
    let mut standalone = Standalone::default();
    standalone.read(table, problems);
    refuse_unknown(table, "standalone", problems);
    Control::Standalone(standalone)
}

/// Things that may be there once, with the places of the first ones.
#[derive(Debug, Default)]
struct Taken {
    /// By the sentence that reports a second one.
    once: HashMap<String, Origin>,
    admin: Option<(u16, Origin)>,
}

/// Adds a problem if the thing is there already. `second` is the sentence about that; it must name the thing.
fn claim(taken: &mut Taken, origin: &Origin, second: String, advice: &str, problems: &mut Problems) {
    match taken.once.get(&second) {
        Some(first) => problems.add(origin, format_args!("{second}; the first: {first}{advice}")),
        None => drop(taken.once.insert(second, origin.clone())),
    }
}

fn ingester(table: &Table, standalone: bool, taken: &mut Taken, problems: &mut Problems) -> IngesterSettings {
    let name = table.get("name");
    let url = table.get(URL.name);
    let given = table.read(URL.name, problems, address);
    let url_is_wrong = url.is_some() && given.is_none();
    let (host, port) = given.unwrap_or_else(|| URL.value(address));
    let tables = table.tables("stream", &heading("ingester.stream"), problems);
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
    ingester.stall_timeout = standalone.then_some(STALL_TIMEOUT_STANDALONE);
    ingester.read(table, problems);
    for (key, feature) in ingester.without_feature() {
        refuse_without(feature, key, table, problems);
    }
    refuse_unknown(table, "ingester", problems);

    if let Some((name, origin)) = &name {
        claim(taken, origin, format!("in [ingester]: a second ingester is named \"{name}\""), "", problems);
    }
    if !url_is_wrong {
        let origin = url.map_or(&table.origin, |given| &given.origin);
        let second = format!("in [ingester]: a second ingester has port {port}");
        claim(taken, origin, second, "\n  give each a `url` of its own", problems);
        if let Some((_, admin)) = taken.admin.as_ref().filter(|(admin, _)| *admin == port) {
            problems.add(origin, format_args!("in [ingester]: port {port} is that of `admin` ({admin})"));
        }
    }
    if let (Some(path), Some(given)) = (&ingester.dump_path, table.get("dump_path")) {
        claim(taken, &given.origin, format!("in [ingester]: {}", second_capture(path)), "", problems);
    }
    ingester
}

fn default_name(streams: &[StreamSettings]) -> Result<Option<IngesterName>, String> {
    if streams.is_empty() {
        return Ok(None);
    }
    let names: Vec<_> = streams.iter().map(|stream| stream.name.as_str()).collect();
    IngesterName::new(&format!("{}-ingester", names.join("_"))).map(Some).map_err(|bad| bad.to_string())
}

/// A stream; `None` if its name, source or settings are wrong.
fn stream(table: &Table, taken: &mut Taken, problems: &mut Problems) -> Option<StreamSettings> {
    let origin = table.get("name").map_or(&table.origin, |given| &given.origin);
    let name = table.read("name", problems, |given| {
        text(given).and_then(|name| StreamName::new(&name).map_err(|bad| bad.to_string()))
    });
    let source = table.read("source", problems, |given| {
        let name = text(given)?;
        dranspose::Source::parse(&name).map_err(|why| format!("{name:?}: {why}"))
    });
    let command = table.read("command", problems, command);
    if let (Some(given), true) = (table.get("command"), table.get("source").is_some()) {
        problems.add(&given.origin, "in [ingester.stream]: `source` and `command`; a stream has one of them");
    }
    for key in ["name", "source"] {
        if table.get(key).is_none() && (key == "name" || table.get("command").is_none()) {
            problems.add(&table.origin, format_args!("in [ingester.stream]: `{key}` is missing"));
        }
    }
    let settings = match table.get("settings") {
        Some(_) => table.table("settings", problems).map(Table::json),
        None => Some(Json::Object(Map::new())),
    };
    let parameters = table.table("parameters", problems).map(|table| parameters(table, problems));
    let placeholder = StreamName::new("unnamed").expect("the name is constant and allowed");
    let mut stream = StreamSettings::new(placeholder, "", Json::Null);
    stream.read(table, problems);
    refuse_unknown(table, "ingester.stream", problems);
    stream.parameters = parameters.unwrap_or_default();
    stream.name = name?;
    let second = format!("in [ingester.stream]: a second stream is named \"{}\"", stream.name);
    claim(taken, origin, second, "\n  names of streams are unique", problems);
    match command {
        Some(command) => {
            (stream.source, stream.command) = (COMMAND.to_owned(), command);
            stream.isolate.get_or_insert_default();
        }
        None => stream.source = source?.plugin,
    }
    stream.settings = settings?;
    Some(stream)
}

/// A program and its arguments.
fn command(given: &Given) -> Result<Vec<String>, String> {
    let Value::List(list) = &given.value else {
        return Err(format!("expected a program and its arguments, [\"/path\", \"argument\"], not {}", given.kind()));
    };
    let words = list.iter().map(text).collect::<Result<Vec<_>, _>>()?;
    match words.first() {
        Some(program) => absolute(program.into()).map(|_| words),
        None => Err("it is empty; expected a program and its arguments".into()),
    }
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

/// Without a controller nobody else notices a worker that pings but has stopped reading.
const STALL_TIMEOUT_STANDALONE: Duration = Duration::from_secs(30);
