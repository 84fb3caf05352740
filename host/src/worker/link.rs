//! The forwarder's end of the workers inside the program.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Instant, SystemTime},
};

use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{
    Pulse,
    event::{Origin, WorkerEvent},
};
use crate::{
    budget::Account,
    ingester::{
        message::Message,
        workers::{NotJoined, Workers},
    },
    names::{ScanId, WorkerName},
    output::{connection::SendProgress, router::SendOutcome},
    recycle::Pooled,
};

/// A worker inside the program, on its way to a forwarder.
#[derive(Debug)]
pub(crate) struct Joining {
    pub(crate) name: WorkerName,
    pub(super) events: mpsc::UnboundedSender<WorkerEvent>,
    /// The bytes of all its events that are not dropped yet.
    pub(super) held: Arc<Account>,
    pub(super) limit: u64,
    pub(super) pulse: Arc<Pulse>,
    pub(super) origin: Arc<Origin>,
    pub(super) answer: oneshot::Sender<Result<(), NotJoined>>,
}

/// The workers inside the program that a forwarder serves.
#[derive(Debug)]
pub(crate) struct Links {
    joining: mpsc::UnboundedReceiver<Joining>,
    links: HashMap<WorkerName, Link>,
}

#[derive(Debug)]
struct Link {
    service_uuid: Uuid,
    events: mpsc::UnboundedSender<WorkerEvent>,
    held: Arc<Account>,
    limit: u64,
    pulse: Arc<Pulse>,
    taken: u64,
    origin: Arc<Origin>,
}

impl Links {
    pub(crate) fn new(joining: mpsc::UnboundedReceiver<Joining>) -> Self {
        Self { joining, links: HashMap::new() }
    }

    /// Takes new workers. Returns whether there was one.
    pub(crate) fn join(&mut self, workers: &mut Workers, now: Instant, wall: SystemTime) -> bool {
        let Ok(Joining { name, events, held, limit, pulse, origin, answer }) = self.joining.try_recv() else {
            return false;
        };
        let service_uuid = Uuid::new_v4();
        let joined = workers.join(&name, service_uuid, now, wall);
        if joined.is_ok() {
            self.links.insert(name, Link { service_uuid, events, held, limit, pulse, taken: 0, origin });
        }
        // The error means that the caller waits no longer; then the worker is dropped, too.
        let _ = answer.send(joined);
        true
    }

    /// Pings for those that are alive, and removes those that were dropped.
    pub(crate) fn look(&mut self, workers: &mut Workers, now: Instant, wall: SystemTime) {
        self.links.retain(|name, link| {
            let lives = !link.events.is_closed();
            if !lives {
                workers.leave(name);
            } else if link.pulse.beats(&mut link.taken) {
                workers.beat(name, link.service_uuid, now, wall);
            }
            lives
        });
    }

    /// Hands over waiting messages, as many as fit. `None`: there is no such worker inside the program.
    pub(crate) fn send<'a>(
        &self,
        worker: &WorkerName,
        scan: ScanId,
        messages: impl Iterator<Item = &'a Pooled<Message>>,
    ) -> Option<SendOutcome> {
        let link = self.links.get(worker)?;
        let mut progress = SendProgress { messages: 0, begun: 0 };
        for message in messages {
            let Some(held) = link.room(message.bytes as u64) else { break };
            let event = WorkerEvent { origin: link.origin.clone(), scan, message: message.clone(), _held: held };
            if link.events.send(event).is_err() {
                return Some(SendOutcome::Unreachable);
            }
            progress.messages += 1;
        }
        Some(if progress.messages == 0 { SendOutcome::Busy } else { SendOutcome::Accepted(progress) })
    }
}

impl Link {
    /// Room for a message: one is always taken, whatever its size. The forwarder is rung when there is room again.
    fn room(&self, bytes: u64) -> Option<crate::budget::Charge> {
        let take = || match self.held.used() {
            0 => Some(self.held.take(bytes)),
            _ => self.held.try_take(bytes),
        };
        take().or_else(|| {
            self.held.wait_for_at_most(self.limit.saturating_sub(bytes));
            take()
        })
    }
}
