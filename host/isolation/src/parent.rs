//! The host's side: a source in a child process, with the calls of a source in this one.
//!
//! All of it on the reader's thread, except that frames are released anywhere. No call waits longer than its limit: a
//! child that does not answer is killed. After a death, a broken rule or a panic the source is not called again.
#![forbid(unsafe_code)]

use std::{
    collections::VecDeque,
    io,
    os::unix::net::UnixStream,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use framegate_plugin_abi::{
    caller::{Fault, Limits, RunStatus, Types},
    codes::{EventKind, LogLevel, Progress},
    error::SourceError,
    frame::{Frame, Ledger},
    host::HostServices,
};
use nix::poll::{PollFd, PollFlags};
use smallvec::SmallVec;

use crate::{
    arena::Arena,
    link::{self, Link, NOW_AND_THEN},
    process::Process,
    wire::{
        self, BLOCK, Create, Failure, Head, Hello, LONGEST_TO_HOST, MOST_TYPS, StatusText, VERSION, Welcome, WireError,
        WireFrame, to_child, to_host,
    },
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
    /// The last receive has left nothing in the socket.
    is_drained: bool,
    heard: Instant,
    /// When the answer that is waited for was asked for, or the child last said that it waits for room.
    asked: Instant,
    /// When the child was asked whether it lives.
    pinged: Option<Instant>,
    poison: Option<String>,
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
            types: Types::new(CODE),
            typs: Vec::new(),
            run: 0,
            is_open: false,
            has_ended: false,
            has_told_end: false,
            broken: None,
            events: VecDeque::new(),
            status: None,
            answer: None,
            is_drained: true,
            heard: Instant::now(),
            asked: Instant::now(),
            pinged: None,
            poison: None,
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

    /// Why the source is no longer called.
    #[must_use]
    pub fn poison(&self) -> Option<&str> {
        self.poison.as_deref()
    }

    /// Looks whether the child lives, between two runs; the answer is its poison.
    pub fn look(&mut self) {
        if self.poison.is_none() && self.process.ended().is_some() {
            self.died("no call");
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
        opened.map(drop)
    }

    /// Takes events; waits at most so long for the first.
    ///
    /// # Errors
    /// The source's own error, or any other fault of it. Events that were taken stay valid.
    pub fn next(
        &mut self,
        limits: Limits,
        most: Duration,
        mut take: impl FnMut(&'static str, EventKind, Frames),
    ) -> Result<Progress, Fault> {
        self.is_callable()?;
        if !self.is_open {
            return Ok(Progress::End);
        }
        let deadline = Instant::now() + most;
        let mut looks = !self.is_drained;
        loop {
            if self.events.is_empty() && looks {
                self.receive("next")?;
            }
            looks = true;
            if !self.events.is_empty() {
                let (mut events, mut bytes) = (0, 0);
                while events < limits.events && bytes < limits.bytes as u64 {
                    let Some(given) = self.events.pop_front() else { break };
                    (events, bytes) = (events + 1, bytes + given.bytes);
                    take(given.typ, given.kind, given.frames);
                }
                self.arena.take(bytes);
                return Ok(match self.events.is_empty() && self.is_drained {
                    true if self.has_ended => Progress::End,
                    true if self.broken.is_none() => Progress::Idle,
                    _ => Progress::More,
                });
            }
            if let Some(failure) = self.broken.take() {
                return Err(self.failed(failure));
            }
            let now = Instant::now();
            let over = if self.has_ended { Progress::End } else { Progress::Idle };
            if self.link.has_ended() {
                return Err(self.died("next"));
            }
            if now >= deadline || self.services.stop_requested() {
                return Ok(over);
            }
            if self.has_ended && !std::mem::replace(&mut self.has_told_end, true) {
                return Ok(over);
            }
            let mut ends = [
                PollFd::new(self.link.descriptor(), PollFlags::POLLIN),
                PollFd::new(self.services.stop_descriptor(), PollFlags::POLLIN),
            ];
            let waited = link::wait(&mut ends, deadline.saturating_duration_since(now).min(NOW_AND_THEN));
            let has_come = ends.iter().any(|end| end.any() == Some(true));
            waited.map_err(|problem| self.lost(format!("waiting for it failed: {problem}")))?;
            if !has_come {
                self.ask_whether_it_lives(Instant::now())?;
            }
        }
    }

    /// Asks for the event with this number.
    ///
    /// # Errors
    /// The source's own error, or any other fault of it.
    pub fn trigger(
        &mut self,
        event_number: u64,
        mut take: impl FnMut(&'static str, EventKind, Frames),
    ) -> Result<(), Fault> {
        if !self.is_open {
            return Ok(());
        }
        let done = self.request("trigger", to_child::TRIGGER, &event_number.to_le_bytes());
        for given in std::mem::take(&mut self.events) {
            take(given.typ, given.kind, given.frames);
            self.arena.take(given.bytes);
        }
        done.map(drop)
    }

    /// What the run tells about itself.
    ///
    /// # Errors
    /// Any fault of the source.
    pub fn status(&mut self) -> Result<RunStatus, Fault> {
        self.is_callable()?;
        if !self.is_open {
            return Ok(RunStatus::default());
        }
        self.status = None;
        self.send("status", to_child::ASK, &[])?;
        let StatusText { counters, skipped, last_invalid, bytes_waiting, connected, peer } =
            self.answer("status", |apart| apart.status.take())?;
        let connected = connected.map(|(connected, lasted)| (connected, Duration::from_nanos(lasted)));
        Ok(RunStatus { counters, skipped, last_invalid, bytes_waiting, connected, peer }.limited())
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
        self.events.clear();
        self.request("close", to_child::CLOSE, &[]).map(drop)
    }

    /// Kills the child. [reader's thread]
    pub fn kill(&mut self) {
        self.process.kill();
    }

    fn is_callable(&self) -> Result<(), Fault> {
        self.poison.as_ref().map_or(Ok(()), |earlier| Err(Fault::Poisoned(earlier.clone())))
    }

    /// Makes a request, and waits for the answer.
    fn request(&mut self, call: &'static str, kind: u16, body: &[u8]) -> Result<Vec<u8>, Fault> {
        self.is_callable()?;
        self.answer = None;
        self.send(call, kind, body)?;
        let answer = self.answer(call, |apart| apart.answer.take())?;
        answer.map_err(|failure| self.failed(failure))
    }

    fn send(&mut self, call: &'static str, kind: u16, body: &[u8]) -> Result<(), Fault> {
        let message = Head { run: self.run, ..Head::new(kind, 0) }.with(body);
        let deadline = Instant::now() + self.launch.limit;
        let waits = || if Instant::now() < deadline { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) };
        match self.link.send(&message, waits) {
            Ok(()) => Ok(()),
            Err(problem) if problem.kind() == io::ErrorKind::TimedOut => Err(self.hangs(call)),
            Err(_) => Err(self.died(call)),
        }
    }

    /// Receives until there is what is waited for.
    fn answer<T>(&mut self, call: &'static str, mut get: impl FnMut(&mut Self) -> Option<T>) -> Result<T, Fault> {
        self.asked = Instant::now();
        loop {
            if let Some(answer) = get(self) {
                return Ok(answer);
            }
            if self.link.has_ended() || self.process.ended().is_some() && !self.receive(call)? {
                return Err(self.died(call));
            }
            if self.asked.elapsed() >= self.launch.limit {
                return Err(self.hangs(call));
            }
            let waited = link::wait(&mut [PollFd::new(self.link.descriptor(), PollFlags::POLLIN)], NOW_AND_THEN);
            waited.map_err(|problem| self.lost(format!("waiting for it failed: {problem}")))?;
            self.receive(call)?;
        }
    }

    /// Receives what has come. Returns whether anything has.
    fn receive(&mut self, call: &'static str) -> Result<bool, Fault> {
        let received = match self.link.receive() {
            Ok(received) => received,
            Err(problem) => return Err(self.lost(format!("the socket to its process failed in {call}: {problem}"))),
        };
        self.is_drained = !received || !self.link.may_have_more();
        if received {
            self.heard = Instant::now();
        }
        loop {
            match self.link.next() {
                Ok(Some((head, body))) => self.handle(head, body)?,
                Ok(None) => return Ok(received && !self.link.has_ended()),
                Err(wrong) => return Err(self.nonsense(&wrong)),
            }
        }
    }

    fn handle(&mut self, head: Head, body: std::ops::Range<usize>) -> Result<(), Fault> {
        let is_of_run = self.is_open && head.run == self.run;
        let bytes = self.link.body(body.clone());
        let handled = match head.kind {
            to_host::HELLO | to_host::DONE => {
                self.answer = Some(Ok(bytes.to_vec()));
                Ok(())
            }
            to_host::FAILED => Failure::from_bytes(bytes).map(|failure| self.answer = Some(Err(failure))),
            to_host::STATUS => wire::json(bytes).map(|status| self.status = Some(status)),
            to_host::PONG => {
                self.pinged = None;
                Ok(())
            }
            to_host::TYP => self.typ(body),
            to_host::EVENTS => self.take_events(head, body, is_of_run),
            to_host::ENDED => {
                self.has_ended |= is_of_run;
                Ok(())
            }
            to_host::BROKEN => Failure::from_bytes(bytes).map(|failure| {
                if is_of_run {
                    self.broken = Some(failure);
                }
            }),
            to_host::WAIT => wire::long(bytes).and_then(|(taken, rest)| {
                let (released, _) = wire::number(rest)?;
                self.arena.wait_for(taken, released);
                self.asked = Instant::now();
                Ok(())
            }),
            to_host::MORE => match wire::number(bytes) {
                Ok((blocks, _)) => return self.grow(blocks),
                Err(wrong) => Err(wrong),
            },
            kind if kind >= wire::OPTIONAL => Ok(()),
            kind => Err(WireError::Kind(kind)),
        };
        handled.map_err(|wrong| self.nonsense(&wrong))
    }

    fn typ(&mut self, body: std::ops::Range<usize>) -> Result<(), WireError> {
        let bytes = self.link.body(body);
        let (index, text) = bytes.split_first().ok_or_else(|| WireError::Body("a type of no bytes".into()))?;
        if usize::from(*index) != self.typs.len() || self.typs.len() >= MOST_TYPS {
            return Err(WireError::Body(format!("type {index} after {} others", self.typs.len())));
        }
        let known = self.types.known(text).map_err(WireError::Body)?;
        self.typs.push(known);
        Ok(())
    }

    fn take_events(&mut self, head: Head, body: std::ops::Range<usize>, is_of_run: bool) -> Result<(), WireError> {
        let (events, places) = wire::read_events(head, self.link.body(body))?;
        // All of it is checked before any of it is used.
        for place in places.clone() {
            self.arena.check(place).map_err(WireError::Body)?;
        }
        for event in events.clone() {
            if usize::from(event.typ) >= self.typs.len() {
                return Err(WireError::Body(format!("an event of type {}, which is not defined", event.typ)));
            }
        }
        let mut places = places;
        let mut owed = Owed { arena: &self.arena, block: 0, frames: 0 };
        let mut dropped = 0;
        for event in events {
            let (mut frames, mut bytes) = (Frames::new(), 0);
            for place in places.by_ref().take(usize::from(event.frames)) {
                bytes += u64::from(place.len);
                if !is_of_run {
                    owed.add(place);
                } else if (place.len as usize) < self.launch.copy_below {
                    frames.push(self.arena.copy(place));
                    owed.add(place);
                } else {
                    frames.push(self.arena.lend(place, self.ledger));
                }
            }
            if is_of_run {
                self.ledger.add_delivered(frames.len() as u64);
                let copied = frames.iter().filter(|frame| frame.len() < self.launch.copy_below).count();
                self.ledger.add_released(copied as u64);
                self.events.push_back(Given {
                    typ: self.typs[usize::from(event.typ)],
                    kind: event.kind,
                    frames,
                    bytes,
                });
            } else {
                dropped += bytes;
            }
        }
        drop(owed);
        if dropped > 0 {
            self.arena.take(dropped);
        }
        Ok(())
    }

    fn grow(&mut self, blocks: u32) -> Result<(), Fault> {
        let blocks = match self.arena.grow(blocks) {
            Ok(blocks) => blocks,
            Err(problem) => {
                self.services.log(LogLevel::Error, &format!("no more memory to share with its process: {problem}"));
                self.arena.usable()
            }
        };
        self.send("next", to_child::GROWN, &blocks.to_le_bytes())
    }

    /// A child that says nothing for a while is asked whether it lives, and killed if it does not answer.
    fn ask_whether_it_lives(&mut self, now: Instant) -> Result<(), Fault> {
        if self.process.ended().is_some() && !self.receive("next")? {
            return Err(self.died("next"));
        }
        match self.pinged {
            Some(asked) if now.duration_since(asked) >= self.launch.limit => Err(self.hangs("next")),
            None if now.duration_since(self.heard) >= QUIET => {
                (self.pinged, self.heard) = (Some(now), now);
                self.send("next", to_child::PING, &[])
            }
            _ => Ok(()),
        }
    }

    fn failed(&mut self, failure: Failure) -> Fault {
        match failure.kind {
            Some(kind) => Fault::Source(SourceError::new(kind, failure.text)),
            None => self.lost(failure.text),
        }
    }

    fn died(&mut self, call: &str) -> Fault {
        self.process.wait(NOW_AND_THEN);
        let (how, said) = self.process.end();
        self.lost(format!("its process {how} in {call}{said}"))
    }

    fn hangs(&mut self, call: &str) -> Fault {
        let (how, said) = self.process.end();
        let end = if how.starts_with("crashed with SIGKILL") { "was killed" } else { how.as_str() };
        self.lost(format!("its process did not answer {call} for {:?}, and {end}{said}", self.launch.limit))
    }

    fn nonsense(&mut self, wrong: &WireError) -> Fault {
        let (_, said) = self.process.end();
        self.lost(format!("its process broke the protocol with {wrong}, and was killed{said}"))
    }

    /// The source is not called again.
    fn lost(&mut self, why: String) -> Fault {
        self.poison = Some(why.clone());
        self.events.clear();
        Fault::Lost(why)
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

/// Releases of frames that were copied: those of one block together.
struct Owed<'a> {
    arena: &'a Arena,
    block: u32,
    frames: u32,
}

impl Owed<'_> {
    fn add(&mut self, place: WireFrame) {
        if place.block != self.block {
            self.pay();
            self.block = place.block;
        }
        self.frames += 1;
    }

    fn pay(&mut self) {
        if self.frames > 0 {
            self.arena.release(self.block, std::mem::take(&mut self.frames));
        }
    }
}

impl Drop for Owed<'_> {
    fn drop(&mut self) {
        self.pay();
    }
}

fn to_json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("our own messages have a JSON form")
}

/// Shared memory at the start; it grows when it is needed.
const FIRST_MEMORY: u64 = 16 << 20;
/// After so long without a message the child is asked whether it lives.
const QUIET: Duration = Duration::from_secs(1);
/// All children share one account of event types: see [`Types`].
const CODE: usize = 1;
