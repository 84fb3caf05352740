//! What a reader's thread shares with its handle and with the source's instance: the source itself, the stop signal, and
//! the state of the current call.
//!
//! Created on the thread that starts a reader; read and rung by any thread. Holds no lock over a call of the source.

use std::{
    collections::BTreeMap,
    os::fd::BorrowedFd,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use framegate_plugin_api::{HostServices, LogLevel};
use tracing::level_filters::LevelFilter;

use super::{Feed, Ledger, StrayCalls};
use crate::{names::StreamName, settings::WhenFull, wake::Wake};

/// See the module.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) stream: StreamName,
    /// Names the stream in log lines: of the reader thread, and of the source's own threads.
    pub(super) named: tracing::Span,
    /// The source. Locked only for short accesses, never over a call.
    feed: Mutex<Feed>,
    /// Whether the source is asked for each event.
    on_demand: AtomicBool,
    /// Whether the source has a process of its own, whose calls have their own limit.
    is_apart: AtomicBool,
    /// Counts the frames of all instances.
    ledger: OnceLock<&'static Ledger>,
    /// The stop signal: rung while an order waits that ends the run.
    pub(super) wake: Wake,
    /// The current call and its start in ms of `epoch` + 1; 0: no call.
    busy_since: AtomicU64,
    epoch: Instant,
    /// Number of events that the source has given, in all its runs.
    events: AtomicU64,
    /// Number of replacement instances that were created, and that could not be created, since they were last read.
    renewals: [AtomicU64; 2],
    /// Values that the source refused, by parameter, until it accepts one. Locked only for short accesses, never over a call.
    refused: Mutex<BTreeMap<String, String>>,
}

impl Shared {
    pub(super) fn new(feed: Feed) -> std::io::Result<Self> {
        let stream = feed.settings.name.clone();
        Ok(Self {
            named: tracing::error_span!(parent: None, "stream", %stream),
            stream,
            is_apart: AtomicBool::new(feed.factory.is_apart()),
            feed: Mutex::new(feed),
            on_demand: AtomicBool::new(false),
            ledger: OnceLock::new(),
            wake: Wake::new()?,
            busy_since: AtomicU64::new(0),
            epoch: Instant::now(),
            events: AtomicU64::new(0),
            renewals: Default::default(),
            refused: Mutex::default(),
        })
    }

    /// The source.
    pub(crate) fn feed(&self) -> Feed {
        self.lock().clone()
    }

    /// What happens when the stream's share of memory is full.
    pub(crate) fn when_full(&self) -> WhenFull {
        self.lock().settings.when_full
    }

    /// The reader runs another source from now on. [reader thread]
    pub(super) fn set_feed(&self, feed: Feed) {
        self.is_apart.store(feed.factory.is_apart(), Ordering::Relaxed); // see `begin_call`
        *self.lock() = feed;
    }

    fn lock(&self) -> MutexGuard<'_, Feed> {
        self.feed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the source answers `trigger` instead of `next`. Known when it is ready.
    pub(crate) fn is_on_demand(&self) -> bool {
        self.on_demand.load(Ordering::Relaxed) // written before the message that says that it is ready
    }

    /// The source is ready, or an instance was created. [reader thread]
    pub(super) fn set_on_demand(&self, on_demand: bool) {
        self.on_demand.store(on_demand, Ordering::Relaxed); // see `is_on_demand`
    }

    /// Name, version and file of the source.
    pub(crate) fn source(&self) -> String {
        self.lock().factory.identity().to_string()
    }

    /// Counts the frames that the instances gave and that were returned; `None` before the first.
    pub(crate) fn ledger(&self) -> Option<&'static Ledger> {
        self.ledger.get().copied()
    }

    /// An instance was created, which counts its frames there. [reader thread]
    pub(super) fn set_ledger(&self, ledger: &'static Ledger) {
        // A later instance counts in the ledger of the first.
        let _ = self.ledger.set(ledger);
    }

    /// A call of the source begins. [reader thread]
    pub(super) fn begin_call(&self) {
        if self.is_apart.load(Ordering::Relaxed) {
            return; // only this thread writes it
        }
        self.busy_since.store(self.now_ms(), Ordering::Relaxed); // for people and time limits, guards nothing
    }

    /// The call has returned. [reader thread]
    pub(super) fn end_call(&self) {
        self.busy_since.store(0, Ordering::Relaxed); // see `begin_call`
    }

    /// How long the current call has been running, if that is longer than `limit`.
    pub(crate) fn overdue(&self, limit: Duration) -> Option<Duration> {
        let since = self.busy_since.load(Ordering::Relaxed); // see `begin_call`
        let busy = (since != 0).then(|| Duration::from_millis(self.now_ms().saturating_sub(since)));
        busy.filter(|busy| *busy > limit)
    }

    /// The source has given events. [reader thread]
    pub(super) fn gave(&self, events: usize) {
        self.events.fetch_add(events as u64, Ordering::Relaxed); // statistics for people; guards nothing
    }

    /// Number of events that the source has given, in all its runs.
    pub(crate) fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed) // see `gave`
    }

    /// A new instance was needed, and was created or not. [reader thread]
    pub(super) fn renewed(&self, is_made: bool) {
        self.renewals[usize::from(!is_made)].fetch_add(1, Ordering::Relaxed); // statistics for people; guards nothing
    }

    /// Number of instances that replaced others after a fault, and of those that could not be created, since the last call.
    pub(crate) fn take_renewals(&self) -> [u64; 2] {
        self.renewals.each_ref().map(|count| count.swap(0, Ordering::Relaxed)) // see `renewed`
    }

    /// The source has refused or accepted the value of a parameter. [reader thread]
    pub(super) fn judged(&self, parameter: String, refused: Option<String>) {
        let mut known = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        match refused {
            Some(why) => drop(known.insert(parameter, why)),
            None => drop(known.remove(&parameter)),
        }
    }

    /// Parameters whose last value the source refused, each with the reason; the previous value stays.
    pub(crate) fn refused(&self) -> Vec<String> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let line = |(name, why)| format!("stream {}: the source refuses the value of {name}: {why}", self.stream);
        refused.iter().map(line).collect()
    }

    fn now_ms(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64 + 1
    }
}

/// The host services of one instance: it releases them when it ends.
pub(super) struct InstanceServices {
    pub(super) shared: Arc<Shared>,
    /// The callback for calls after the release.
    pub(super) stray_calls: Option<StrayCalls>,
}

impl HostServices for InstanceServices {
    fn log(&self, level: LogLevel, message: &str) {
        let _named = self.shared.named.enter();
        match level {
            LogLevel::Error => tracing::error!("{message}"),
            LogLevel::Warn => tracing::warn!("{message}"),
            LogLevel::Info => tracing::info!("{message}"),
            LogLevel::Debug => tracing::debug!("{message}"),
        }
    }
    fn stop_requested(&self) -> bool {
        self.shared.wake.is_rung()
    }
    fn log_level(&self) -> LogLevel {
        match LevelFilter::current() {
            LevelFilter::OFF | LevelFilter::ERROR => LogLevel::Error,
            LevelFilter::WARN => LogLevel::Warn,
            LevelFilter::INFO => LogLevel::Info,
            _ => LogLevel::Debug,
        }
    }
    fn stop_descriptor(&self) -> BorrowedFd<'_> {
        self.shared.wake.descriptor()
    }
    fn stray_calls(&self) -> Option<StrayCalls> {
        self.stray_calls.clone()
    }
}
