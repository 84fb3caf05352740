//! Runs a plugin under test: in the child process, called as a reader thread of the host would call it.
//!
//! Runs on the child's main thread, which is the source's thread. Each call is reported as a step before it is made, so
//! that the parent knows in which call the child crashed.

use std::{
    os::fd::{AsFd as _, BorrowedFd},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use framegate::{BATCH_BYTES, BATCH_EVENTS, plugin::child::Answers};
use framegate_plugin_abi::{
    caller::{Fault, Instance, Limits, Plugin},
    host::StrayCalls,
};
use framegate_plugin_api::{EventKind, Frame, HostServices, LogLevel, Progress};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::{
    Task, redirect,
    upstream::Message,
    verdict::{Wrong, fault},
};

/// The input of a check.
pub(super) struct Bench {
    pub(super) plugin: Plugin,
    pub(super) task: Task,
    /// The detector's messages, and the expected events if they are known.
    pub(super) capture: Option<super::capture::Capture>,
    pub(super) answers: Answers,
}

/// One instance, and its detector.
pub(super) struct Trial<'a> {
    pub(super) bench: &'a Bench,
    pub(super) instance: Instance,
    pub(super) services: Arc<Services>,
    /// The ports in its settings, all on this machine.
    pub(super) ports: Vec<u16>,
    /// The batch limits for one call.
    pub(super) limits: Limits,
}

/// One event of the plugin.
#[derive(Debug)]
pub(super) struct Event {
    /// The protocol's name.
    pub(super) typ: &'static str,
    /// The position of the event in its run.
    pub(super) kind: EventKind,
    pub(super) frames: Vec<Frame>,
}

impl Event {
    /// Sum of the frames' lengths.
    pub(super) fn bytes(&self) -> usize {
        self.frames.iter().map(Frame::len).sum()
    }
}

/// The result of one call of `next`.
#[derive(Debug)]
pub(super) struct Pulled {
    pub(super) events: Vec<Event>,
    pub(super) progress: Progress,
    pub(super) took: Duration,
}

/// The longest wait that a host requests of `next`.
pub(super) const PULL: Duration = Duration::from_millis(100);
const LIMITS: Limits = Limits { events: BATCH_EVENTS, bytes: BATCH_BYTES };

impl Bench {
    /// Creates an instance whose addresses lead to this process.
    pub(super) fn create(&self) -> Result<Trial<'_>, Wrong> {
        let mut settings = self.task.settings.clone();
        let ports = redirect::redirect(&mut settings);
        let (made, services) = self.create_with(&settings.to_string())?;
        let instance = made.map_err(|problem| fault("create", &problem))?;
        Ok(Trial { bench: self, instance, services, ports, limits: LIMITS })
    }

    /// Creates an instance with these settings in JSON, unchanged.
    pub(super) fn create_with(&self, settings: &str) -> Result<(Result<Instance, Fault>, Arc<Services>), Wrong> {
        let services = Services::new()?;
        self.answers.step("create");
        Ok((self.plugin.create("check", settings, services.clone()), services))
    }

    /// The detector's messages; none without a capture.
    pub(super) fn messages(&self) -> &[Message] {
        self.capture.as_ref().map_or(&[], |capture| &capture.messages)
    }

    /// Number of repetitions.
    pub(super) fn times(&self, thorough: u32) -> u32 {
        if self.task.quick { thorough.div_ceil(10) } else { thorough }
    }
}

