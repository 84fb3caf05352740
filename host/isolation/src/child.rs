//! The child that runs a loaded plugin: one thread, which calls the source and speaks with the host.
//!
//! The source's stop signal is the socket itself: it is readable while a message of the host waits, so the source returns,
//! and the message is handled. Log lines go to standard error, with the prefixes of sd-daemon(3).
#![forbid(unsafe_code)]

use std::{
    collections::VecDeque,
    io::{self, Write as _},
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::Arc,
    time::{Duration, Instant},
};

use framegate_plugin_abi::{
    caller::{Fault, Instance, Limits, Plugin, RunStatus},
    codes::{ErrorKind, EventKind, LogLevel, Progress},
    frame::Frame,
    host::HostServices,
};
use nix::poll::{PollFd, PollFlags};

use crate::{
    arena::{self, Memory},
    blocks::{Blocks, Rest},
    link::{self, Link, NOW_AND_THEN},
    wire::{
        self, Create, Failure, Head, Hello, LONGEST_TO_CHILD, LONGEST_TO_HOST, MOST_FRAMES, StatusText, VERSION,
        WINDOW, Welcome, WireEvent, WireFrame, to_child, to_host,
    },
};

/// Batch limits of one call of `next`: as in a host.
const LIMITS: Limits = Limits { events: 64, bytes: 1 << 20 };
/// The longest wait of one `next`.
const PULL: Duration = Duration::from_millis(100);
/// Events of a message at most, so that it stays short.
const MOST_EVENTS: usize = 1024;

/// Serves a host until it says goodbye, or has ended. `load` gives the plugin, after the host has been heard.
///
/// # Errors
/// The host breaks the protocol, or the system refuses something.
pub fn serve(socket: UnixStream, load: impl FnOnce() -> Result<(Hello, Plugin), String>) -> io::Result<()> {
    let (first, descriptors) = arena::receive(&socket)?;
    let (head, body, _) = wire::split(&first, first.len()).map_err(wrong)?.ok_or_else(|| wrong("a torn welcome"))?;
    let welcome: Welcome = wire::json(body).map_err(wrong)?;
    if head.kind != to_child::WELCOME || welcome.protocol.0 != VERSION.0 || welcome.block as usize != wire::BLOCK {
        return Err(wrong(format!("a welcome that is not of version {}: {welcome:?}", VERSION.0)));
    }
    let memory = Memory::new(descriptors, welcome.most_blocks)?;
    let stop = socket.try_clone()?;
    let mut child = Child {
        link: Link::new(socket, LONGEST_TO_CHILD)?,
        memory,
        blocks: Blocks::new(welcome.blocks),
        most_blocks: welcome.most_blocks,
        source: None,
        run: None,
        typs: Vec::new(),
        pending: VecDeque::new(),
        given: 0,
        last: 0,
    };
    let plugin = match load() {
        Ok((hello, plugin)) => {
            child.say(Head::new(to_host::HELLO, 0), &serde_json::to_vec(&hello)?)?;
            plugin
        }
        Err(text) => {
            let failure = Failure { kind: Some(ErrorKind::Internal), text };
            return child.say(Head::new(to_host::FAILED, 0), &failure.to_bytes());
        }
    };
    child.work(plugin, stop)
}

/// See the module.
struct Child {
    link: Link,
    memory: Memory,
    blocks: Blocks,
    most_blocks: u32,
    source: Option<Instance>,
    run: Option<Run>,
    /// The types of events that the host knows.
    typs: Vec<&'static str>,
    /// Events that have found no room yet.
    pending: VecDeque<Pending>,
    /// Bytes of frames that were given.
    given: u64,
    /// Bytes of the last event that was given.
    last: u64,
}

/// An open run.
struct Run {
    number: u32,
    /// The source is called; otherwise it has failed, or is triggered.
    is_giving: bool,
    has_ended: bool,
    /// What the host is told when all events were sent.
    news: Option<(u16, Vec<u8>)>,
}

struct Pending {
    typ: u8,
    kind: EventKind,
    frames: Vec<Frame>,
}

impl Child {
    fn work(&mut self, plugin: Plugin, stop: UnixStream) -> io::Result<()> {
        let services = Arc::new(Services { stop });
        loop {
            let wants = match (&self.run, self.pending.is_empty()) {
                (_, false) => {
                    self.make_room()?;
                    true
                }
                (Some(run), true) if run.is_giving => true,
                _ => {
                    link::wait(&mut [PollFd::new(self.link.descriptor(), PollFlags::POLLIN)], Duration::MAX)?;
                    false
                }
            };
            if !wants || services.stop_requested() {
                self.link.receive()?;
                // One after the other: a request may take long, and none is made before the answer.
                while let Some((head, body)) = self.link.next().map_err(wrong)? {
                    let body = self.link.body(body).to_vec();
                    if head.kind == to_child::BYE {
                        return Ok(());
                    }
                    self.obey(head, &body, &plugin, &services)?;
                }
                if self.link.has_ended() {
                    return Ok(());
                }
            } else if self.pending.is_empty() && !self.tell_news()? {
                self.pull()?;
            }
        }
    }

