//! The host: owns ingesters, sources and control; starts them, and stops them in the right order.
//!
//! The only place that knows all parts. Everything is checked first: sources are created and ports are bound before the
//! first thread that talks to workers runs.

mod builder;
mod error;
mod make;
mod problem;
mod start;
mod stop;
pub(crate) mod swap;
mod wait;

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::sync::watch;

pub(crate) use self::make::Linked;
#[cfg(test)]
pub(crate) use self::make::{ReadySource, prepare};
pub(crate) use self::swap::Swaps;
pub use self::{
    builder::HostBuilder,
    error::StartError,
    problem::Problem,
    swap::{
        Reload,
        receipt::{AskedBy, OldSource, ProblemSubject, SwapError, SwapReceipt, SwapSpec, SwapState},
    },
    wait::{HostFailure, Watch},
};
use crate::{
    control::{
        IngesterHandle,
        program::{Program, ScanBuilder},
        report::ControlReport,
    },
    events::{Events, News},
    ingester::report::Report,
    names::{IngesterName, StreamName, WorkerName},
    observe::{
        metrics::metrics,
        status::{Observer, Status},
    },
    plugin::identity::SourceIdentity,
    settings::Settings,
    worker::WorkerBuilder,
};

/// A running host. Dropping it shuts it down, which blocks like [`Host::shutdown`].
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/counter.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let host = host()?;
/// let url = host.urls().into_values().next().unwrap();
/// assert!(url.starts_with("tcp://localhost:"));
/// let status = host.status();
/// assert_eq!(status.sources[0].stream.as_str(), "camera");
/// assert!(status.faults.is_empty());
/// assert_eq!(host.reports()[0].name.as_str(), "camera-ingester");
/// host.shutdown();
/// # Ok(())
/// # }
/// ```
pub struct Host {
    ingesters: Vec<RunningIngester>,
    runtime: Option<tokio::runtime::Runtime>,
    control: Option<tokio::task::JoinHandle<()>>,
    /// The task of control has ended. Set by it, however it ends.
    control_ended: Arc<AtomicBool>,
    /// Waits for replaced sources; ends after the ingesters.
    keeper: tokio::task::JoinHandle<()>,
    /// What the scans of a program share; unused if something else controls the host.
    program: Arc<Program>,
    observer: Observer,
    news: News,
    control_report: watch::Receiver<ControlReport>,
    /// Control has run all configured scans. Set by its task.
    done: Arc<AtomicBool>,
    stop_control: watch::Sender<bool>,
    grace: Duration,
    swaps: Arc<Swaps>,
}

/// Swaps the sources of a running host, also on a thread that outlives a borrow of the host. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Swapper(Arc<Swaps>);

impl Swapper {
    /// As [`Host::swap`].
    ///
    /// # Errors
    /// The same.
    pub fn swap(&self, stream: &str, spec: &SwapSpec) -> Result<SwapReceipt, SwapError> {
        let asked = self.0.ask(stream, spec, AskedBy::Api)?;
        self.0.make(&asked)
    }

    /// As [`Host::reload`].
    #[must_use]
    pub fn reload(&self, settings: &Settings) -> Reload {
        self.0.reload(settings)
    }
}

/// An ingester whose thread runs.
struct RunningIngester {
    handle: IngesterHandle,
    thread: Option<thread::JoinHandle<()>>,
}

impl RunningIngester {
    fn has_ended(&self) -> bool {
        self.thread.as_ref().is_some_and(thread::JoinHandle::is_finished)
    }
}

impl Host {
    /// A host with these settings; it starts with [`HostBuilder::start`].
    pub fn builder(settings: Settings) -> HostBuilder {
        HostBuilder::new(settings)
    }

    /// The latest report of each ingester.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        self.ingesters.iter().map(|ingester| ingester.handle.report.borrow().clone()).collect()
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
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/counter.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let host = host()?;
    /// use framegate::{SwapSpec, SwapState};
    ///
    /// let spec = SwapSpec::new("counter").with_settings(serde_json::json!({ "events": 7 }));
    /// let receipt = host.swap("camera", &spec)?;
    /// assert_eq!(receipt.state, SwapState::Pending); // until the next scan starts
    ///
    /// let error = host.swap("camera", &SwapSpec::new("no-such-plugin")).unwrap_err();
    /// println!("{error}"); // what is wrong, and what to do; the stream keeps its source
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Why the swap failed; the stream keeps its source.
    pub fn swap(&self, stream: &str, spec: &SwapSpec) -> Result<SwapReceipt, SwapError> {
        self.swapper().swap(stream, spec)
    }

