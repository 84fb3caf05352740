//! Creates ingesters: their sources, their bound ports, their limits. Nothing runs yet.
//!
//! Called on the thread that starts the host; sources are created on their own reader threads, all at the same time,
//! within `source_timeout`. All problems are collected, so that a person sees them at once.

use std::{fmt, sync::Arc, time::Instant};

use framegate_plugin_api::{ErrorKind, ParameterType};
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::{
    Linked, StartError,
    feed::{Exchange, Feed},
};
use crate::source::parameter::Parameter;
use crate::{
    budget::Account,
    control::{CommandSender, Line, Parameters},
    forwarder::{Forwarder, Input, State},
    ingester::{Ingester, Limits, report::Report},
    near::near,
    output::{
        dump::{Dump, DumpSettings},
        places,
        router::Router,
    },
    plugin::{
        inspect::Trust,
        probe::Probe,
        refusal::{self, Refusal},
    },
    settings::{Control, IngesterSettings, Settings, StreamSettings},
    source::{
        Created, Factory, Fault, NotCreated,
        beginning::Before,
        loaded::{hash_of, loaded},
        order::Order,
        reader::Reader,
        replacement::Told,
    },
    threads,
    wake::Wake,
};

/// A stream's reader and the description of its source.
pub(crate) type Made = (Reader, Feed);

/// Why a stream has no source.
#[derive(Debug)]
pub(super) enum Problem {
    /// The plugin was refused.
    Refused(Refusal),
    /// The source refuses its settings.
    Settings(String),
    /// The system has no more threads.
    Machine(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Settings(problem) | Self::Machine(problem) => f.write_str(problem),
        }
    }
}

impl Problem {
    /// Converts the failure of a source's `create`.
    pub(super) fn new(source: &str, problem: NotCreated) -> Self {
        match problem {
            NotCreated::Refused(refusal) => refusal.into(),
            NotCreated::Fault(Fault::Source(problem)) if problem.kind() == ErrorKind::Settings => {
                Self::Settings(format!("{source}: {problem}"))
            }
            NotCreated::Fault(fault) => refusal::not_created(source, &fault).into(),
        }
    }

    /// The subject of the problem, in one word.
    pub(super) fn with(&self) -> &'static str {
        match self {
            Self::Refused(_) => "plugin",
            Self::Settings(_) => "settings",
            Self::Machine(_) => "machine",
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Creates all streams' sources, at the same time.
pub(super) fn make_sources(settings: &Settings, linked: &Linked, error: &mut StartError) -> Vec<Vec<Made>> {
    let mut started = Vec::new();
    for ingester in &settings.ingesters {
        let mut of_ingester = Vec::new();
        for stream in &ingester.streams {
            let starting = find(stream, settings, linked, false)
                .map_err(Problem::from)
                .and_then(|factory| Ok((start(stream, &factory, None)?, factory)));
            match starting {
                Ok((starting, factory)) => of_ingester.push((stream, factory, starting)),
                Err(problem) => error.no_source(&stream.name, &problem),
            }
        }
        started.push(of_ingester);
    }
    let deadline = Instant::now() + settings.creation_timeout();
    let mut made = Vec::new();
    for of_ingester in started {
        let mut inputs = Vec::new();
        for (stream, factory, starting) in of_ingester {
            match starting.wait(&factory, deadline, settings) {
                Ok((reader, created)) => {
                    for wrong in give_parameters(stream, &reader, &created) {
                        let problem = format!("{}: {wrong}", factory.identity());
                        error.no_source(&stream.name, &Problem::Settings(problem));
                    }
                    inputs.push((reader, Feed { number: 0, settings: stream.clone(), factory, created }));
                }
                Err(problem) => error.no_source(&stream.name, &problem),
            }
        }
        made.push(inputs);
    }
    made
}

/// Finds the code of a stream's source; runs no code of a plugin. `from_outside`: see [`Trust`].
pub(super) fn find(
    stream: &StreamSettings,
    settings: &Settings,
    linked: &Linked,
    from_outside: bool,
) -> Result<Arc<dyn Factory>, Refusal> {
    if let Some(factory) = linked.sources.get(&stream.source) {
        return Ok(factory.clone());
    }
    let Settings { plugin_dirs, allow_writable_plugins, max_generations, .. } = settings;
    let probe = settings.probe.clone().map(|command| Probe { command, limit: settings.source_timeout });
    let trust = Trust { allow_writable: *allow_writable_plugins, from_outside, pin: None };
    loaded(stream.name.as_str(), &stream.source, plugin_dirs, trust, *max_generations, probe)
}

/// SHA-256 of the file from which a stream's source would be loaded; `None` for a linked source.
pub(super) fn identify(
    stream: &StreamSettings,
    settings: &Settings,
    linked: &Linked,
) -> Result<Option<String>, Refusal> {
    if linked.sources.contains_key(&stream.source) {
        return Ok(None);
    }
    hash_of(&stream.source, &settings.plugin_dirs).map(Some)
}

/// A source that is being created, on its reader thread.
#[derive(Debug)]
pub(super) struct Starting {
    reader: Reader,
    outcome: std::sync::mpsc::Receiver<Result<Created, NotCreated>>,
}

/// Starts to create a stream's source.
pub(super) fn start(
    stream: &StreamSettings,
    factory: &Arc<dyn Factory>,
    before: Option<Before>,
) -> Result<Starting, Problem> {
    match Reader::start(stream.name.clone(), factory.clone(), stream.settings.clone(), before) {
        Ok((reader, outcome)) => Ok(Starting { reader, outcome }),
        Err(problem) => Err(Problem::Machine(format!("no thread for its source: {problem}\n  {}", threads::REMEDY))),
    }
}

impl Starting {
    /// Waits until it is created.
    pub(super) fn wait(
        self,
        factory: &Arc<dyn Factory>,
        deadline: Instant,
        settings: &Settings,
    ) -> Result<(Reader, Created), Problem> {
        let source = factory.identity().to_string();
        let Self { reader, outcome } = self;
        match outcome.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Ok(created)) => Ok((reader, created)),
            Ok(Err(problem)) => Err(Problem::new(&source, problem)),
            Err(_) => {
                factory.write_off();
                Err(refusal::overdue(&source, settings.source_timeout).into())
            }
        }
    }
}