    fn obey(&mut self, head: Head, body: &[u8], plugin: &Plugin, services: &Arc<Services>) -> io::Result<()> {
        let done = match (head.kind, &mut self.source) {
            (to_child::PING, _) => return self.say(Head { kind: to_host::PONG, ..head }, &[]),
            (to_child::GROWN, _) => {
                self.blocks.grow(wire::number(body).map_err(wrong)?.0.min(self.most_blocks));
                return Ok(());
            }
            (to_child::ASK, source) => {
                let status = source.as_mut().and_then(|source| source.status().ok()).unwrap_or_default();
                let text = serde_json::to_vec(&text(status))?;
                return self.say(Head { kind: to_host::STATUS, ..head }, &text);
            }
            (to_child::CREATE, _) if head.stream != 0 => Err(Failure {
                kind: Some(ErrorKind::Internal),
                text: "this child serves one stream, of number 0".into(),
            }),
            (to_child::CREATE, _) => {
                let create: Create = wire::json(body).map_err(wrong)?;
                let made = plugin.create(&create.name, &create.settings.to_string(), services.clone());
                made.and_then(|mut source| {
                    let parameters = source.parameters()?.unwrap_or_else(|| "[]".to_owned());
                    self.source = Some(source);
                    Ok(parameters.into_bytes())
                })
                .map_err(failure)
            }
            (_, None) => Err(Failure { kind: Some(ErrorKind::Internal), text: "there is no source".into() }),
            (to_child::OPEN, Some(source)) => {
                self.pending.clear();
                self.run = None;
                source
                    .open()
                    .map(|()| {
                        let is_giving = !source.on_demand();
                        self.run = Some(Run { number: head.run, is_giving, has_ended: false, news: None });
                        Vec::new()
                    })
                    .map_err(failure)
            }
            (to_child::CLOSE, Some(source)) => {
                self.pending.clear();
                self.run = None;
                source.close().map(|()| Vec::new()).map_err(failure)
            }
            (to_child::SET, Some(source)) => {
                let (len, rest) = wire::number(body).map_err(wrong)?;
                let (name, value) = rest.split_at_checked(len as usize).ok_or_else(|| wrong("a torn parameter"))?;
                let name = std::str::from_utf8(name).map_err(wrong)?;
                source.set_parameter(name, value).map(|()| Vec::new()).map_err(failure)
            }
            (to_child::TRIGGER, Some(_)) => self.trigger(wire::long(body).map_err(wrong)?.0)?.map(|()| Vec::new()),
            (kind, _) if kind >= wire::OPTIONAL => return Ok(()),
            (kind, _) => return Err(wrong(format!("a message of kind {kind}"))),
        };
        match done {
            Ok(body) => self.say(Head { kind: to_host::DONE, ..head }, &body),
            Err(failure) => self.say(Head { kind: to_host::FAILED, ..head }, &failure.to_bytes()),
        }
    }

    /// Makes one call of `next`, and sends what it gave.
    fn pull(&mut self) -> io::Result<()> {
        let began = Instant::now();
        let mut given = Vec::new();
        let Some(source) = &mut self.source else { return Ok(()) };
        let outcome = source.next(LIMITS, PULL, |typ, kind, frames| given.push((typ, kind, frames.collect())));
        self.queue(given)?;
        self.push()?;
        let Some(run) = &mut self.run else { return Ok(()) };
        match outcome {
            Ok(Progress::More | Progress::Idle) => {}
            Ok(Progress::End) if !run.has_ended => {
                run.has_ended = true;
                run.news = Some((to_host::ENDED, Vec::new()));
            }
            // If the source answers at once, it is asked again a little later, or when the host has something.
            Ok(Progress::End) if began.elapsed() < PULL / 10 => {
                link::wait(&mut [PollFd::new(self.link.descriptor(), PollFlags::POLLIN)], PULL)?;
            }
            Ok(Progress::End) => {}
            Err(fault) => run.news = Some((to_host::BROKEN, failure(fault).to_bytes())),
        }
        Ok(())
    }

