//! The child that runs a loaded plugin: one thread, which calls the source and speaks with the host.
//!
//! The source's stop signal is the socket itself: it is readable while a message of the host waits, so the source returns,
//! and the message is handled. Log lines go to standard error, with the prefixes of sd-daemon(3).
#![forbid(unsafe_code)]

mod give;
mod services;

use std::{collections::VecDeque, io, os::unix::net::UnixStream, sync::Arc, time::Duration};

use framegate_plugin_abi::{
    caller::{Fault, Instance, Plugin, RunStatus},
    codes::ErrorKind,
    host::HostServices as _,
};
use nix::poll::{PollFd, PollFlags};

use self::{
    give::{Pending, Run},
    services::Services,
};
use crate::{
    arena::{self, Memory},
    blocks::Blocks,
    link::{self, Link},
    wire::{self, Create, Failure, Head, Hello, LONGEST_TO_CHILD, StatusText, VERSION, Welcome, to_child, to_host},
};

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
        blocks: Blocks::new(welcome.blocks.min(welcome.most_blocks)),
        most_blocks: welcome.most_blocks,
        asked_blocks: 0,
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
    /// The number of blocks that the host was last asked for: a machine that refuses is not asked for the same again.
    asked_blocks: u32,
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

impl Child {
    fn work(&mut self, plugin: Plugin, stop: UnixStream) -> io::Result<()> {
        let services = Arc::new(Services::new(stop));
        loop {
            let wants = match (&self.run, self.pending.is_empty()) {
                (_, false) => {
                    let impossible = self.make_room()?;
                    self.breaks(impossible);
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
        if self.takes_notice(head, body)? {
            return Ok(());
        }
        let done = match (head.kind, &mut self.source) {
            (to_child::ASK, source) => {
                let status = source.as_mut().and_then(|source| source.status().ok()).unwrap_or_default();
                let text = serde_json::to_vec(&text(status))?;
                return self.say(Head { kind: to_host::STATUS, ..head }, &text);
            }
            (kind, _) if kind >= wire::OPTIONAL => return Ok(()),
            (to_child::CREATE, _) if head.stream != 0 => Err(Failure {
                kind: Some(ErrorKind::Internal),
                text: "this child serves one stream, of number 0".into(),
            }),
            (to_child::CREATE, _) => {
                let create: Create = wire::json(body).map_err(wrong)?;
                services.set_level(&create.log);
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
                let opened = source.open().map_err(failure);
                opened.map(|()| {
                    self.run = Some(Run::new(head.run, !source.on_demand()));
                    Vec::new()
                })
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
            (kind, _) => return Err(wrong(format!("a message of kind {kind}"))),
        };
        match done {
            Ok(body) => self.say(Head { kind: to_host::DONE, ..head }, &body),
            Err(failure) => self.say(Head { kind: to_host::FAILED, ..head }, &failure.to_bytes()),
        }
    }

    /// Handles the messages that may come at any time. Returns whether it is one of them.
    fn takes_notice(&mut self, head: Head, body: &[u8]) -> io::Result<bool> {
        match head.kind {
            to_child::PING => self.say(Head { kind: to_host::PONG, ..head }, &[])?,
            to_child::GROWN => self.blocks.grow(wire::number(body).map_err(wrong)?.0.min(self.most_blocks)),
            _ => return Ok(false),
        }
        Ok(true)
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
