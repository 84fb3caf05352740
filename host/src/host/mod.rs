//! The host: owns ingesters, sources and control; starts them, and stops them in the right order.
//!
//! The one place that knows all rooms. Nothing starts before everything was checked: sources are made, ports are bound, and
//! only then the first thread that talks to workers runs.

mod error;
mod make;
mod stop;
mod swap;

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

#[cfg(test)]
pub(crate) use self::swap::Feed;
pub use self::{
    error::StartError,
    swap::{AskedBy, OldSource, Reload, SwapError, SwapReceipt, SwapSpec, SwapState},
};
pub(crate) use self::{make::prepare, swap::Swaps};
use crate::{
    control::{CommandSender, Driver, Line, report::ControlReport},
    forwarder::Forwarder,
    ingester::report::Report,
    names::StreamName,
    observe::{admin::Admin, status::Observed},
    plugin::identity::SourceIdentity,
    settings::{IngesterSettings, Settings, StreamSettings},
    source::Factory,
    threads,
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

/// A running host. Dropping it shuts it down, which blocks as [`Host::shutdown`] does.
pub struct Host {
    ingesters: Vec<Running>,
    runtime: Option<tokio::runtime::Runtime>,
    control: Option<tokio::task::JoinHandle<()>>,
    control_report: watch::Receiver<ControlReport>,
    /// Control has run all scans that it should. Set by its task.
    done: Arc<AtomicBool>,
    stop_control: watch::Sender<bool>,
    grace: Duration,
    swaps: Arc<Swaps>,
}

struct Running {
    commands: CommandSender,
    report: watch::Receiver<Report>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Running {
    fn has_ended(&self) -> bool {
        self.thread.as_ref().is_some_and(thread::JoinHandle::is_finished)
    }
}

/// An ingester whose thread is there and waits for the word that nothing failed.
struct Ready {
    go: std::sync::mpsc::Sender<()>,
    running: Running,
}

impl Ready {
    fn new(forwarder: Forwarder, line: &Line) -> Result<Self, String> {
        let (go, word) = std::sync::mpsc::channel();
        let life = move || {
            if word.recv().is_ok() {
                forwarder.run();
            }
        };
        let thread = thread::Builder::new().name(format!("forward {}", line.name)).spawn(life);
        let thread =
            thread.map_err(|problem| format!("ingester {}: no thread: {problem}\n  {}", line.name, threads::REMEDY))?;
        let (commands, report) = (line.commands.clone(), line.report.clone());
        Ok(Self { go, running: Running { commands, report, thread: Some(thread) } })
    }

    fn run(self) -> Running {
        // The thread waits for this alone.
        let _ = self.go.send(());
        self.running
    }

    /// Ends the thread, so that the port is free again.
    fn abandon(self) {
        drop(self.go);
        let _ = self.running.thread.map(thread::JoinHandle::join);
    }
}

/// The runtime of control and the admin endpoint. Tokio panics without a first thread, and never serves what is the second's.
fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let built = threads::can_be_had(CONTROL_THREADS).and_then(|()| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(CONTROL_THREADS).thread_name("control").enable_all().build()
    });
    built.map_err(|problem| format!("control: no thread: {problem}\n  {}", threads::REMEDY))
}

/// Control and the admin endpoint share them.
const CONTROL_THREADS: usize = 2;

