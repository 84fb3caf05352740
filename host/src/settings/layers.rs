//! The settings of a program with a configuration file, environment variables and options, such as the command
//! `framegate`: later layers override earlier ones, defaults < file < environment < options.
//!
//! Each layer writes into one tree of values (`given`), later ones override earlier ones; the defaults are set
//! where the types are built. Reads nothing itself: text of the file, environment and flags are arguments.

use std::{
    collections::HashMap,
    ffi::OsString,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

pub use super::check::{Checked, Wrong};
use super::{
    ADMIN, ALLOW_WRITABLE, SettingsError, check,
    dranspose::{Feed, Source},
    feature::Feature,
    given::{self, Given, Origin, Table, Value},
    keys::Key,
    problems::Problems,
    read::{admin, truth},
    redis_settings,
    tables::{STREAMS, UPSTREAM, keys_of},
};

/// The environment; names are case-insensitive, as for dranspose. An empty variable counts as absent.
#[derive(Debug, Default)]
pub struct Environment(HashMap<String, OsString>);

impl Environment {
    /// Takes variables; of two names that differ in case, the upper-case one takes precedence.
    #[must_use]
    pub fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut taken: HashMap<String, OsString> = HashMap::new();
        for (name, value) in variables {
            let Some(name) = name.to_str() else { continue };
            if value.is_empty() {
                continue;
            }
            let plain = name.to_uppercase();
            if plain == name || !taken.contains_key(&plain) {
                taken.insert(plain, value);
            }
        }
        Self(taken)
    }

    /// The value of the first of a key's variables that is set.
    fn of(&self, key: &Key, problems: &mut Problems) -> Option<Given> {
        key.variables.iter().find_map(|name| self.get(name, problems))
    }

    fn get(&self, name: &'static str, problems: &mut Problems) -> Option<Given> {
        let value = self.0.get(name)?;
        match value.to_str() {
            Some(text) => Some(Given::text(text, Origin::Variable(name))),
            None => {
                problems.add(&Origin::Variable(name), "it is not UTF-8");
                None
            }
        }
    }
}

/// The given options of a command, each with its value. [`run`] knows `--admin` and `--log-level`; [`drop_in`] knows
/// `--name`, `--upstream_url`, `--host` and `--port`.
pub type Flags = HashMap<&'static str, String>;

fn option(flags: &Flags, name: &'static str) -> Option<Given> {
    Some(Given::text(flags.get(name)?, Origin::Flag(name)))
}

/// Settings of `framegate run`: from a file; machine-specific ones also from environment and flags.
///
/// # Errors
/// All problems.
pub fn run(text: &str, file: &str, environment: &Environment, flags: &Flags) -> Result<Checked, Wrong> {
    let mut problems = Problems::default();
    let mut table = given::parse(text, Some(file)).map_err(Wrong::from)?;
    machine(&mut table, environment, &mut problems);
    if Feature::Admin.is_there() && table.get("admin").is_none() {
        table.set("admin", Given::text(DEFAULT_ADMIN, Origin::Default));
    }
    for key in keys_of("") {
        if let Some(given) = key.flag.and_then(|flag| option(flags, flag)) {
            table.set(key.name, given);
        }
    }
    of_command(check::check(&table, problems))
}

/// Adds settings that only the command knows.
fn of_command(mut checked: Result<Checked, Wrong>) -> Result<Checked, Wrong> {
    let settings = match &mut checked {
        Ok(checked) => Some(&mut checked.settings),
        Err(wrong) => wrong.rest.as_deref_mut(),
    };
    if let Some(settings) = settings {
        let streams = settings.ingesters.iter_mut().flat_map(|ingester| &mut ingester.streams);
        let apart = streams.filter_map(|stream| stream.isolate.as_mut()).map(|isolation| &mut isolation.program);
        // The running program, even if its file was replaced since.
        settings.probe.iter_mut().chain(apart).for_each(|program| *program = "/proc/self/exe".into());
    }
    checked
}

/// The environment variables of the keys at the top: the same for every command.
fn machine(table: &mut Table, environment: &Environment, problems: &mut Problems) {
    // Variables of a whole deployment do not override a file that wants no Redis at all.
    let is_standalone = table.get("standalone").is_some();
    let counts = |key: &&Key| !is_standalone || !redis_settings::contradicts_standalone(key);
    let of = |key: &Key| Some((key.name, environment.of(key, problems)?));
    let given: Vec<_> = keys_of("").filter(counts).filter_map(of).collect();
    let passwords = [redis_settings::PASSWORD, redis_settings::PASSWORD_FILE];
    if given.iter().any(|(key, _)| passwords.contains(key)) {
        // Either one replaces the file's password, in both of its forms.
        passwords.iter().for_each(|key| table.remove(key));
    }
    for (key, given) in given {
        table.set(key, given);
    }
}

/// Whether plugin files may be used that others may write to: for commands without a configuration.
///
/// # Errors
/// The variable is neither true nor false.
pub fn allow_writable_plugins(environment: &Environment) -> Result<bool, SettingsError> {
    let mut problems = Problems::default();
    let given = environment.get(ALLOW_WRITABLE, &mut problems);
    let allowed = given.map(|given| truth(&given).map_err(|why| problems.add(&given.origin, why)));
    let allowed = allowed.and_then(Result::ok).unwrap_or_default();
    problems.finish(allowed)
}