/// Sets a source's parameters from the settings. Returns the problems, in words.
pub(super) fn give_parameters(stream: &StreamSettings, reader: &Reader, created: &Created) -> Vec<String> {
    let known = || created.parameters.iter().map(|parameter| parameter.name.as_str());
    let mut wrong = Vec::new();
    for (name, value) in &stream.parameters {
        let described = created.parameters.iter().find(|parameter| parameter.name == *name);
        // The parameters of a source that is created later are not known yet; it ignores those it does not have.
        if described.is_none() && !created.waits {
            let meant = near(name, known()).map(|near| format!("; did you mean {near:?}?"));
            wrong.push(format!("it has no parameter {name:?}{}", meant.unwrap_or_default()));
        } else if let Some(expected) = described.and_then(|parameter| mismatch(parameter.dtype, value)) {
            wrong.push(format!("parameter {name:?}: {value:?} is not allowed: expected {expected}"));
        } else {
            reader.order(Order::SetParameter { name: name.clone(), value: value.as_bytes().into() });
        }
    }
    wrong
}

/// The required type if a value has the wrong one. Texts are as a controller writes them: Python's `str()`.
fn mismatch(dtype: ParameterType, value: &str) -> Option<&'static str> {
    match dtype {
        ParameterType::Int if value.parse::<i128>().is_err() => Some("a whole number"),
        ParameterType::Float if value.parse::<f64>().is_err() => Some("a number"),
        ParameterType::Bool if !["true", "false"].contains(&value.to_lowercase().as_str()) => Some("true or false"),
        _ => None,
    }
}

