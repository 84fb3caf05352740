//! Creates ingesters: their sources, their bound ports, their limits. Nothing runs yet.
//!
//! Called on the thread that starts the host; sources are created on their own reader threads, all at the same time,
//! within `source_timeout`. All problems are collected, so that a person sees them at once.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Weak},
    time::Instant,
};

use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::{StartError, problem::Problem};
use crate::{
    budget::Account,
    control::{CommandSender, IngesterHandle, Parameters},
    events::News,
    forwarder::{Forwarder, ForwarderThread, Input, LoopState},
    ingester::{Ingester, Limits, report::Report},
    names::StreamName,
    near::near,
    output::{dump::Dump, limits::connection_limits, router::Router, watch::Watch},
    plugin::refusal::{self, Refusal},
    settings::{IngesterSettings, Settings, StreamSettings},
    source::{
        Feed,
        factory::{Factory, loaded},
        loaded::hash_of,
        parameter::Parameter,
        reader::{Reader, Readiness},
        replacement::{NextSource, SourceNotice},
    },
    threads,
    wake::Wake,
    worker::link::Links,
};

/// Sources that are compiled into the program, by name.
#[derive(Debug, Default, Clone)]
pub(crate) struct Linked {
    pub(super) sources: HashMap<String, Arc<Factory>>,
}

/// A source that is ready: created, or to be created when the source before it has ended.
#[derive(Debug)]
pub(crate) struct ReadySource {
    pub(crate) reader: Reader,
    /// Its run-time parameters; `None`: it is not created yet.
    pub(crate) parameters: Option<Vec<Parameter>>,
}

/// The way to the sources of an ingester that runs.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// Where the next source of each stream waits; gone when the ingester is.
    pub(crate) slots: BTreeMap<StreamName, Weak<NextSource>>,
    /// The sources' parameters, for control to publish.
    pub(crate) parameters: watch::Sender<Parameters>,
}

/// Creates all streams' sources, at the same time.
pub(super) fn make_sources(settings: &Settings, linked: &Linked, error: &mut StartError) -> Vec<Vec<ReadySource>> {
    let mut started = Vec::new();
    for ingester in &settings.ingesters {
        let mut of_ingester = Vec::new();
        for stream in &ingester.streams {
            let starting = find(stream, settings, linked, false)
                .map_err(|refusal| Problem::refused(&stream.name, refusal))
                .and_then(|factory| start(Feed { settings: stream.clone(), factory }, Vec::new()));
            match starting {
                Ok(starting) => of_ingester.push((stream, starting)),
                Err(problem) => error.add(problem),
            }
        }
        started.push(of_ingester);
    }
    let deadline = Instant::now() + settings.creation_timeout();
    let mut made = Vec::new();
    for of_ingester in started {
        let mut inputs = Vec::new();
        for (stream, starting) in of_ingester {
            match wait(starting, deadline, settings) {
                Ok(ready) => {
                    for wrong in ready.wrong_parameters(stream) {
                        error.add(Problem::source_settings(&stream.name, &ready.reader.shared.source(), &wrong));
                    }
                    inputs.push(ready);
                }
                Err(problem) => error.add(problem),
            }
        }
        made.push(inputs);
    }
    made
}

/// Finds the code of a stream's source; runs no code of a plugin. `from_outside`: see [`loaded`].
pub(super) fn find(
    stream: &StreamSettings,
    settings: &Settings,
    linked: &Linked,
    from_outside: bool,
) -> Result<Arc<Factory>, Refusal> {
    if let Some(factory) = linked.sources.get(&stream.source) {
        return Ok(factory.clone());
    }
    loaded(stream, settings, from_outside)
}

/// SHA-256 of the file from which a stream's source would be loaded; `None` for a linked source and for a program.
pub(super) fn identify(
    stream: &StreamSettings,
    settings: &Settings,
    linked: &Linked,
) -> Result<Option<String>, Refusal> {
    if linked.sources.contains_key(&stream.source) || !stream.command.is_empty() {
        return Ok(None);
    }
    hash_of(&stream.source, &settings.plugin_dirs).map(Some)
}

/// A source that is being created, on its reader thread.
type Starting = (Reader, std::sync::mpsc::Receiver<Readiness>);

/// Starts to create a stream's source. `before`: see [`Reader::start`].
pub(super) fn start(feed: Feed, before: Vec<Feed>) -> Result<Starting, Problem> {
    let stream = feed.settings.name.clone();
    Reader::start(feed, before).map_err(|problem| {
        let text = format!("no thread for its source: {problem}\n  {}", threads::REMEDY);
        Problem::no_thread(Some(&stream), &text)
    })
}

/// Waits until a source is ready.
pub(super) fn wait(
    (reader, outcome): Starting,
    deadline: Instant,
    settings: &Settings,
) -> Result<ReadySource, Problem> {
    let (stream, source) = (reader.shared.stream.clone(), reader.shared.source());
    match outcome.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(Ok(parameters)) => Ok(ReadySource { reader, parameters }),
        Ok(Err(problem)) => Err(Problem::not_created(&stream, &source, problem)),
        Err(_) => {
            reader.write_off();
            Err(Problem::refused(&stream, refusal::overdue(&source, settings.source_timeout)))
        }
    }
}