    /// Tells the host of the end of the run, after its last event. Returns whether there was something to tell.
    fn tell_news(&mut self) -> io::Result<bool> {
        let Some(run) = &mut self.run else { return Ok(false) };
        let Some((kind, body)) = run.news.take() else { return Ok(false) };
        run.is_giving &= kind != to_host::BROKEN;
        let head = Head { kind, run: run.number, ..Head::default() };
        self.say(head, &body)?;
        Ok(true)
    }

    /// Gives the event of this number, as the answer to the host that waits for it.
    fn trigger(&mut self, number: u64) -> io::Result<Result<(), Failure>> {
        let mut given = Vec::new();
        let Some(source) = &mut self.source else { return Ok(Ok(())) };
        let outcome = source.trigger(number, LIMITS, |typ, kind, frames| given.push((typ, kind, frames.collect())));
        self.queue(given)?;
        self.push_all()?;
        Ok(outcome.map_err(failure))
    }

    fn queue(&mut self, given: Vec<(&'static str, EventKind, Vec<Frame>)>) -> io::Result<()> {
        for (typ, kind, frames) in given {
            let known = self.typs.iter().position(|known| std::ptr::eq(*known, typ));
            let typ = match known {
                Some(index) => index,
                // The interface allows an instance no more types than the protocol does.
                None => {
                    self.typs.push(typ);
                    let index = self.typs.len() - 1;
                    self.say(Head::new(to_host::TYP, 0), &[&[index as u8], typ.as_bytes()].concat())?;
                    index
                }
            };
            self.pending.push_back(Pending { typ: typ as u8, kind, frames });
        }
        Ok(())
    }

    /// Sends events, as far as there is room. A source whose event can never be sent has failed.
    fn push(&mut self) -> io::Result<()> {
        let number = self.run.as_ref().map_or(0, |run| run.number);
        while !self.pending.is_empty() {
            let (mut events, mut places, mut rest, mut bytes) = (Vec::new(), Vec::new(), Rest::default(), 0);
            let taken = self.memory.taken();
            while let Some(event) = self.pending.front() {
                let size: usize = event.frames.iter().map(Frame::len).sum();
                let is_ahead = self.given.wrapping_sub(taken) + bytes > WINDOW.max(self.last);
                let is_long = events.len() >= MOST_EVENTS || places.len() + event.frames.len() > MOST_FRAMES;
                if is_long && !events.is_empty() || is_ahead {
                    break;
                }
                let from = places.len();
                let lengths = event.frames.iter().map(Frame::len);
                let released = |block| self.memory.released(block);
                if event.frames.len() > MOST_FRAMES || !self.blocks.place(lengths, &mut rest, released, &mut places) {
                    break;
                }
                for (place, frame) in places[from..].iter().zip(&event.frames) {
                    self.memory.write(*place, frame.as_slice());
                }
                (bytes, self.last) = (bytes + size as u64, size as u64);
                events.push(WireEvent { kind: event.kind, typ: event.typ, frames: event.frames.len() as u16 });
                self.pending.pop_front();
            }
            if events.is_empty() {
                return self.refuse_if_impossible(number);
            }
            self.given = self.given.wrapping_add(bytes);
            self.send_events(number, &events, &places)?;
        }
        Ok(())
    }

    fn send_events(&mut self, run: u32, events: &[WireEvent], places: &[WireFrame]) -> io::Result<()> {
        let mut body = Vec::with_capacity(events.len() * 4 + places.len() * 12);
        wire::write_events(events, places, &mut body);
        debug_assert!(body.len() <= LONGEST_TO_HOST);
        self.say(Head { kind: to_host::EVENTS, run, count: events.len() as u32, ..Head::default() }, &body)
    }

    /// Ends the run if the next event does not fit into all of the shared memory.
    fn refuse_if_impossible(&mut self, number: u32) -> io::Result<()> {
        let Some(event) = self.pending.front() else { return Ok(()) };
        let bytes: usize = event.frames.iter().map(Frame::len).sum();
        let blocks: usize = event.frames.iter().map(|frame| frame.len().div_ceil(wire::BLOCK).max(1)).sum();
        let small: usize = event.frames.iter().filter(|frame| frame.len() <= wire::BLOCK / 2).map(Frame::len).sum();
        let fits = blocks.min(bytes.div_ceil(wire::BLOCK) + 2 * small.div_ceil(wire::BLOCK) + event.frames.len());
        let text = if event.frames.len() > MOST_FRAMES {
            format!(
                "an event has {} frames; a source in a process of its own may give {MOST_FRAMES}",
                event.frames.len()
            )
        } else if fits > self.most_blocks as usize {
            format!(
                "an event of {bytes} bytes does not fit into the memory that is shared with the host, of {} MiB; raise \
                 shared_memory of isolate",
                (self.most_blocks as usize * wire::BLOCK) >> 20
            )
        } else {
            return Ok(());
        };
        self.pending.clear();
        let failure = Failure { kind: Some(ErrorKind::Settings), text };
        if let Some(run) = &mut self.run {
            run.is_giving = false;
        }
        self.say(Head { kind: to_host::BROKEN, run: number, ..Head::default() }, &failure.to_bytes())
    }

    /// Sends all events while the host waits for an answer: it makes no other request meanwhile.
    fn push_all(&mut self) -> io::Result<()> {
        self.push()?;
        while !self.pending.is_empty() {
            self.make_room()?;
            self.link.receive()?;
            while let Some((head, body)) = self.link.next().map_err(wrong)? {
                match head.kind {
                    to_child::PING => self.say(Head { kind: to_host::PONG, ..head }, &[])?,
                    to_child::GROWN => {
                        let (blocks, _) = wire::number(self.link.body(body)).map_err(wrong)?;
                        self.blocks.grow(blocks.min(self.most_blocks));
                    }
                    kind => return Err(wrong(format!("a message of kind {kind} before the answer"))),
                }
            }
            if self.link.has_ended() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Asks the host for room, waits for it a little, and tries again to send. While it waits, the source may keep its
    /// connections alive.
    fn make_room(&mut self) -> io::Result<()> {
        let needed: usize = self
            .pending
            .front()
            .map_or(0, |event| event.frames.iter().map(|frame| frame.len().div_ceil(wire::BLOCK).max(1)).sum());
        let (now, taken) = (self.blocks.len(), self.memory.taken());
        if self.given == taken && now < self.most_blocks {
            let more = (now + needed as u32).max(2 * now).min(self.most_blocks);
            self.say(Head::new(to_host::MORE, 0), &more.to_le_bytes())?;
        }
        let seen = [&taken.to_le_bytes()[..], &self.blocks.sum(|block| self.memory.released(block)).to_le_bytes()];
        self.say(Head::new(to_host::WAIT, 0), &seen.concat())?;
        let mut ends = [
            PollFd::new(self.link.descriptor(), PollFlags::POLLIN),
            PollFd::new(self.memory.room(), PollFlags::POLLIN),
        ];
        link::wait(&mut ends, NOW_AND_THEN)?;
        if ends.iter().all(|end| end.any() != Some(true)) {
            self.held_back();
        }
        self.memory.clear_room();
        self.push()
    }

    fn held_back(&mut self) {
        if let (Some(source), Some(_)) = (&mut self.source, &self.run) {
            let _ = source.held_back();
        }
    }

    fn say(&mut self, head: Head, body: &[u8]) -> io::Result<()> {
        let source = &mut self.source;
        self.link.send(&head.with(body), || {
            if let Some(source) = source {
                let _ = source.held_back();
            }
            Ok(())
        })
    }
}

/// What a source in a child has of the host.
struct Services {
    stop: UnixStream,
}

impl HostServices for Services {
    fn log(&self, level: LogLevel, message: &str) {
        let prefix = match level {
            LogLevel::Error => 3,
            LogLevel::Warn => 4,
            LogLevel::Info => 6,
            LogLevel::Debug => 7,
        };
        let lines: String = message.lines().map(|line| format!("<{prefix}>{line}\n")).collect();
        // An error means that nobody listens.
        let _ = io::stderr().write_all(lines.as_bytes());
    }

    fn stop_requested(&self) -> bool {
        let mut ends = [PollFd::new(self.stop.as_fd(), PollFlags::POLLIN)];
        link::wait(&mut ends, Duration::ZERO).is_ok() && ends[0].any() == Some(true)
    }

    fn stop_descriptor(&self) -> BorrowedFd<'_> {
        self.stop.as_fd()
    }
}

fn failure(fault: Fault) -> Failure {
    match fault {
        Fault::Source(error) => Failure { kind: Some(error.kind()), text: error.message().to_owned() },
        fault => Failure { kind: None, text: fault.to_string() },
    }
}

fn text(status: RunStatus) -> StatusText {
    let RunStatus { counters, skipped, last_invalid, bytes_waiting, connected, peer } = status;
    let connected =
        connected.map(|(connected, lasted)| (connected, u64::try_from(lasted.as_nanos()).unwrap_or(u64::MAX)));
    StatusText { counters, skipped, last_invalid, bytes_waiting, connected, peer }
}

fn wrong(what: impl ToString) -> io::Error {
    io::Error::other(format!("the host sent {}", what.to_string()))
}
