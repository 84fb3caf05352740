//! The host: owns ingesters, sources and control; starts them, and stops them in the right order.
//!
//! The only place that knows all parts. Everything is checked first: sources are created and ports are bound before the
//! first thread that talks to workers runs.

mod error;
mod make;
mod stop;
pub(crate) mod swap;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::sync::{mpsc, watch};

pub use self::{
    error::StartError,
    swap::{
        Reload,
        receipt::{AskedBy, OldSource, ProblemSubject, SwapError, SwapReceipt, SwapSpec, SwapState},
    },
};
pub(crate) use self::{
    make::{ReadySource, prepare},
    swap::Swaps,
};
use crate::{
    control::{CommandSender, Driver, IngesterHandle, report::ControlReport},
    forwarder::Forwarder,
    ingester::report::Report,
    names::StreamName,
    observe::{admin::Admin, status::Observer},
    plugin::identity::SourceIdentity,
    settings::{IngesterSettings, Settings, StreamSettings},
    source::factory::{Factory, linked},
    threads,
};

/// Sources that are compiled into the program; they take precedence over plugin files.
#[derive(Debug, Default, Clone)]
pub struct Linked {
    sources: HashMap<String, Arc<Factory>>,
}

impl Linked {
    /// Contains no linked source.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a source under a name.
    #[must_use]
    pub fn with<S: framegate_plugin_api::Source>(mut self, name: &str) -> Self {
        self.sources.insert(name.to_owned(), linked::<S>());
        self
    }
}

/// A running host. Dropping it shuts it down, which blocks like [`Host::shutdown`].
pub struct Host {
    ingesters: Vec<RunningIngester>,
    runtime: Option<tokio::runtime::Runtime>,
    control: Option<tokio::task::JoinHandle<()>>,
    /// Waits for replaced sources; ends after the ingesters.
    keeper: tokio::task::JoinHandle<()>,
    control_report: watch::Receiver<ControlReport>,
    /// Control has run all configured scans. Set by its task.
    done: Arc<AtomicBool>,
    stop_control: watch::Sender<bool>,
    grace: Duration,
    swaps: Arc<Swaps>,
}

/// An ingester whose thread runs.
struct RunningIngester {
    commands: CommandSender,
    report: watch::Receiver<Report>,
    thread: Option<thread::JoinHandle<()>>,
}

impl RunningIngester {
    fn has_ended(&self) -> bool {
        self.thread.as_ref().is_some_and(thread::JoinHandle::is_finished)
    }
}

/// An ingester whose thread is started and waits until everything else has started.
struct WaitingIngester {
    go: std::sync::mpsc::Sender<()>,
    ingester: RunningIngester,
}

impl WaitingIngester {
    fn new(forwarder: Forwarder, handle: &IngesterHandle) -> Result<Self, String> {
        let (go, word) = std::sync::mpsc::channel();
        let named = tracing::error_span!(parent: None, "ingester", ingester = %handle.name);
        let life = move || {
            let _named = named.entered();
            if word.recv().is_ok() {
                forwarder.run();
            }
        };
        let thread = thread::Builder::new().name(format!("forward {}", handle.name)).spawn(life);
        let thread = thread
            .map_err(|problem| format!("ingester {}: no thread: {problem}\n  {}", handle.name, threads::REMEDY))?;
        let (commands, report) = (handle.commands.clone(), handle.report.clone());
        Ok(Self { go, ingester: RunningIngester { commands, report, thread: Some(thread) } })
    }

    fn run(self) -> RunningIngester {
        // The thread waits for this message.
        let _ = self.go.send(());
        self.ingester
    }

    /// Ends the thread, so that the port is free again.
    fn abandon(self) {
        drop(self.go);
        let _ = self.ingester.thread.map(thread::JoinHandle::join);
    }
}