impl ReadySource {
    /// The configured parameters that the source does not have, or whose values have the wrong type, in words. A source
    /// that is created later ignores such parameters.
    pub(super) fn wrong_parameters(&self, stream: &StreamSettings) -> Vec<String> {
        let Some(known) = &self.parameters else { return Vec::new() };
        let wrong = |(name, value): (&String, &String)| match known.iter().find(|parameter| parameter.name == *name) {
            Some(parameter) => {
                let expected = parameter.mismatch(value)?;
                Some(format!("parameter {name:?}: {value:?} is not allowed: expected {expected}"))
            }
            None => {
                let meant = near(name, known.iter().map(|parameter| parameter.name.as_str()));
                let meant = meant.map_or(String::new(), |near| format!("; did you mean {near:?}?"));
                Some(format!("it has no parameter {name:?}{meant}"))
            }
        };
        stream.parameters.iter().filter_map(wrong).collect()
    }
}

/// Prepares an ingester and binds its port; it does not run yet.
pub(crate) fn prepare(
    ingester: &IngesterSettings,
    sources: Vec<ReadySource>,
    settings: &Settings,
    notices: mpsc::UnboundedSender<SourceNotice>,
    news: News,
) -> Result<(ForwarderThread, IngesterHandle, Exchange), Problem> {
    let name = ingester.name.clone();
    let wrong = |text: String| Problem::ingester(&ingester.name, &text);
    let no_descriptor = |problem| wrong(format!("no descriptor: {problem}"));
    let wake = Wake::new().map_err(no_descriptor)?;
    let watch = Watch::new(wake.clone()).map_err(no_descriptor)?;
    let router = Router::bind(ingester.bind, ingester.port, &watch).map_err(|problem| {
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
        wrong(format!("port {port}{at} cannot be bound: {problem}\n  {advice}"))
    })?;
    let ingester = IngesterSettings { port: router.port().unwrap_or(ingester.port), ..ingester.clone() };
    let ring = {
        let wake = wake.clone();
        Arc::new(move || wake.ring())
    };
    let dump = Dump::start(&ingester, settings.capture_root.as_deref(), ring.clone())
        .map_err(|problem| wrong(format!("no thread for captures: {problem}\n  {}", threads::REMEDY)))?;
    let (command_sender, commands) = mpsc::channel(64);
    let (assignment_sender, assignments) = mpsc::channel(16);
    let (joining_sender, joining) = mpsc::unbounded_channel();
    let sender = CommandSender::new(command_sender, assignment_sender, joining_sender, ring);
    let limits = Limits {
        worker_timeout: ingester.worker_timeout,
        stall_timeout: ingester.stall_timeout,
        source_timeout: settings.source_timeout,
        allowed_workers: ingester.workers.clone(),
        most_workers: connection_limits().workers,
    };
    let shared = sources.iter().map(|ready| &ready.reader.shared);
    let streams = shared.map(|shared| (shared.stream.clone(), shared.is_on_demand())).collect();
    let described = sources.iter().flat_map(|ReadySource { reader, parameters }| {
        let with_stream = |one: &Parameter| (reader.shared.stream.clone(), one.clone());
        parameters.iter().flatten().map(with_stream)
    });
    let (parameters, described) = watch::channel(described.collect::<Parameters>());
    let heart = Ingester::new(name.clone(), streams, limits);
    let service_uuid = Uuid::new_v4();
    let room = wake.clone();
    let (report, latest) = watch::channel(Report::starting(name.clone(), service_uuid, &ingester));
    let handle = IngesterHandle {
        name: name.clone(),
        service_uuid,
        url: ingester.url(),
        streams: ingester.streams.iter().map(|stream| stream.name.clone()).collect(),
        parameters: described,
        commands: sender,
        report: latest,
    };
    let memory = (ingester.memory_limit / 2).max(1);
    let inputs: Vec<_> = sources.into_iter().map(|ready| Input::new(ready.reader)).collect();
    let slots = inputs.iter().map(|input| (input.reader.shared.stream.clone(), Arc::downgrade(&input.next))).collect();
    let exchange = Exchange { slots, parameters };
    let forwarder = Forwarder {
        settings: ingester,
        service_uuid,
        ingester: heart,
        inputs,
        router,
        bell: wake.clone().into(),
        named: tracing::error_span!(parent: None, "ingester", ingester = %name),
        commands,
        assignments,
        notices,
        report,
        news,
        links: Links::new(joining),
        dump,
        assembled: Account::new(memory, move || room.ring()),
        state: LoopState::new(Instant::now()),
    };
    Ok((ForwarderThread { forwarder, watch, wake }, handle, exchange))
}
