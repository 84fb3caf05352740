//! Runs a source without a host, for tests by its author.
//!
//! [`Trial`] creates a source from JSON as a host would, opens runs and pulls events; [`TestHost`] keeps the source's
//! log lines and can request a stop. Everything happens on the test's thread, as it does on the host's reader thread.
//! Every wait has a limit.
//!
//! The boundary is not tested: panics, layout, threads left behind. `framegate plugin check` tests it.

use std::{
    fmt,
    io::Write as _,
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    Deadline, Event, EventSink, HostContext, HostServices, LogLevel, Progress, Run, RunStatus, Source, SourceError,
    settings,
};

/// A source under test, and its open run.
pub struct Trial<S: Source> {
    /// Dropped before the source, as in a host.
    run: Option<S::Run>,
    source: S,
    host: Arc<TestHost>,
}

impl<S: Source> Trial<S> {
    /// Creates the source from settings in JSON, as in a configuration file.
    ///
    /// # Errors
    /// The source's error about its settings.
    pub fn create(settings: &str) -> Result<Self, SourceError> {
        let (host, context) = TestHost::new();
        let source = S::create(settings::from_json(settings)?, context)?;
        Ok(Self { run: None, source, host })
    }

    /// The source, for its parameters.
    pub fn source(&mut self) -> &mut S {
        &mut self.source
    }

    /// The host that the source sees.
    #[must_use]
    pub fn host(&self) -> &TestHost {
        &self.host
    }

    /// Opens the run of a scan; an earlier one is dropped first.
    ///
    /// # Errors
    /// The source's error.
    pub fn open(&mut self) -> Result<&mut S::Run, SourceError> {
        self.run = None;
        Ok(self.run.insert(self.source.open()?))
    }

    /// Makes one call of [`SourceRun::next`](crate::SourceRun::next), with the host's longest deadline; returns its events and its answer.
    ///
    /// # Errors
    /// The source's error; or no run is open.
    pub fn pull(&mut self) -> Result<(Vec<Event>, Progress), SourceError> {
        let mut events = Vec::new();
        let progress = step(self.run()?, &mut events)?;
        Ok((events, progress))
    }

    /// Pulls until the run has ended, for at most `limit`.
    ///
    /// # Errors
    /// The source's error; or the run did not end in time.
    pub fn until_end(&mut self, limit: Duration) -> Result<Vec<Event>, SourceError> {
        until(self.run()?, limit, "the run's end", |_, progress| progress == Progress::End)
    }

    /// Pulls until there are at least `count` events, for at most `limit`.
    ///
    /// # Errors
    /// The source's error; or too few events arrived in time.
    pub fn events(&mut self, count: usize, limit: Duration) -> Result<Vec<Event>, SourceError> {
        until(self.run()?, limit, "all events", |events, _| events.len() >= count)
    }

    /// Makes one call of [`OnDemandRun::trigger`](crate::OnDemandRun::trigger).
    ///
    /// # Errors
    /// The source's error; or no run is open.
    pub fn trigger(&mut self, event_number: u64) -> Result<Vec<Event>, SourceError> {
        let mut events = Vec::new();
        let mut push = |event| events.push(event);
        self.run()?.trigger(event_number, &mut EventSink::new(&mut push, BATCH_EVENTS, BATCH_BYTES))?;
        Ok(events)
    }

    /// What the run tells about itself.
    ///
    /// # Errors
    /// No run is open.
    pub fn status(&mut self) -> Result<RunStatus, SourceError> {
        Ok(self.run()?.status())
    }

    /// Drops the run, as at the end of a scan.
    pub fn close(&mut self) {
        self.run = None;
    }

    fn run(&mut self) -> Result<&mut S::Run, SourceError> {
        self.run.as_mut().ok_or_else(|| SourceError::internal("the test has opened no run"))
    }
}

/// Makes one call of [`SourceRun::next`](crate::SourceRun::next), with the host's longest deadline, for a run that the test owns.
///
/// # Errors
/// The source's error.
pub fn step(run: &mut impl Run, into: &mut Vec<Event>) -> Result<Progress, SourceError> {
    let mut push = |event| into.push(event);
    run.next(&mut EventSink::new(&mut push, BATCH_EVENTS, BATCH_BYTES), Deadline::after(PULL))
}

/// Calls [`SourceRun::next`](crate::SourceRun::next) until `enough` holds for the events so far and the last answer, for at most `limit`;
/// `what` names the awaited thing in the error.
///
/// # Errors
/// The source's error; or `enough` did not hold in time.
pub fn until(
    run: &mut impl Run,
    limit: Duration,
    what: &str,
    enough: impl Fn(&[Event], Progress) -> bool,
) -> Result<Vec<Event>, SourceError> {
    let began = Instant::now();
    let mut events = Vec::new();
    loop {
        let progress = step(run, &mut events)?;
        if enough(&events, progress) {
            return Ok(events);
        }
        if began.elapsed() > limit {
            let count = events.len();
            return Err(SourceError::internal(format!("{what} did not come within {limit:?}, but {count} events")));
        }
    }
}

impl<S: Source> fmt::Debug for Trial<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trial")
            .field("protocol", &S::PROTOCOL)
            .field("open", &self.run.is_some())
            .finish_non_exhaustive()
    }
}

/// A host that keeps log lines, and whose stop a test can request.
#[derive(Debug)]
pub struct TestHost {
    /// The first end becomes readable when a byte is written to the second.
    stop: (UnixStream, UnixStream),
    stopped: AtomicBool,
    lines: Mutex<Vec<(LogLevel, String)>>,
}

impl TestHost {
    /// Creates a host, and the context for a source.
    ///
    /// # Panics
    /// The machine has no descriptors left.
    #[must_use]
    pub fn new() -> (Arc<Self>, HostContext) {
        let stop = UnixStream::pair().expect("a test can make a pair of sockets");
        let host = Arc::new(Self { stop, stopped: AtomicBool::new(false), lines: Mutex::default() });
        let context = HostContext::new("test", host.clone());
        (host, context)
    }

    /// Requests a stop, for ever.
    ///
    /// # Panics
    /// The machine refuses a byte.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        (&self.stop.1).write_all(&[1]).expect("the other end is open");
    }

    /// What was logged so far.
    #[must_use]
    pub fn lines(&self) -> Vec<(LogLevel, String)> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl HostServices for TestHost {
    fn log(&self, level: LogLevel, message: &str) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push((level, message.to_owned()));
    }
    fn stop_requested(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
    fn stop_descriptor(&self) -> BorrowedFd<'_> {
        self.stop.0.as_fd()
    }
}

/// As in a host.
const PULL: Duration = Duration::from_millis(100);
const BATCH_EVENTS: usize = 64;
const BATCH_BYTES: usize = 4 << 20;
