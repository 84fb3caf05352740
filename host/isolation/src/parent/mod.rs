//! The host's side: a source in a child process, with the calls of a source in this one.
//!
//! All of it on the reader's thread, except that frames are released anywhere. No call waits longer than its limit: a
//! child that does not answer is killed. After a death, a broken rule or a panic the source is not called again.
#![forbid(unsafe_code)]

mod events;
mod exchange;
mod receive;

use std::{
    collections::VecDeque,
    io,
    os::unix::net::UnixStream,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use framegate_plugin_abi::{
    caller::{Fault, Types},
    codes::{EventKind, LogLevel},
    error::SourceError,
    frame::{Frame, Ledger},
    host::HostServices,
};
use smallvec::SmallVec;

use crate::{
    arena::Arena,
    link::Link,
    process::{Killer, Process},
    wire::{self, BLOCK, Create, Failure, Head, Hello, LONGEST_TO_HOST, StatusText, VERSION, Welcome, to_child},
};

/// The frames of an event; most have few.
pub type Frames = SmallVec<[Frame; 2]>;

/// How to start a child.
#[derive(Debug, Clone, Copy)]
pub struct Launch {
    /// The longest time for an answer.
    pub limit: Duration,
    /// Bytes that can be shared with it.
    pub shared_memory: u64,
    /// Frames with fewer bytes are copied: they would hold a whole block.
    pub copy_below: usize,
    /// The same for all children of one source, and another for each: see [`Types`].
    pub code: usize,
}

/// A source in a child process.
pub struct Apart {
    link: Link,
    process: Process,
    arena: Arc<Arena>,
    launch: Launch,
    services: Arc<dyn HostServices>,
    ledger: &'static Ledger,
    hello: Hello,
    parameters: String,
    types: Types,
    /// The types that the child has defined.
    typs: Vec<&'static str>,
    /// The number of the last run.
    run: u32,
    is_open: bool,
    has_ended: bool,
    has_told_end: bool,
    /// Why the run has failed by itself.
    broken: Option<Failure>,
    /// Events that have come, with the bytes that they have in shared memory.
    events: VecDeque<Given>,
    /// The last received status.
    status: Option<StatusText>,
    answer: Option<Result<Vec<u8>, Failure>>,
    /// The kind of the request whose answer has not come.
    asked_for: Option<u16>,
    /// Bytes of memory for the events that wait here.
    ahead: usize,
    /// Number of frames that the child has given, modulo 2³².
    placed: u32,
    /// The last receive has left nothing in the socket, and nothing was received since.
    is_drained: bool,
    heard: Instant,
    /// When the answer that is waited for was asked for, or the child last said that it waits for room.
    asked: Instant,
    /// When the child was asked whether it lives.
    pinged: Option<Instant>,
    /// The longest time for the answer that is waited for.
    limit: Duration,
    poison: Option<String>,
    /// It was lost where nobody takes errors: the next call tells.
    is_untold: bool,
}

struct Given {
    typ: &'static str,
    kind: EventKind,
    frames: Frames,
    bytes: u64,
}

impl Apart {
    /// Starts a child, and waits until it has loaded its source. The ledger counts the frames of its source.
    ///
    /// # Errors
    /// It does not start, or is no source.
    pub fn start(
        command: &mut Command,
        launch: Launch,
        services: Arc<dyn HostServices>,
        ledger: &'static Ledger,
    ) -> Result<Self, Fault> {
        let blocks = |bytes: u64| u32::try_from(bytes.div_ceil(BLOCK as u64)).unwrap_or(u32::MAX).max(1);
        let most = blocks(launch.shared_memory);
        let arena = Arena::new(blocks(FIRST_MEMORY).min(most), most).map_err(|problem| {
            Fault::Source(SourceError::connect(format!(
                "the machine has no memory to share with the source's process: {problem}"
            )))
        })?;
        let program = command.get_program().to_string_lossy().into_owned();
        let not_started =
            |problem: io::Error| Fault::Source(SourceError::connect(format!("{program} cannot be started: {problem}")));
        let (ours, its) = UnixStream::pair().map_err(not_started)?;
        let process = Process::start(command, its, services.clone()).map_err(not_started)?;
        let mut apart = Self {
            link: Link::new(ours, LONGEST_TO_HOST).map_err(not_started)?,
            process,
            arena: Arc::new(arena),
            launch,
            services,
            ledger,
            hello: Hello { protocol: VERSION, name: String::new(), version: None, exclusive: false, on_demand: false },
            parameters: String::new(),
            types: Types::new(launch.code),
            typs: Vec::new(),
            run: 0,
            is_open: false,
            has_ended: false,
            has_told_end: false,
            broken: None,
            events: VecDeque::new(),
            status: None,
            answer: None,
            asked_for: Some(to_child::WELCOME),
            ahead: 0,
            placed: 0,
            is_drained: true,
            heard: Instant::now(),
            asked: Instant::now(),
            pinged: None,
            limit: launch.limit,
            poison: None,
            is_untold: false,
        };
        let arena = &apart.arena;
        let welcome =
            Welcome { protocol: VERSION, block: BLOCK as u32, blocks: arena.usable(), most_blocks: arena.most() };
        let welcome = Head::new(to_child::WELCOME, 0).with(&to_json(&welcome));
        if apart.link.send_with(&welcome, arena.descriptors()).is_err() {
            return Err(apart.died("its start"));
        }
        let hello = apart.answer("its start", |apart| apart.answer.take())?;
        let hello = hello.map_err(|failure| apart.failed(failure))?;
        apart.hello = wire::json(&hello).map_err(|wrong| apart.nonsense(&wrong))?;
        if apart.hello.protocol.0 != VERSION.0 {
            let (major, minor) = apart.hello.protocol;
            let why =
                format!("the source's process speaks version {major}.{minor} of the protocol, expected {}", VERSION.0);
            return Err(Fault::Source(SourceError::internal(why)));
        }
        Ok(apart)
    }

    /// Creates the source.
    ///
    /// # Errors
    /// The source's own error, or any other fault of it.
    pub fn create(&mut self, stream: &str, settings: serde_json::Value) -> Result<(), Fault> {
        let log = match self.services.log_level() {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
        };
        let create = Create { name: stream.to_owned(), settings, log: log.to_owned() };
        let parameters = self.request("create", to_child::CREATE, &to_json(&create))?;
        self.parameters = String::from_utf8_lossy(&parameters).into_owned();
        Ok(())
    }

    /// What the child says of its source.
    #[must_use]
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Kills its process from any thread, while it is there.
    #[must_use]
    pub fn killer(&self) -> Killer {
        self.process.killer()
    }

    /// The id of its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Why the source is no longer called.
    #[must_use]
    pub fn poison(&self) -> Option<&str> {
        self.poison.as_deref()
    }

    /// Looks whether the child lives, between two runs; the answer is its poison.
    pub fn look(&mut self) {
        if self.poison.is_none() && self.process.ended().is_some() {
            self.died("no call");
            self.is_untold = true;
        }
    }

    /// Whether the source answers [`Apart::trigger`] instead of [`Apart::next`].
    #[must_use]
    pub fn on_demand(&self) -> bool {
        self.hello.on_demand
    }

    /// The ledger that counts its frames.
    #[must_use]
    pub fn ledger(&self) -> &'static Ledger {
        self.ledger
    }

    /// Descriptions of the source's parameters, in JSON; always there.
    ///
    /// # Errors
    /// None.
    pub fn parameters(&self) -> Result<Option<String>, Fault> {
        Ok(Some(self.parameters.clone()))
    }

    /// Sets a parameter.
    ///
    /// # Errors
    /// The source's own error, or any other fault of it.
    pub fn set_parameter(&mut self, name: &str, value: &[u8]) -> Result<(), Fault> {
        let len = u32::try_from(name.len()).unwrap_or(u32::MAX).to_le_bytes();
        let body = [&len[..], name.as_bytes(), value].concat();
        if body.len() > wire::LONGEST_TO_CHILD {
            return Err(Fault::Source(SourceError::settings(format!("a value of {} bytes is too long", value.len()))));
        }
        self.request("set_parameter", to_child::SET, &body).map(drop)
    }

    /// Opens the run of a scan; an earlier one is closed first.
    ///
    /// # Errors
    /// The source's own error, or any other fault of it.
    pub fn open(&mut self) -> Result<(), Fault> {
        self.close()?;
        self.run = self.run.wrapping_add(1);
        (self.has_ended, self.has_told_end, self.broken) = (false, false, None);
        // Its first events come behind the answer, and with it.
        self.is_open = true;
        let opened = self.request("open", to_child::OPEN, &[]);
        self.is_open = opened.is_ok();
        if !self.is_open {
            self.drop_events();
        }
        opened.map(drop)
    }

    /// Nothing is taken from the source now. The child keeps its connections alive by itself.
    ///
    /// # Errors
    /// It has died.
    pub fn held_back(&mut self) -> Result<(), Fault> {
        self.is_callable()?;
        if self.process.ended().is_some() { Err(self.died("no call")) } else { Ok(()) }
    }

    /// Closes the run, if one is open.
    ///
    /// # Errors
    /// Any fault of the source.
    pub fn close(&mut self) -> Result<(), Fault> {
        if !std::mem::take(&mut self.is_open) {
            return Ok(());
        }
        self.drop_events();
        // The scan that follows has to open, within the same time.
        self.request_within(self.launch.limit / 2, "close", to_child::CLOSE, &[]).map(drop)
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let _ = self.close();
        if self.poison.is_none() && self.send("destroy", to_child::BYE, &[]).is_ok() {
            self.process.wait(self.launch.limit);
        }
        // Kills it, if it has not ended.
        self.process.end();
    }
}

impl std::fmt::Debug for Apart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Apart").field("open", &self.is_open).field("poison", &self.poison).finish_non_exhaustive()
    }
}

fn to_json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("our own messages have a JSON form")
}

/// Shared memory at the start; it grows when it is needed.
const FIRST_MEMORY: u64 = 16 << 20;
