//! Merges the given values: defaults < file < environment < flags.
//!
//! Each layer writes into one tree of values ([`super::given`]), later ones override earlier ones; the defaults are set
//! where the types are built. Reads nothing itself: text of the file, environment and flags are arguments.

use std::{
    collections::HashMap,
    ffi::OsString,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

pub(crate) use super::check::{Checked, Wrong};
use super::{
    ADMIN, ALLOW_WRITABLE, SettingsError, check,
    dranspose::{Feed, Source},
    given::{self, Given, Origin, Table, Value},
    keys::Key,
    problems::Problems,
    read::{admin, truth},
    redis_settings,
    tables::{STREAMS, UPSTREAM, keys_of},
};

/// The environment; names are case-insensitive, as for dranspose. An empty variable counts as absent.
#[derive(Debug, Default)]
pub(crate) struct Environment(HashMap<String, OsString>);

impl Environment {
    /// Takes variables; of two names that differ in case, the upper-case one takes precedence.
    pub(crate) fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
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

/// The given options of `framegate run`, each with its value: see [`Key::flag`].
pub(crate) type RunFlags = HashMap<&'static str, String>;

/// The command-line flags of `framegate ingester` or `framegate http_ingester`.
#[derive(Debug, Default)]
pub(crate) struct DropInFlags {
    pub(crate) stream: Option<String>,
    pub(crate) class: String,
    pub(crate) feed: FeedFlags,
}

/// The flags for the data source.
#[derive(Debug)]
pub(crate) enum FeedFlags {
    /// `ingester`: it connects.
    Upstream(Option<String>),
    /// `http_ingester`: it listens.
    Http { host: Option<String>, port: Option<u16> },
}

impl Default for FeedFlags {
    fn default() -> Self {
        Self::Upstream(None)
    }
}

/// Settings of `framegate run`: from a file; machine-specific ones also from environment and flags.
///
/// # Errors
/// All problems.
pub(crate) fn run(text: &str, file: &str, environment: &Environment, flags: &RunFlags) -> Result<Checked, Wrong> {
    let mut problems = Problems::default();
    let mut table = given::parse(text, Some(file)).map_err(Wrong::only)?;
    machine(&mut table, environment, &mut problems);
    if table.get("admin").is_none() {
        table.set("admin", Given::text(DEFAULT_ADMIN, Origin::Default));
    }
    for key in keys_of("") {
        if let Some(flag) = key.flag
            && let Some(value) = flags.get(flag)
        {
            table.set(key.name, Given::text(value, Origin::Flag(flag)));
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
    if let Some(command) = settings.and_then(|settings| settings.probe.as_mut()) {
        // The running program, even if its file was replaced since.
        *command = "/proc/self/exe".into();
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
pub(crate) fn allow_writable_plugins(environment: &Environment) -> Result<bool, SettingsError> {
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
pub(crate) fn admin_to_ask(environment: &Environment) -> Result<Option<SocketAddr>, SettingsError> {
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

/// Settings of the commands that replace a dranspose ingester: one ingester, from flags and environment.
///
/// # Errors
/// All problems.
pub(crate) fn drop_in(environment: &Environment, flags: &DropInFlags) -> Result<Checked, Wrong> {
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
    let class = Given::text(&flags.class, Origin::Flag(flags.feed.class_flag()));
    let settings = source_settings(&class, environment, flags, &mut problems);
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
fn streams(environment: &Environment, flags: &DropInFlags, problems: &mut Problems) -> Vec<Given> {
    if let Some(name) = &flags.stream {
        return vec![Given::text(name, Origin::Flag("--name"))];
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
fn source_settings(class: &Given, environment: &Environment, flags: &DropInFlags, problems: &mut Problems) -> Table {
    let known = Source::parse(&flags.class).ok().and_then(|source| source.class).map(|class| class.feed);
    let mut settings = Table::new(class.origin.clone());
    match &flags.feed {
        FeedFlags::Upstream(flag) => {
            let flag = flag.as_deref().map(|url| Given::text(url, Origin::Flag("--upstream_url")));
            match flag.or_else(|| environment.get(UPSTREAM, problems)) {
                Some(url) => settings.set("upstream_url", url),
                None if known == Some(Feed::Connects) => problems.general(
                    "no address of the detector is given\n  give it with -u tcp://HOST:PORT, or in the variable UPSTREAM_URL"
                        .into(),
                ),
                None => {}
            }
        }
        FeedFlags::Http { host, port } => {
            if known == Some(Feed::Connects) {
                let advice = "use `framegate ingester` with -u tcp://HOST:PORT";
                problems.add(&class.origin, format_args!("{} connects to a detector\n  {advice}", flags.class));
            }
            // dranspose 0.2.0, `cli.py`: `args.port or 5000`, and `host=None`, with which uvicorn listens on all addresses.
            let host = host.as_deref().unwrap_or("*");
            settings.set("host", Given::text(host, Origin::Flag("--host")));
            let port = Value::Integer(port.unwrap_or(5000).into());
            settings.set("port", Given { value: port, origin: Origin::Flag("--port") });
        }
    }
    settings
}

impl FeedFlags {
    fn class_flag(&self) -> &'static str {
        match self {
            Self::Upstream(_) => "--ingesterclass",
            Self::Http { .. } => "--ingesterapp",
        }
    }
}

/// Loopback: the endpoint reveals names and addresses of the experiment.
const DEFAULT_ADMIN: &str = "127.0.0.1:9180";