/// Prepares an ingester and binds its port; it does not run yet.
pub(crate) fn prepare(
    ingester: &IngesterSettings,
    made: Vec<Made>,
    settings: &Settings,
    told: mpsc::UnboundedSender<Told>,
) -> Result<(Forwarder, Line, Exchange), String> {
    let name = &ingester.name;
    let wake = Wake::new().map_err(|problem| format!("ingester {name}: no descriptor: {problem}"))?;
    let router = Router::bind(ingester.bind, ingester.port, wake.clone()).map_err(|problem| {
        let (port, at) = (ingester.port, ingester.bind.map(|address| format!(" of {address}")).unwrap_or_default());
        let advice = match problem.kind() {
            std::io::ErrorKind::AddrInUse => {
                "stop the program that uses it (`ss -ltnp` names it), or choose another port: `url` in the \
                 configuration, INGESTER_URL for `framegate ingester`"
                    .to_owned()
            }
            std::io::ErrorKind::AddrNotAvailable => "`bind` must be an address of this machine".to_owned(),
            _ => format!("it is the port of {}", ingester.url()),
        };
        format!("ingester {name}: port {port}{at} cannot be bound: {problem}\n  {advice}")
    })?;
    let ring = {
        let wake = wake.clone();
        Arc::new(move || wake.ring())
    };
    let limits = DumpSettings {
        limit_bytes: ingester.capture_limit,
        when_full: ingester.capture_when_full,
        root: settings.capture_root.clone(),
    };
    let dump = Dump::start(limits, ring.clone())
        .map_err(|problem| format!("ingester {name}: no thread for captures: {problem}\n  {}", threads::REMEDY))?;
    let (command_sender, commands) = mpsc::channel(64);
    let (assignment_sender, assignments) = mpsc::channel(16);
    let sender = CommandSender::new(command_sender, assignment_sender, ring);
    let standalone = match &settings.control {
        Control::Standalone(standalone) => standalone.min_workers,
        Control::Redis(_) => 0,
    };
    let limits = Limits {
        worker_timeout: ingester.worker_timeout,
        stall_timeout: ingester.stall_timeout,
        source_timeout: settings.source_timeout,
        min_workers: standalone,
        allowed_workers: ingester.workers.clone(),
        most_workers: places::places().workers,
    };
    let streams = made.iter().map(|(_, feed)| (feed.settings.name.clone(), feed.created.on_demand)).collect();
    let described = made.iter().flat_map(|(_, feed)| {
        let with_stream = |one: &Parameter| (feed.settings.name.clone(), one.clone());
        feed.created.parameters.iter().map(with_stream)
    });
    let (parameters, described) = watch::channel(described.collect::<Parameters>());
    let mut heart = Ingester::new(name.clone(), streams, limits);
    for (stream, (reader, _)) in made.iter().enumerate() {
        heart.fed_by(stream, reader.source().to_owned());
    }
    let service_uuid = Uuid::new_v4();
    let room = wake.clone();
    let (report, latest) = watch::channel(Report::starting(name.clone(), service_uuid, ingester));
    let line = Line {
        name: name.clone(),
        service_uuid,
        url: ingester.url(),
        streams: ingester.streams.iter().map(|stream| stream.name.clone()).collect(),
        parameters: described,
        commands: sender,
        report: latest,
    };
    let inputs: Vec<_> = made.into_iter().map(|(reader, feed)| Input::new(reader, feed.settings.when_full)).collect();
    let slots = inputs.iter().map(|input| (input.reader.stream().clone(), Arc::downgrade(&input.next))).collect();
    let exchange = Exchange { slots, parameters };
    let forwarder = Forwarder {
        settings: ingester.clone(),
        service_uuid,
        ingester: heart,
        inputs,
        router,
        wake,
        commands,
        assignments,
        told,
        report,
        dump,
        assembled: Account::new((ingester.memory_limit / 2).max(1), move || room.ring()),
        state: State::new(Instant::now()),
    };
    Ok((forwarder, line, exchange))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_fits_a_parameter_as_a_controller_would_write_it() {
        for (dtype, good, bad) in [
            (ParameterType::Int, &["0", "-7", "18446744073709551615"][..], &["", "1.0", "abc", "0x10"][..]),
            (ParameterType::Float, &["2", "-1.5e3", "inf"], &["", "abc", "1,5"]),
            (ParameterType::Bool, &["True", "false"], &["", "1", "yes"]),
            (ParameterType::Str, &["", "abc"], &[]),
            (ParameterType::Binary, &["\u{0}"], &[]),
        ] {
            good.iter().for_each(|value| assert_eq!(mismatch(dtype, value), None, "{dtype:?} {value:?}"));
            bad.iter().for_each(|value| assert!(mismatch(dtype, value).is_some(), "{dtype:?} {value:?}"));
        }
    }
}
