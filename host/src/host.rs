//! The host: owns ingesters, sources and control; starts them, and stops them in the right order.
//!
//! The one place that knows all rooms. Nothing starts before everything was checked: sources are made, ports are bound, and
//! only then the first thread that talks to workers runs.

use std::{
    collections::HashMap,
    fmt,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use framegate_plugin_api::Parameter;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use crate::{
    budget::Account,
    control::{self, CommandSender, Line},
    forwarder::{Forwarder, Input, State},
    ingester::{Ingester, Limits, command::Command, report::Report},
    names::StreamName,
    output::{
        dump::{Dump, DumpSettings},
        router::Router,
    },
    settings::{Control, IngesterSettings, Settings},
    source::{
        Factory,
        queue::Space,
        reader::{Created, Reader},
    },
    wake::Wake,
};

/// Sources that are compiled into the program; found by name before plugin files are.
#[derive(Debug, Default, Clone)]
pub struct Linked {
    sources: HashMap<String, Arc<dyn Factory>>,
}

impl Linked {
    /// No linked source.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a source under a name.
    #[must_use]
    pub fn with<S: framegate_plugin_api::Source>(mut self, name: &str) -> Self {
        self.sources.insert(name.to_owned(), crate::source::linked::linked::<S>());
        self
    }
}

/// Why a host did not start: every problem that was found, each a few lines for a person.
#[derive(Debug)]
pub struct StartError {
    problems: Vec<String>,
    plugin: bool,
}

impl StartError {
    /// Every problem.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Whether a plugin was refused.
    #[must_use]
    pub fn is_plugin_refused(&self) -> bool {
        self.plugin
    }

    fn new() -> Self {
        Self { problems: Vec::new(), plugin: false }
    }

    fn add(&mut self, problem: String) {
        self.problems.push(problem);
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl std::error::Error for StartError {}

/// A running host. Dropping it shuts it down.
pub struct Host {
    ingesters: Vec<Running>,
    runtime: Option<tokio::runtime::Runtime>,
    control: Option<tokio::task::JoinHandle<()>>,
    stop_control: watch::Sender<bool>,
    grace: Duration,
    sources: Vec<(StreamName, String)>,
}

struct Running {
    commands: CommandSender,
    report: watch::Receiver<Report>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Host {
    /// Checks everything, then starts everything.
    ///
    /// # Errors
    /// All problems at once; nothing runs then, and nothing was published.
    pub fn start(settings: Settings, linked: Linked) -> Result<Self, StartError> {
        let mut error = StartError::new();
        let mut sources = Vec::new();
        let inputs = make_sources(&settings, &linked, &mut sources, &mut error);
        let mut prepared = Vec::new();
        for (ingester, inputs) in settings.ingesters.iter().zip(inputs) {
            match prepare(ingester, inputs, &settings) {
                Ok(ready) => prepared.push(ready),
                Err(problem) => error.add(problem),
            }
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("control")
            .enable_all()
            .build()
            .map_err(|problem| error.add(format!("the control runtime does not start: {problem}")));
        let (true, Ok(runtime)) = (error.problems.is_empty(), runtime) else { return Err(error) };
        let (stop_control, stop) = watch::channel(false);
        let mut ingesters = Vec::new();
        let mut lines = Vec::new();
        for (forwarder, line) in prepared {
            let (commands, report) = (line.commands.clone(), line.report.clone());
            let name = format!("forward {}", line.name);
            match thread::Builder::new().name(name).spawn(move || forwarder.run()) {
                Ok(thread) => ingesters.push(Running { commands, report, thread: Some(thread) }),
                Err(problem) => error.add(format!("ingester {}: no thread: {problem}", line.name)),
            }
            lines.push(line);
        }
        let control = match settings.control {
            Control::Redis { url, build_meta } => runtime.spawn(control::redis::run(url, build_meta, lines, stop)),
            Control::Standalone(standalone) => runtime.spawn(control::standalone::run(standalone, lines, stop)),
        };
        Ok(Self {
            ingesters,
            runtime: Some(runtime),
            control: Some(control),
            stop_control,
            grace: settings.shutdown_grace,
            sources,
        })
    }

    /// The latest picture of each ingester.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        self.ingesters.iter().map(|ingester| ingester.report.borrow().clone()).collect()
    }

    /// Where the latest pictures can be had at any time.
    pub(crate) fn report_receivers(&self) -> Vec<watch::Receiver<Report>> {
        self.ingesters.iter().map(|ingester| ingester.report.clone()).collect()
    }

    /// Which source feeds each stream: name, version and file.
    #[must_use]
    pub fn sources(&self) -> &[(StreamName, String)] {
        &self.sources
    }

    /// The runtime of control, for tasks of the program's own that belong to the host's life.
    pub(crate) fn runtime(&self) -> &tokio::runtime::Handle {
        self.runtime.as_ref().expect("it is taken in shutdown only, which consumes the host").handle()
    }

    /// Whether control has come to its end: standalone, after the configured number of scans.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.control.as_ref().is_none_or(tokio::task::JoinHandle::is_finished)
    }

    /// Delivers what is queued for at most `shutdown_grace`, then stops sources, closes captures, and removes what was
    /// published. Takes at most the grace and a second, whatever plugins and disks do.
    pub fn shutdown(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        let deadline = Instant::now() + self.grace + Duration::from_millis(600);
        let grace = self.grace;
        runtime.block_on(async {
            for ingester in &self.ingesters {
                let order = ingester.commands.command(Command::Stop { grace });
                let _ = tokio::time::timeout_at(deadline.into(), order).await;
            }
        });
        for ingester in &mut self.ingesters {
            let Some(thread) = ingester.thread.take() else { continue };
            while !thread.is_finished() && Instant::now() < deadline {
                thread::park_timeout(Duration::from_millis(2));
            }
            if thread.is_finished() {
                let _ = thread.join();
            }
        }
        self.stop_control.send_replace(true);
        if let Some(control) = self.control.take() {
            let _ = runtime.block_on(async { tokio::time::timeout(Duration::from_millis(300), control).await });
        }
        runtime.shutdown_timeout(Duration::from_millis(100));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("sources", &self.sources).finish_non_exhaustive()
    }
}

/// A stream's reader and what it said of its source.
type Made = (StreamName, Reader, Created);

/// Makes every stream's source, all at the same time.
fn make_sources(
    settings: &Settings,
    linked: &Linked,
    sources: &mut Vec<(StreamName, String)>,
    error: &mut StartError,
) -> Vec<Vec<Made>> {
    let mut started = Vec::new();
    for ingester in &settings.ingesters {
        let mut of_ingester = Vec::new();
        for stream in &ingester.streams {
            let factory = match find(&stream.source, settings, linked) {
                Ok(factory) => factory,
                Err(refusal) => {
                    error.plugin = true;
                    error.add(format!("stream {}: {refusal}", stream.name));
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
                Ok(Err(fault)) => error.add(format!("stream {name}: {source} does not start: {fault}")),
                Err(_) => error.add(format!(
                    "stream {name}: {source} does not start: create did not return within {:?} (source_timeout)",
                    settings.source_timeout
                )),
            }
        }
        made.push(inputs);
    }
    made
}

fn find(source: &str, settings: &Settings, linked: &Linked) -> Result<Arc<dyn Factory>, String> {
    if let Some(factory) = linked.sources.get(source) {
        return Ok(factory.clone());
    }
    crate::plugin::factory(source, &settings.plugin_dirs, settings.allow_writable_plugins)
        .map_err(|refusal| refusal.to_string())
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
    let input = |((_, reader, _), stream): (Made, &crate::settings::StreamSettings)| Input {
        reader,
        when_full: stream.when_full,
        queue: None,
    };
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
