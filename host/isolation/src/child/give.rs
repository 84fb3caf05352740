//! Events of a child's source: called for, copied into shared memory, and sent as far as there is room.
#![forbid(unsafe_code)]

use std::{
    io,
    time::{Duration, Instant},
};

use framegate_plugin_abi::{
    caller::Limits,
    codes::{ErrorKind, EventKind, Progress},
    frame::Frame,
};
use nix::poll::{PollFd, PollFlags};

use super::{Child, failure, wrong};
use crate::{
    blocks::Rest,
    link::{self, NOW_AND_THEN},
    wire::{self, BLOCK, Failure, Head, MOST_FRAMES, WINDOW, WireEvent, WireFrame, to_host},
};

/// An open run.
pub(super) struct Run {
    number: u32,
    /// The source is called; otherwise it has failed, or is triggered.
    pub(super) is_giving: bool,
    has_ended: bool,
    /// The message that follows the last event: its kind and its body.
    news: Option<(u16, Vec<u8>)>,
}

impl Run {
    pub(super) fn new(number: u32, is_giving: bool) -> Self {
        Self { number, is_giving, has_ended: false, news: None }
    }
}

/// An event that has found no room yet.
pub(super) struct Pending {
    typ: u8,
    kind: EventKind,
    frames: Vec<Frame>,
}

impl Pending {
    fn bytes(&self) -> usize {
        self.frames.iter().map(Frame::len).sum()
    }

    /// The most blocks that its frames need.
    fn blocks(&self) -> usize {
        let small = |frame: &&Frame| frame.len() <= BLOCK / 2;
        let large = self.frames.iter().filter(|frame| !small(frame)).map(|frame| frame.len().div_ceil(BLOCK));
        // Two small ones that do not fit into one block fill more than half of it.
        let small = self.frames.iter().filter(small).map(|frame| frame.len() + 16).sum::<usize>();
        large.sum::<usize>() + (2 * small).div_ceil(BLOCK)
    }
}

impl Child {
    /// Makes one call of `next`, and sends what it gave.
    pub(super) fn pull(&mut self) -> io::Result<()> {
        let began = Instant::now();
        let mut given = Vec::new();
        let Some(source) = &mut self.source else { return Ok(()) };
        let outcome = source.next(LIMITS, PULL, |typ, kind, frames| given.push((typ, kind, frames.collect())));
        self.queue(given)?;
        let impossible = self.push()?;
        let Some(run) = &mut self.run else { return Ok(()) };
        match (impossible, outcome) {
            (Some(failure), _) => run.news = Some((to_host::BROKEN, failure.to_bytes())),
            (None, Ok(Progress::More | Progress::Idle)) => {}
            (None, Ok(Progress::End)) if !run.has_ended => {
                run.has_ended = true;
                run.news = Some((to_host::ENDED, Vec::new()));
            }
            // If the source answers at once, it is asked again a little later, or when the host has something.
            (None, Ok(Progress::End)) if began.elapsed() < PULL / 10 => {
                link::wait(&mut [PollFd::new(self.link.descriptor(), PollFlags::POLLIN)], PULL)?;
            }
            (None, Ok(Progress::End)) => {}
            (None, Err(fault)) => run.news = Some((to_host::BROKEN, failure(fault).to_bytes())),
        }
        Ok(())
    }

    /// Tells the host of the end of the run, after its last event. Returns whether there was something to tell.
    pub(super) fn tell_news(&mut self) -> io::Result<bool> {
        let Some(run) = &mut self.run else { return Ok(false) };
        let Some((kind, body)) = run.news.take() else { return Ok(false) };
        run.is_giving &= kind != to_host::BROKEN;
        let head = Head { kind, run: run.number, ..Head::default() };
        self.say(head, &body)?;
        Ok(true)
    }

