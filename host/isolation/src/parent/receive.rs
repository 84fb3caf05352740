//! What comes from a child: each message is checked before any of it is used.
#![forbid(unsafe_code)]

use std::{ops::Range, time::Instant};

use framegate_plugin_abi::{caller::Fault, codes::LogLevel};

use super::{Apart, Frames, Given};
use crate::{
    arena::Arena,
    wire::{self, Failure, Head, MOST_TYPS, WireError, WireFrame, to_child, to_host},
};

impl Apart {
    /// Receives what has come. Returns whether anything has.
    pub(super) fn receive(&mut self, call: &'static str) -> Result<bool, Fault> {
        let received = match self.link.receive() {
            Ok(received) => received,
            Err(problem) => return Err(self.lost(format!("the socket to its process failed in {call}: {problem}"))),
        };
        self.is_drained = !received || !self.link.may_have_more();
        if received {
            // Any message shows that it lives.
            (self.heard, self.pinged) = (Instant::now(), None);
        }
        loop {
            match self.link.next() {
                Ok(Some((head, body))) => self.handle(head, body)?,
                Ok(None) => return Ok(received && !self.link.has_ended()),
                Err(wrong) => return Err(self.nonsense(&wrong)),
            }
        }
    }

    fn handle(&mut self, head: Head, body: Range<usize>) -> Result<(), Fault> {
        let is_of_run = self.is_open && head.run == self.run;
        // What an earlier run still says is dropped; of a later one nothing can come.
        let is_of_no_run = head.run.wrapping_sub(1) >= self.run;
        if matches!(head.kind, to_host::EVENTS | to_host::ENDED | to_host::BROKEN) && is_of_no_run {
            return Err(
                self.nonsense(&WireError::Body(format!("a message of run {}, after {} runs", head.run, self.run)))
            );
        }
        let bytes = self.link.body(body.clone());
        let handled = match head.kind {
            to_host::HELLO | to_host::DONE | to_host::FAILED => self.take_answer(head.kind, body),
            to_host::STATUS => wire::json(bytes).map(|status| self.status = Some(status)),
            to_host::PONG => Ok(()),
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
                let is_true = self.arena.wait_for(taken, released);
                // Frames of earlier events are held here, so the event that is asked for may have to wait for them.
                let is_full = self.events.is_empty() && self.arena.released() != self.placed;
                if self.asked_for == Some(to_child::TRIGGER) && is_true && is_full {
                    self.asked = Instant::now();
                }
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

    fn take_answer(&mut self, kind: u16, body: Range<usize>) -> Result<(), WireError> {
        let bytes = self.link.body(body);
        let (is_hello, is_failure) = (kind == to_host::HELLO, kind == to_host::FAILED);
        match self.asked_for.take() {
            Some(request) if is_failure || is_hello == (request == to_child::WELCOME) => {
                self.answer = Some(if is_failure { Err(Failure::from_bytes(bytes)?) } else { Ok(bytes.to_vec()) });
                Ok(())
            }
            _ => Err(WireError::Body(format!("an answer of kind {kind} to no such request"))),
        }
    }

    fn typ(&mut self, body: Range<usize>) -> Result<(), WireError> {
        let bytes = self.link.body(body);
        let (index, text) = bytes.split_first().ok_or_else(|| WireError::Body("a type of no bytes".into()))?;
        if usize::from(*index) != self.typs.len() || self.typs.len() >= MOST_TYPS {
            return Err(WireError::Body(format!("type {index} after {} others", self.typs.len())));
        }
        let known = self.types.known(text).map_err(WireError::Body)?;
        self.typs.push(known);
        Ok(())
    }

    fn take_events(&mut self, head: Head, body: Range<usize>, is_of_run: bool) -> Result<(), WireError> {
        let len = body.len();
        let (events, places) = wire::read_events(head, self.link.body(body))?;
        let copies = places.clone().map(|place| place.len as usize).filter(|len| *len < self.launch.copy_below);
        self.ahead += len + head.count as usize * EVENT_COST + copies.sum::<usize>();
        if self.ahead > MOST_AHEAD {
            return Err(WireError::Body("more events than it may give before they are taken".into()));
        }
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
        self.placed = self.placed.wrapping_add(places.clone().count() as u32);
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

    /// Drops the events that wait here. The child may give as many others.
    pub(super) fn drop_events(&mut self) {
        let bytes = self.events.drain(..).map(|given| given.bytes).sum();
        self.arena.take(bytes);
        self.ahead = 0;
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

/// Most bytes of memory for events that wait here: more than a child needs that keeps to [`wire::WINDOW`], with frames
/// of a byte.
const MOST_AHEAD: usize = 128 << 20;
/// Memory for an event, without its frames.
const EVENT_COST: usize = size_of::<Given>();