impl Trial<'_> {
    pub(super) fn open(&mut self) -> Result<(), Wrong> {
        self.bench.answers.step("open");
        self.instance.open().map_err(|problem| fault("open", &problem))
    }

    /// Makes one call of `next`.
    pub(super) fn next(&mut self, left: Duration) -> Result<Pulled, Wrong> {
        self.bench.answers.step("next");
        self.try_next(left).map_err(|problem| fault("next", &problem))
    }

    /// The same, for a check that handles errors itself.
    pub(super) fn try_next(&mut self, left: Duration) -> Result<Pulled, Fault> {
        let mut events = Vec::new();
        let began = Instant::now();
        let progress = self.instance.next(self.limits, left, |typ, kind, frames| {
            events.push(Event { typ, kind, frames: frames.collect() });
        })?;
        Ok(Pulled { events, progress, took: began.elapsed() })
    }

    /// Triggers the event of a number.
    pub(super) fn trigger(&mut self, number: u64) -> Result<Vec<Event>, Wrong> {
        self.bench.answers.step("trigger");
        let mut events = Vec::new();
        let take = |typ, kind, frames: framegate_plugin_abi::caller::Frames<'_>| {
            events.push(Event { typ, kind, frames: frames.collect() });
        };
        self.instance.trigger(number, self.limits, take).map_err(|problem| fault("trigger", &problem))?;
        Ok(events)
    }

    pub(super) fn close(&mut self) -> Result<(), Wrong> {
        self.bench.answers.step("close");
        self.instance.close().map_err(|problem| fault("close", &problem))
    }

    /// Destroys the instance; its services stay, to be examined.
    pub(super) fn destroy(mut self) -> Result<Arc<Services>, Wrong> {
        self.close()?;
        self.bench.answers.step("destroy");
        drop(self.instance);
        match self.services.panics() {
            Some(line) => Err(Wrong::failed(line, "drop must not panic: return errors before, or log them")),
            None => Ok(self.services),
        }
    }

    /// Number of messages that gave no event, over all reasons.
    pub(super) fn skipped(&mut self) -> Result<u64, Wrong> {
        self.bench.answers.step("status");
        let status = self.instance.status().map_err(|problem| fault("status", &problem))?;
        Ok(status.skipped.iter().map(|(_, count)| count).sum())
    }
}

/// The host services for a plugin under test.
pub(super) struct Services {
    /// Readable while a stop is requested.
    stop: EventFd,
    is_stopping: AtomicBool,
    lines: Mutex<Vec<(LogLevel, String)>>,
    /// Number of calls after the plugin released the services.
    stray: Arc<AtomicU64>,
}

impl Services {
    fn new() -> Result<Arc<Self>, Wrong> {
        let stop = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC);
        let stop = stop.map_err(|problem| Wrong::NotChecked(format!("no descriptor is left: {problem}")))?;
        Ok(Arc::new(Self { stop, is_stopping: AtomicBool::default(), lines: Mutex::default(), stray: Arc::default() }))
    }

    /// Requests a stop, after a while.
    pub(super) fn stop_after(self: &Arc<Self>, while_: Duration) -> thread::JoinHandle<Instant> {
        let services = self.clone();
        thread::spawn(move || {
            thread::sleep(while_);
            services.is_stopping.store(true, Ordering::SeqCst);
            // The counter cannot overflow: one write for each `go_on`.
            let _ = services.stop.write(1);
            Instant::now()
        })
    }

    /// Ends the stop request.
    pub(super) fn go_on(&self) {
        // It fails if no stop was requested.
        let _ = self.stop.read();
        self.is_stopping.store(false, Ordering::SeqCst);
    }

    pub(super) fn stray(&self) -> u64 {
        self.stray.load(Ordering::Relaxed) // counted before the check reads it, some 100 ms later
    }

    /// The log line about a panic on a thread of the plugin.
    pub(super) fn panics(&self) -> Option<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines
            .iter()
            .find(|(level, line)| *level == LogLevel::Error && line.contains("panicked: "))
            .map(|(_, line)| line.clone())
    }
}

impl HostServices for Services {
    fn log(&self, level: LogLevel, message: &str) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < MOST_LINES {
            lines.push((level, message.to_owned()));
        }
    }
    fn stop_requested(&self) -> bool {
        self.is_stopping.load(Ordering::SeqCst)
    }
    fn stop_descriptor(&self) -> BorrowedFd<'_> {
        self.stop.as_fd()
    }
    fn stray_calls(&self) -> Option<StrayCalls> {
        let stray = self.stray.clone();
        Some(Arc::new(move |_| {
            stray.fetch_add(1, Ordering::Relaxed); // see `Services::stray`
        }))
    }
}

/// A short description of an event.
pub(super) fn shown(event: &Event) -> String {
    let kind = match event.kind {
        EventKind::Start => "start",
        EventKind::Data => "data",
        EventKind::End => "end",
    };
    format!("{} ({kind}, {} frames, {} bytes)", event.typ, event.frames.len(), event.bytes())
}

/// A plugin that logs for each event must not fill the memory.
const MOST_LINES: usize = 10_000;