    /// Gives the event of this number, as the answer to the host that waits for it.
    pub(super) fn trigger(&mut self, number: u64) -> io::Result<Result<(), Failure>> {
        let mut given = Vec::new();
        let Some(source) = &mut self.source else { return Ok(Ok(())) };
        let outcome = source.trigger(number, LIMITS, |typ, kind, frames| given.push((typ, kind, frames.collect())));
        self.queue(given)?;
        let impossible = self.push_all()?;
        Ok(impossible.map_or(outcome.map_err(failure), Err))
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

    /// Sends events, as far as there is room. Returns why the next one can never be sent; it and the others are gone then.
    pub(super) fn push(&mut self) -> io::Result<Option<Failure>> {
        while !self.pending.is_empty() {
            let (mut events, mut places, mut rest, mut bytes) = (Vec::new(), Vec::new(), Rest::default(), 0);
            let taken = self.memory.taken();
            while let Some(event) = self.pending.front() {
                let is_ahead = self.given.wrapping_sub(taken) + bytes > WINDOW.max(self.last);
                let is_long = events.len() >= MOST_EVENTS || places.len() + event.frames.len() > MOST_FRAMES;
                if is_long && !events.is_empty() || is_ahead || event.frames.len() > MOST_FRAMES {
                    break;
                }
                let from = places.len();
                let lengths = event.frames.iter().map(Frame::len);
                let released = |block| self.memory.released(block);
                if !self.blocks.place(lengths, &mut rest, released, &mut places) {
                    break;
                }
                for (place, frame) in places[from..].iter().zip(&event.frames) {
                    self.memory.write(*place, frame.as_slice());
                }
                let size = event.bytes() as u64;
                (bytes, self.last) = (bytes + size, size);
                events.push(WireEvent { kind: event.kind, typ: event.typ, frames: event.frames.len() as u16 });
                self.pending.pop_front();
            }
            if events.is_empty() {
                let impossible = self.impossible();
                if impossible.is_some() {
                    self.pending.clear();
                }
                return Ok(impossible);
            }
            self.given = self.given.wrapping_add(bytes);
            self.send_events(&events, &places)?;
        }
        Ok(None)
    }

    fn send_events(&mut self, events: &[WireEvent], places: &[WireFrame]) -> io::Result<()> {
        let mut body = Vec::with_capacity(events.len() * 4 + places.len() * 12);
        wire::write_events(events, places, &mut body);
        let run = self.run.as_ref().map_or(0, |run| run.number);
        self.say(Head { kind: to_host::EVENTS, run, count: events.len() as u32, ..Head::default() }, &body)
    }

    /// Why the next event does not fit into all of the shared memory.
    fn impossible(&self) -> Option<Failure> {
        let event = self.pending.front()?;
        let text = if event.frames.len() > MOST_FRAMES {
            let frames = event.frames.len();
            format!("an event has {frames} frames; a source in a process of its own may give {MOST_FRAMES}")
        } else if event.blocks() > self.most_blocks as usize {
            format!(
                "an event of {} bytes does not fit into the memory that is shared with the host, of {} MiB; raise \
                 shared_memory of isolate",
                event.bytes(),
                (self.most_blocks as usize * BLOCK) >> 20
            )
        } else {
            return None;
        };
        Some(Failure { kind: Some(ErrorKind::Settings), text })
    }

    /// Sends all events while the host waits for an answer: it makes no other request meanwhile.
    fn push_all(&mut self) -> io::Result<Option<Failure>> {
        let mut impossible = self.push()?;
        while !self.pending.is_empty() {
            impossible = self.make_room()?;
            self.link.receive()?;
            while let Some((head, body)) = self.link.next().map_err(wrong)? {
                let body = self.link.body(body).to_vec();
                if !self.takes_notice(head, &body)? {
                    return Err(wrong(format!("a message of kind {} before the answer", head.kind)));
                }
            }
            if self.link.has_ended() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(impossible)
    }

    /// Asks the host for room, waits for it a little, and tries again to send: see [`Child::push`]. While it waits, the
    /// source may keep its connections alive.
    pub(super) fn make_room(&mut self) -> io::Result<Option<Failure>> {
        // Looked at before it is tried once more: what is released after that wakes this process.
        let taken = self.memory.taken();
        let released = self.blocks.sum(|block| self.memory.released(block));
        let impossible = self.push()?;
        let Some(event) = self.pending.front() else { return Ok(impossible) };
        let (needed, now) = (event.blocks() as u32, self.blocks.len());
        let more = (now + needed).max(2 * now).min(self.most_blocks);
        if self.given == self.memory.taken() && more > now && more > self.asked_blocks {
            self.asked_blocks = more;
            self.say(Head::new(to_host::MORE, 0), &more.to_le_bytes())?;
        }
        let seen = [&taken.to_le_bytes()[..], &released.to_le_bytes()];
        self.say(Head::new(to_host::WAIT, 0), &seen.concat())?;
        let ends = [self.link.descriptor(), self.memory.room()];
        let mut ends = ends.map(|end| PollFd::new(end, PollFlags::POLLIN));
        link::wait(&mut ends, NOW_AND_THEN)?;
        if ends.iter().all(|end| end.any() != Some(true)) {
            self.held_back();
        }
        self.memory.clear_room();
        self.push()
    }

    /// The run fails, if its next event can never be sent.
    pub(super) fn breaks(&mut self, impossible: Option<Failure>) {
        if let (Some(run), Some(failure)) = (&mut self.run, impossible) {
            run.news = Some((to_host::BROKEN, failure.to_bytes()));
        }
    }

    fn held_back(&mut self) {
        if let (Some(source), Some(_)) = (&mut self.source, &self.run) {
            let _ = source.held_back();
        }
    }
}

/// Batch limits of one call of `next`: as in a host.
const LIMITS: Limits = Limits { events: 64, bytes: 1 << 20 };
/// The longest wait of one `next`.
const PULL: Duration = Duration::from_millis(100);
/// Events of a message at most, so that it stays short.
const MOST_EVENTS: usize = 1024;
