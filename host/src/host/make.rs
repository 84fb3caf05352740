//! Puts ingesters together: their sources, their bound ports, their limits. Nothing runs yet.
//!
//! Runs on the thread that starts the host; sources are made on their own reader threads, all at the same time, within
//! `source_timeout`. Every problem is collected, so that a person sees them all at once.

use std::{sync::Arc, time::Instant};

use framegate_plugin_api::{ErrorKind, Parameter};
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::{Linked, StartError};
use crate::{
    budget::Account,
    control::{CommandSender, Line},
    forwarder::{Forwarder, Input, State},
    ingester::{Ingester, Limits, report::Report},
    names::StreamName,
    output::{
        dump::{Dump, DumpSettings},
        router::Router,
    },
    plugin::refusal::{self, Refusal},
    settings::{Control, IngesterSettings, Settings, StreamSettings},
    source::{
        Factory, Fault, NotCreated,
        loaded::loaded,
        queue::Space,
        reader::{Created, Reader},
    },
    wake::Wake,
};

/// A stream's reader and what it said of its source.
pub(crate) type Made = (StreamName, Reader, Created);

/// Makes every stream's source, all at the same time.
pub(super) fn make_sources(
    settings: &Settings,
    linked: &Linked,
    sources: &mut Vec<(StreamName, String)>,
    error: &mut StartError,
) -> Vec<Vec<Made>> {
    let mut started = Vec::new();
    for ingester in &settings.ingesters {
        let mut of_ingester = Vec::new();
        for stream in &ingester.streams {
            let factory = match find(stream, settings, linked) {
                Ok(factory) => factory,
                Err(refusal) => {
                    error.refuse(&stream.name, &refusal);
                    continue;
                }
            };
            sources.push((stream.name.clone(), factory.describe()));
            match Reader::start(stream.name.clone(), factory.clone(), stream.settings.clone()) {
                Ok((reader, outcome)) => of_ingester.push((stream, factory, reader, outcome)),
                Err(problem) => error.add(format!("stream {}: no thread for its source: {problem}", stream.name)),
            }
        }
        started.push(of_ingester);
    }
    let deadline = Instant::now() + settings.source_timeout;
    let mut made = Vec::new();
    for of_ingester in started {
        let mut inputs = Vec::new();
        for (stream, factory, reader, outcome) in of_ingester {
            let name = &stream.name;
            let source = factory.describe();
            match outcome.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Ok(created)) => {
                    for (parameter, value) in &stream.parameters {
                        reader.order(crate::source::reader::Order::SetParameter {
                            name: parameter.clone(),
                            value: value.as_bytes().into(),
                        });
                    }
                    inputs.push((name.clone(), reader, created));
                }
                Ok(Err(NotCreated::Refused(refusal))) => error.refuse(name, &refusal),
                Ok(Err(NotCreated::Fault(Fault::Source(problem)))) if problem.kind() == ErrorKind::Settings => {
                    error.wrong_settings(format!("stream {name}: {source}: {problem}"));
                }
                Ok(Err(NotCreated::Fault(fault))) => error.refuse(name, &refusal::not_created(&source, &fault)),
                Err(_) => error.refuse(name, &refusal::overdue(&source, settings.source_timeout)),
            }
        }
        made.push(inputs);
    }
    made
}

fn find(stream: &StreamSettings, settings: &Settings, linked: &Linked) -> Result<Arc<dyn Factory>, Refusal> {
    if let Some(factory) = linked.sources.get(&stream.source) {
        return Ok(factory.clone());
    }
    loaded(stream.name.as_str(), &stream.source, &settings.plugin_dirs, settings.allow_writable_plugins)
}

/// Puts an ingester together, down to its bound port; it does not run yet.
pub(crate) fn prepare(
    ingester: &IngesterSettings,
    made: Vec<Made>,
    settings: &Settings,
) -> Result<(Forwarder, Line), String> {
    let name = &ingester.name;
    let wake = Wake::new().map_err(|problem| format!("ingester {name}: no descriptor: {problem}"))?;
    let router = Router::bind(ingester.port, wake.clone()).map_err(|problem| {
        format!(
            "ingester {name}: port {} cannot be bound: {problem}\n  end the program that holds it, or give this ingester \
             another port in its url",
            ingester.port
        )
    })?;
    let ring = {
        let wake = wake.clone();
        Arc::new(move || wake.ring())
    };
    let limits = DumpSettings { limit_bytes: ingester.capture_limit, when_full: ingester.capture_when_full };
    let dump = Dump::start(limits, ring.clone())
        .map_err(|problem| format!("ingester {name}: no capture thread: {problem}"))?;
    let (command_sender, commands) = mpsc::channel(64);
    let (assignment_sender, assignments) = mpsc::channel(16);
    let sender = CommandSender::new(command_sender, assignment_sender, ring);
    let standalone = match &settings.control {
        Control::Standalone(standalone) => standalone.min_workers,
        Control::Redis { .. } => 0,
    };
    let limits = Limits {
        worker_timeout: ingester.worker_timeout,
        stall_timeout: ingester.stall_timeout,
        source_timeout: settings.source_timeout,
        min_workers: standalone,
    };
    let streams = made.iter().map(|(stream, _, created)| (stream.clone(), created.on_demand)).collect();
    let parameters = made
        .iter()
        .flat_map(|(stream, _, created)| created.parameters.iter().map(|one| (stream.clone(), one.clone())))
        .collect::<Vec<(StreamName, Parameter)>>();
    let heart = Ingester::new(name.clone(), streams, limits);
    let service_uuid = Uuid::new_v4();
    let space = Arc::new(Space::default());
    let freed = space.clone();
    let room = wake.clone();
    let (report, latest) = watch::channel(Report::starting(name.clone(), service_uuid, ingester));
    let line = Line {
        name: name.clone(),
        service_uuid,
        url: ingester.url(),
        streams: ingester.streams.iter().map(|stream| stream.name.clone()).collect(),
        parameters,
        commands: sender,
        report: latest,
    };
    let input =
        |((_, reader, _), stream): (Made, &StreamSettings)| Input { reader, when_full: stream.when_full, queue: None };
    let forwarder = Forwarder {
        settings: ingester.clone(),
        service_uuid,
        ingester: heart,
        inputs: made.into_iter().zip(&ingester.streams).map(input).collect(),
        router,
        wake,
        commands,
        assignments,
        report,
        dump,
        queued: Account::new(ingester.memory_limit / 2, move || freed.freed()),
        space,
        assembled: Account::new(ingester.memory_limit / 2, move || room.ring()),
        state: State::new(Instant::now()),
    };
    Ok((forwarder, line))
}