/// The runtime of control and the admin endpoint. Tokio panics if it cannot start its first thread, and never runs the
/// tasks of a second one that cannot start. It also panics when it needs a thread for a file or the address of a name,
/// has none and gets none: so one such thread is started at once, and none of them ends.
fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let built = threads::can_be_had(CONTROL_THREADS + 1).and_then(|()| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(CONTROL_THREADS).thread_name("control").enable_all();
        builder.max_blocking_threads(MOST_BLOCKING).thread_keep_alive(FOR_EVER);
        let runtime = builder.build()?;
        runtime.spawn_blocking(|| {});
        Ok(runtime)
    });
    built.map_err(|problem| format!("control: no thread: {problem}\n  {}", threads::REMEDY))
}

/// Number of threads that control and the admin endpoint share.
const CONTROL_THREADS: usize = 2;
/// Maximum number of threads for files and names; more than one only if a file system or name server hangs.
const MOST_BLOCKING: usize = 8;
const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);

impl Host {
    /// Checks everything, then starts everything.
    ///
    /// Blocks the calling thread until every source is created, at most for `source_timeout`; with `probe` twice as
    /// long. It may be called inside an async runtime.
    ///
    /// # Errors
    /// All problems at once; then nothing runs, and nothing was published. Settings are checked first, like those of a file.
    pub fn start(settings: Settings, linked: Linked) -> Result<Self, StartError> {
        settings.validate()?;
        let mut error = StartError::new();
        let made = make::make_sources(&settings, &linked, &mut error);
        let known = |ready: &ReadySource| (ready.reader.shared.feed(), ready.parameters.clone().unwrap_or_default());
        let feeds: Vec<_> = made.iter().flatten().map(known).collect();
        let (to_host, notices) = mpsc::unbounded_channel();
        let (mut ready, mut handles, mut exchanges) = (Vec::new(), Vec::new(), Vec::new());
        for (ingester, made) in settings.ingesters.iter().zip(made) {
            let prepared =
                prepare(ingester, made, &settings, to_host.clone()).and_then(|(forwarder, handle, exchange)| {
                    ready.push(WaitingIngester::new(forwarder, &handle)?);
                    handles.push(handle);
                    exchanges.push(exchange);
                    Ok(())
                });
            if let Err(problem) = prepared {
                error.add(problem);
            }
        }
        let driver = Driver::new(&settings.control).map_err(|problem| error.add(problem));
        let bind = |address| Admin::bind(address, settings.admin_search).map_err(|problem| error.add(problem)).ok();
        let admin = settings.admin.and_then(bind);
        let runtime = runtime().map_err(|problem| error.add(problem));
        let (true, Ok(driver)) = (error.problems().is_empty(), driver) else {
            ready.into_iter().for_each(WaitingIngester::abandon);
            // Dropping it here would panic inside another runtime.
            runtime.into_iter().for_each(tokio::runtime::Runtime::shutdown_background);
            return Err(error);
        };
        let Ok(runtime) = runtime else { return Err(error) };
        let ingesters = ready.into_iter().map(WaitingIngester::run).collect();
        let (stop_control, stop) = watch::channel(false);
        let done = Arc::new(AtomicBool::new(false));
        let (report, control_report) = watch::channel(driver.report());
        let swaps = Arc::new(Swaps::new(&settings, linked, exchanges, feeds));
        let keeper = runtime.spawn(swap::keep(swaps.clone(), notices));
        announce(&settings.ingesters, &swaps.sources());
        if let Some(address) = settings.admin.filter(|address| !address.ip().is_loopback()) {
            tracing::warn!(
                "admin: other machines can reach {address}, and it asks for no password: it shows names, addresses \
                 and counts (admin_swap sets who may swap sources); use 127.0.0.1 for this machine alone"
            );
        }
        if let Some(admin) = admin {
            let address = admin.address();
            if let (Some(wanted), Some(address)) = (settings.admin, address)
                && wanted != address
            {
                tracing::info!(
                    "admin: {wanted} is taken; status and metrics are at {address}, where `framegate status` looks, too"
                );
            }
            let reports = handles.iter().map(|handle: &IngesterHandle| handle.report.clone()).collect();
            let observer = Observer::new(address, swaps.clone(), reports, control_report.clone());
            runtime.spawn(admin.serve(observer, settings.admin_swap));
        }
        let control = {
            let done = done.clone();
            runtime.spawn(async move {
                let ends_by_itself = driver.ends_by_itself();
                driver.run(handles, report, stop).await;
                done.store(ends_by_itself, Ordering::Release);
            })
        };
        Ok(Self {
            ingesters,
            runtime: Some(runtime),
            control: Some(control),
            keeper,
            control_report,
            done,
            stop_control,
            grace: settings.shutdown_grace,
            swaps,
        })
    }