/// The admin endpoint that the variable names, for commands that connect to it. `None` if it names none.
///
/// # Errors
/// The variable holds no address.
pub fn admin_to_ask(environment: &Environment) -> Result<Option<SocketAddr>, SettingsError> {
    let mut problems = Problems::default();
    let given = environment.get(ADMIN, &mut problems);
    let address = given.map(|given| admin(&given).map_err(|why| problems.add(&given.origin, why)));
    let mut address = address.and_then(Result::ok).flatten();
    match &mut address {
        // An endpoint bound on all addresses is reachable at this one.
        Some(SocketAddr::V4(v4)) if v4.ip().is_unspecified() => v4.set_ip(Ipv4Addr::LOCALHOST),
        Some(SocketAddr::V6(v6)) if v6.ip().is_unspecified() => v6.set_ip(Ipv6Addr::LOCALHOST),
        _ => {}
    }
    problems.finish(address)
}

/// Settings of the commands that replace a dranspose ingester: one ingester, from flags and environment. `class` is the
/// option that the command requires.
///
/// # Errors
/// All problems.
pub fn drop_in(environment: &Environment, feed: Feed, class: &str, flags: &Flags) -> Result<Checked, Wrong> {
    let mut problems = Problems::default();
    let command = Origin::Flag("--name");
    let mut table = Table::new(command.clone());
    machine(&mut table, environment, &mut problems);
    let mut ingester = Table::new(command.clone());
    for key in keys_of("ingester") {
        if let Some(given) = environment.of(key, &mut problems) {
            ingester.set(key.name, given);
        }
    }
    let flag = if feed == Feed::Connects { "--ingesterclass" } else { "--ingesterapp" };
    let settings = source_settings(environment, feed, class, &Origin::Flag(flag), flags, &mut problems);
    let class = Given::text(class, Origin::Flag(flag));
    let streams = streams(environment, flags, &mut problems).into_iter().map(|name| {
        let origin = name.origin.clone();
        let mut stream = Table::new(origin.clone());
        stream.set("name", name);
        stream.set("source", class.clone());
        stream.set("settings", Given { value: Value::Table(settings.clone()), origin: origin.clone() });
        Given { value: Value::Table(stream), origin }
    });
    let streams: Vec<_> = streams.collect();
    ingester.set("stream", Given { value: Value::List(streams), origin: command.clone() });
    let ingester = Given { value: Value::Table(ingester), origin: command.clone() };
    table.set("ingester", Given { value: Value::List(vec![ingester]), origin: command });
    of_command(check::check(&table, problems))
}

/// The streams' names: from the flag, else from the variable.
fn streams(environment: &Environment, flags: &Flags, problems: &mut Problems) -> Vec<Given> {
    if let Some(name) = option(flags, "--name") {
        return vec![name];
    }
    let variable = STREAMS;
    let Some(list) = environment.get(variable, problems) else {
        problems
            .general(format!("no stream is named\n  give one with -n STREAM, or several in the variable {variable}"));
        return vec![nameless()];
    };
    let Value::Text(text) = &list.value else { unreachable!("variables are texts") };
    match serde_json::from_str::<Vec<String>>(text) {
        Ok(names) if !names.is_empty() => names.iter().map(|name| Given::text(name, list.origin.clone())).collect(),
        _ => {
            let expected = "expected a JSON list of stream names, such as [\"camera\", \"motors\"]";
            problems.add(&list.origin, format_args!("{text:?}: {expected}"));
            vec![nameless()]
        }
    }
}

/// A placeholder for missing streams, so that the rest is checked too.
fn nameless() -> Given {
    Given::text("nameless", Origin::Default)
}

/// The source's settings from flags and environment; the same for each stream, as in dranspose.
fn source_settings(
    environment: &Environment,
    feed: Feed,
    class: &str,
    origin: &Origin,
    flags: &Flags,
    problems: &mut Problems,
) -> Table {
    let known = Source::parse(class).ok().and_then(|source| source.class).map(|class| class.feed);
    let mut settings = Table::new(origin.clone());
    match feed {
        Feed::Connects => match option(flags, "--upstream_url").or_else(|| environment.get(UPSTREAM, problems)) {
            Some(url) => settings.set("upstream_url", url),
            None if known == Some(Feed::Connects) => problems.general(
                "no address of the detector is given\n  give it with -u tcp://HOST:PORT, or in the variable \
                 UPSTREAM_URL"
                    .into(),
            ),
            None => {}
        },
        Feed::Listens => {
            if known == Some(Feed::Connects) {
                let advice = "use `framegate ingester` with -u tcp://HOST:PORT";
                problems.add(origin, format_args!("{class} connects to a detector\n  {advice}"));
            }
            // dranspose 0.2.0, `cli.py`: `args.port or 5000`, and `host=None`, with which uvicorn listens on all addresses.
            let host = option(flags, "--host").unwrap_or_else(|| Given::text("*", Origin::Flag("--host")));
            settings.set("host", host);
            // The command line takes nothing else.
            let port = flags.get("--port").map_or(5000, |port| port.parse().expect("it is the number of a port"));
            settings.set("port", Given { value: Value::Integer(port), origin: Origin::Flag("--port") });
        }
    }
    settings
}

/// Loopback: the endpoint reveals names and addresses of the experiment.
const DEFAULT_ADMIN: &str = "127.0.0.1:9180";