impl Host {
    /// Checks everything, then starts everything.
    ///
    /// Blocks the calling thread until every source is made, at most for `source_timeout`; with `probe` twice as long. It may
    /// be called inside an async runtime.
    ///
    /// # Errors
    /// All problems at once; nothing runs then, and nothing was published. Settings are checked first, as those of a file are.
    pub fn start(settings: Settings, linked: Linked) -> Result<Self, StartError> {
        settings.validate()?;
        let mut error = StartError::new();
        let made = make::make_sources(&settings, &linked, &mut error);
        let feeds: Vec<_> = made.iter().flatten().map(|(_, feed)| feed.clone()).collect();
        let (told, tells) = mpsc::unbounded_channel();
        let (mut ready, mut lines, mut exchanges) = (Vec::new(), Vec::new(), Vec::new());
        for (ingester, made) in settings.ingesters.iter().zip(made) {
            let prepared = prepare(ingester, made, &settings, told.clone()).and_then(|(forwarder, line, exchange)| {
                ready.push(Ready::new(forwarder, &line)?);
                lines.push(line);
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
            ready.into_iter().for_each(Ready::abandon);
            // To drop it would panic inside another runtime.
            runtime.into_iter().for_each(tokio::runtime::Runtime::shutdown_background);
            return Err(error);
        };
        let Ok(runtime) = runtime else { return Err(error) };
        let ingesters = ready.into_iter().map(Ready::run).collect();
        let (stop_control, stop) = watch::channel(false);
        let done = Arc::new(AtomicBool::new(false));
        let (report, control_report) = watch::channel(driver.report());
        let swaps = Arc::new(Swaps::new(&settings, linked, exchanges, told, feeds.into_iter()));
        runtime.spawn(swap::keep(swaps.clone(), tells));
        announce(&settings.ingesters, &swaps.sources());
        if let Some(address) = settings.admin.filter(|address| !address.ip().is_loopback()) {
            tracing::warn!(
                "admin: {address} can be reached from other machines, and asks nobody for a password: it tells names, addresses and \
                 counts (admin_swap says who may swap sources); 127.0.0.1 is for this machine alone"
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
            let reports = lines.iter().map(|line: &Line| line.report.clone()).collect();
            let observed = Observed::new(address, swaps.clone(), reports, control_report.clone());
            runtime.spawn(admin.serve(observed, settings.admin_swap));
        }
        let control = {
            let done = done.clone();
            runtime.spawn(async move {
                let ends_by_itself = driver.ends_by_itself();
                driver.run(lines, report, stop).await;
                done.store(ends_by_itself, Ordering::Release);
            })
        };
        Ok(Self {
            ingesters,
            runtime: Some(runtime),
            control: Some(control),
            control_report,
            done,
            stop_control,
            grace: settings.shutdown_grace,
            swaps,
        })
    }

    /// The latest picture of each ingester.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        self.ingesters.iter().map(|ingester| ingester.report.borrow().clone()).collect()
    }

    /// How control fares: whether Redis is there, and what of its words could not be used.
    #[must_use]
    pub fn control_report(&self) -> ControlReport {
        self.control_report.borrow().clone()
    }

    /// Which source feeds each stream.
    #[must_use]
    pub fn sources(&self) -> BTreeMap<StreamName, SourceIdentity> {
        self.swaps.sources()
    }

    /// Lets another source feed a stream from the next scan on, without touching anything that runs.
    ///
    /// The source is found, checked, loaded and made before this returns; that takes milliseconds for most plugins, and at
    /// most `source_timeout`. A running scan goes on with the source that it has. Of two swaps that wait for the same scan
    /// the later one wins. What comes of it is in [`Host::swap_receipt`].
    ///
    /// # Errors
    /// Why there is no such source; the stream has the one that it had.
    pub fn swap(&self, stream: &str, spec: &SwapSpec) -> Result<SwapReceipt, SwapError> {
        let asked = self.swaps.ask(stream, spec, AskedBy::Api)?;
        self.swaps.make(&asked)
    }

    /// Swaps every source of which changed settings say something new, and tells what else is new in them and needs a
    /// restart. Takes at most `source_timeout` for each swap; nothing that runs is disturbed.
    pub fn reload(&self, settings: &Settings) -> Reload {
        self.swaps.reload(settings)
    }

    /// What swaps sources, for whoever outlives a borrow of the host.
    pub(crate) fn swapper(&self) -> Arc<Swaps> {
        self.swaps.clone()
    }

    /// The receipts of the latest swaps, the oldest first.
    #[must_use]
    pub fn swaps(&self) -> Vec<SwapReceipt> {
        self.swaps.receipts()
    }

    /// The receipt of one swap as it is now; none if it is not among the latest hundred.
    #[must_use]
    pub fn swap_receipt(&self, number: u64) -> Option<SwapReceipt> {
        self.swaps.receipt(number)
    }

    /// Whether control has come to its end: standalone, after the configured number of scans.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// Whether a thread or task of the host has died, and which. That is a bug; the rest goes on, but somebody should know
    /// and start the program again.
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

/// One line for each ingester, before anything happens.
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