    /// Swaps all sources whose settings have changed, and reports which other changes need a restart. Takes at most
    /// `source_timeout` for each swap; nothing that runs is disturbed.
    pub fn reload(&self, settings: &Settings) -> Reload {
        self.swaps.reload(settings)
    }

    /// The object that swaps sources, for callers that outlive a borrow of the host.
    #[must_use]
    pub fn swapper(&self) -> Swapper {
        Swapper(self.swaps.clone())
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
    pub fn failure(&self) -> Option<HostFailure> {
        if let Some(name) = self.observer.dead().first() {
            return Some(HostFailure { what: format!("the thread of ingester {name}") });
        }
        let control_died = self.control_ended.load(Ordering::Acquire) && !self.is_done();
        control_died.then(|| HostFailure { what: "control".to_owned() })
    }

    /// The whole state of the host, as `/status` and `framegate status` show it.
    #[must_use]
    pub fn status(&self) -> Status {
        self.observer.status()
    }

    /// The metrics of this host as text in the OpenMetrics format, as `/metrics` has them. Needs no admin endpoint.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/counter.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let host = host()?;
    /// let metrics = host.metrics();
    /// assert!(metrics.contains("framegate_build") && metrics.ends_with("# EOF\n"));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn metrics(&self) -> String {
        // Writing to a String cannot fail.
        metrics(self.status()).unwrap_or_default()
    }

    /// Subscribes to the state: the subscription waits for changes, and always returns the latest.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch::new(self.news.bell(), self.observer.clone())
    }

    /// Subscribes to events, from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        self.news.events()
    }

    /// The address for the workers of each ingester, with the bound port if 0 was asked for.
    #[must_use]
    pub fn urls(&self) -> BTreeMap<IngesterName, String> {
        self.handles().map(|handle| (handle.name.clone(), handle.url.clone())).collect()
    }

    /// The bound address of the admin endpoint, if there is one.
    #[must_use]
    pub fn admin(&self) -> Option<SocketAddr> {
        self.observer.admin()
    }

    /// A scan that this program begins. The host must have been started with [`Control::Program`](crate::settings::Control).
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/counter.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let host = host()?;
    /// use std::time::Duration;
    ///
    /// use framegate::names::{StreamName, WorkerName};
    ///
    /// host.worker(WorkerName::new("w1")?).each(|event| println!("event {}", event.number()))?;
    /// let streams = [StreamName::new("camera")?];
    /// let mut scan = host.scan().streams(streams).to_all().min_workers(1).begin()?;
    /// scan.wait_ended(Duration::from_secs(10))?;
    /// assert_eq!(scan.finish(Duration::from_secs(10))?.streams["camera"].read, 3);
    /// # Ok(())
    /// # }
    /// ```
    pub fn scan(&self) -> ScanBuilder {
        ScanBuilder::new(self.program.clone(), self.control_report.borrow().driver)
    }

    /// A worker inside this program, which gets events without sockets. Events are assigned to it, or dealt, by its name.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/counter.rs"));
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let host = host()?;
    /// use std::{sync::mpsc, time::Duration};
    ///
    /// use framegate::names::WorkerName;
    ///
    /// let (sender, received) = mpsc::channel();
    /// let worker = host.worker(WorkerName::new("w1")?).limit(16 << 20).each(move |event| {
    ///     for stream in event.streams() {
    ///         let bytes: usize = stream.frames().map(<[u8]>::len).sum();
    ///         sender.send((stream.stream.clone(), bytes)).expect("the other end is open");
    ///     }
    /// })?;
    /// let mut scan = host.scan().begin()?;
    /// scan.wait_ended(Duration::from_secs(10))?;
    /// scan.finish(Duration::from_secs(10))?;
    /// host.shutdown();
    /// worker.wait(Duration::from_secs(10))?; // the function was called for every event
    /// assert_eq!(received.iter().map(|(_, bytes)| bytes).sum::<usize>(), 3);
    /// # Ok(())
    /// # }
    /// ```
    pub fn worker(&self, name: WorkerName) -> WorkerBuilder {
        WorkerBuilder::new(name, self.handles().cloned().collect())
    }

    fn handles(&self) -> impl Iterator<Item = &IngesterHandle> {
        self.ingesters.iter().map(|ingester| &ingester.handle)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("sources", &self.sources()).finish_non_exhaustive()
    }
}
