//! A source in a process of its own: its file is found and inspected here, and loaded there.
//!
//! Runs on the reader thread, except where it says otherwise. The crate `framegate-isolation` starts the child and speaks
//! with it.

use std::{
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::{fs::MetadataExt as _, net::UnixStream},
    },
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use framegate_isolation::{Apart, Killer, Launch};
use framegate_plugin_api::{HostServices, LogLevel};
use serde_json::Value;

use super::{Fault, Ledger, NotCreated, Traits, instance::Instance};
use crate::{
    budget::COPY_BELOW,
    names::PluginReference,
    plugin::{self, Code, Refusal, SourceIdentity, Trust, report::ProcessReport, serve},
    settings::{COMMAND, Isolation, Settings, StreamSettings},
};

/// See the module.
#[derive(Debug)]
pub(super) struct ApartCode {
    identity: SourceIdentity,
    isolation: Isolation,
    /// The program that is the source, if it is not a plugin.
    program: Vec<String>,
    limit: Duration,
    traits: OnceLock<Traits>,
    /// For status.
    pid: AtomicU32,
    started: AtomicU64,
    ledger: OnceLock<&'static Ledger>,
    killer: Mutex<Option<Killer>>,
    /// See [`Launch::code`].
    code: usize,
}

/// The next source's [`Launch::code`]. The addresses of loaded code are larger numbers.
static NEXT_CODE: AtomicUsize = AtomicUsize::new(1);

impl ApartCode {
    /// Finds and inspects the file of a stream's source; runs no code of it. `from_outside`: see [`Trust`]. [any thread]
    pub(super) fn find(
        stream: &StreamSettings,
        isolation: &Isolation,
        settings: &Settings,
        from_outside: bool,
    ) -> Result<Self, Refusal> {
        let of = |identity| Self {
            identity,
            isolation: isolation.clone(),
            program: stream.command.clone(),
            limit: settings.source_timeout,
            traits: OnceLock::new(),
            pid: AtomicU32::new(0),
            started: AtomicU64::new(0),
            ledger: OnceLock::new(),
            killer: Mutex::new(None),
            code: NEXT_CODE.fetch_add(1, Ordering::Relaxed), // a number of its own
        };
        if let Some(program) = stream.command.first() {
            return program_at(Path::new(program)).map(of);
        }
        if stream.source == COMMAND {
            let found = format!("stream {} has no command in its configuration", stream.name);
            return Err(Refusal::new(Code::Find, found, "name a plugin, or add `command` to the configuration"));
        }
        let reference = PluginReference::parse(&stream.source);
        let trust = Trust { allow_writable: settings.allow_writable_plugins, from_outside, pin: reference.pin };
        let inspected = plugin::inspect(&plugin::find(&reference, &settings.plugin_dirs)?, trust)?;
        Ok(of(inspected.identity()))
    }

    /// Starts a child, and creates the source there. A replacement instance counts its frames in the ledger of the
    /// instance before it.
    pub(super) fn create(
        &self,
        stream: &str,
        settings: &Value,
        services: Arc<dyn HostServices>,
        ledger: Option<&'static Ledger>,
    ) -> Result<Instance, NotCreated> {
        let mut apart = self.start(services, ledger)?;
        apart.create(stream, settings.clone())?;
        Ok(Instance::apart(apart))
    }

    /// The properties of the source. The first time a child is started for them, which creates no source.
    pub(super) fn traits(&self) -> Result<Traits, NotCreated> {
        if let Some(traits) = self.traits.get() {
            return Ok(*traits);
        }
        let never = UnixStream::pair().map_err(|problem| Fault::Source(problem.into()))?;
        let apart = self.start(Arc::new(Nobody(never)), None)?;
        Ok(self.learn(&apart))
    }

    fn start(&self, services: Arc<dyn HostServices>, ledger: Option<&'static Ledger>) -> Result<Apart, NotCreated> {
        let mut command = Command::new(&self.isolation.program);
        command.args(serve::arguments(&self.identity, &self.program, self.isolation.data_limit));
        let launch = Launch {
            limit: self.limit,
            shared_memory: self.isolation.shared_memory,
            copy_below: COPY_BELOW,
            code: self.code,
        };
        // Lives for ever, as for a plugin in this process: status reads it.
        let ledger = *self.ledger.get_or_init(|| ledger.unwrap_or_else(|| Box::leak(Box::default())));
        let apart = Apart::start(&mut command, launch, services, ledger)?;
        self.learn(&apart);
        *self.killer.lock().unwrap_or_else(PoisonError::into_inner) = Some(apart.killer());
        self.pid.store(apart.pid(), Ordering::Relaxed); // for people; guards nothing
        self.started.fetch_add(1, Ordering::Relaxed); // see `pid`
        Ok(apart)
    }

    fn learn(&self, apart: &Apart) -> Traits {
        let hello = apart.hello();
        *self.traits.get_or_init(|| Traits { exclusive: hello.exclusive, on_demand: hello.on_demand })
    }

    /// Kills its last process: a call does not return, and nobody waits for it any more. [any thread]
    pub(super) fn kill(&self) {
        if let Some(killer) = &*self.killer.lock().unwrap_or_else(PoisonError::into_inner) {
            killer.kill();
        }
    }

    /// Its last process. [any thread]
    pub(super) fn process(&self) -> ProcessReport {
        let count = |count: fn(&Ledger) -> u64| self.ledger.get().map_or(0, |ledger| count(ledger));
        // In this order: a frame that is given and returned in between must not make the difference negative.
        let frames_returned = count(Ledger::released);
        ProcessReport {
            pid: self.pid.load(Ordering::Relaxed),         // see `start`
            started: self.started.load(Ordering::Relaxed), // see `start`
            frames_given: count(Ledger::delivered),
            frames_returned,
        }
    }

    /// The identity of the code. [any thread]
    pub(super) fn identity(&self) -> SourceIdentity {
        self.identity.clone()
    }
}

/// A program that can be started. What it is, it says itself.
fn program_at(path: &Path) -> Result<SourceIdentity, Refusal> {
    let is_program = path.metadata().is_ok_and(|about| about.is_file() && about.mode() & 0o111 != 0);
    if !is_program {
        let found = format!("command: {} is not a program that can be started", path.display());
        return Err(Refusal::new(Code::Find, found, "give the path of an executable file"));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(SourceIdentity { file: Some(path.to_owned()), ..SourceIdentity::linked(&name) })
}

/// For a child that creates no source.
struct Nobody((UnixStream, UnixStream));

impl HostServices for Nobody {
    fn log(&self, _: LogLevel, _: &str) {}
    fn stop_requested(&self) -> bool {
        false
    }
    fn stop_descriptor(&self) -> BorrowedFd<'_> {
        self.0.0.as_fd()
    }
}