    /// Creates all sources, and returns the problems; nothing runs.
    pub(crate) fn source_problems(settings: &Settings, linked: &Linked) -> Vec<String> {
        let mut error = StartError::new();
        drop(make::make_sources(settings, linked, &mut error));
        error.problems().to_vec()
    }

    /// The latest report of each ingester.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        self.ingesters.iter().map(|ingester| ingester.report.borrow().clone()).collect()
    }

    /// The state of control: whether Redis is reachable, and which of its messages could not be used.
    #[must_use]
    pub fn control_report(&self) -> ControlReport {
        self.control_report.borrow().clone()
    }

    /// The source of each stream.
    #[must_use]
    pub fn sources(&self) -> BTreeMap<StreamName, SourceIdentity> {
        self.swaps.sources()
    }

    /// Switches a stream to another source from the next scan on, without touching anything that runs.
    ///
    /// The source is found, checked, loaded and created before this returns; that takes milliseconds for most plugins,
    /// and at most `source_timeout`. A running scan continues with its source. If two swaps wait for the same scan, the
    /// later one wins. [`Host::swap_receipt`] returns the outcome.
    ///
    /// # Errors
    /// Why the swap failed; the stream keeps its source.
    pub fn swap(&self, stream: &str, spec: &SwapSpec) -> Result<SwapReceipt, SwapError> {
        let asked = self.swaps.ask(stream, spec, AskedBy::Api)?;
        self.swaps.make(&asked)
    }

    /// Swaps all sources whose settings have changed, and reports which other changes need a restart. Takes at most
    /// `source_timeout` for each swap; nothing that runs is disturbed.
    pub fn reload(&self, settings: &Settings) -> Reload {
        self.swaps.reload(settings)
    }

    /// The object that swaps sources, for callers that outlive a borrow of the host.
    pub(crate) fn swapper(&self) -> Arc<Swaps> {
        self.swaps.clone()
    }

    /// The receipts of the latest swaps, oldest first.
    #[must_use]
    pub fn swaps(&self) -> Vec<SwapReceipt> {
        self.swaps.receipts()
    }

    /// The current receipt of one swap; `None` if it is not among the latest hundred.
    #[must_use]
    pub fn swap_receipt(&self, number: u64) -> Option<SwapReceipt> {
        self.swaps.receipt(number)
    }

    /// Whether control has finished: standalone, after the configured number of scans.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// The thread or task of the host that has died, if any. That is a bug; the rest continues, but the program should
    /// be restarted.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let died = |what: &str| Some(format!("{what} has died; this is a bug, the log may say more"));
        for ingester in &self.ingesters {
            if ingester.has_ended() {
                return died(&format!("the thread of ingester {}", ingester.report.borrow().name));
            }
        }
        match &self.control {
            Some(control) if control.is_finished() && !self.is_done() => died("control"),
            _ => None,
        }
    }
}

/// Logs one line for each ingester, before anything starts.
fn announce(ingesters: &[IngesterSettings], sources: &BTreeMap<StreamName, SourceIdentity>) {
    for ingester in ingesters {
        let fed = |stream: &StreamSettings| {
            let source = sources.get(&stream.name).map_or_else(|| "nothing".to_owned(), ToString::to_string);
            format!("{} from {source}", stream.name)
        };
        let streams: Vec<_> = ingester.streams.iter().map(fed).collect();
        tracing::info!("ingester {} serves workers at {}: {}", ingester.name, ingester.url(), streams.join("; "));
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("sources", &self.sources()).finish_non_exhaustive()
    }
}
