//! Receives commands and sends reports. Drivers: `redis` (a dranspose controller), `standalone`, and `program` (the
//! program that embeds the host).
//!
//! Runs on the tokio runtime. A driver gets one [`IngesterHandle`] for each ingester. Knows no ZeroMQ, no plugins, no sources.
//!
//! Each driver must send the commands of one ingester in the right order, send [`Assignments`] only for a scan that the
//! ingester has reported ready, end cleanly when `stop` rings, and never panic on input from outside.

pub(crate) mod program;
#[cfg(feature = "redis")]
pub(crate) mod redis;
#[cfg(not(feature = "redis"))]
#[path = "no_redis.rs"]
pub(crate) mod redis;
pub(crate) mod report;
mod scan;
pub(crate) mod standalone;

use std::{fmt, path::PathBuf, sync::Arc};

use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use crate::{
    ingester::{
        command::{Assignments, Command},
        report::Report,
    },
    names::{IngesterName, StreamName},
    settings::{Control, Standalone},
    worker::link::Joining,
};

use self::{program::Program, redis::Address, report::ControlReport};

/// The controller of the host, with checked settings.
#[derive(Debug)]
pub(crate) enum Driver {
    /// A dranspose controller at this address; and the path of the build's description.
    Redis(Box<Address>, PathBuf),
    /// No controller.
    Standalone(Standalone),
    /// The program that embeds the host; what its scans share.
    Program(Arc<Program>),
}

impl Driver {
    /// # Errors
    /// The address of Redis is invalid, or one of its files (password, certificates) cannot be read. The message
    /// contains no secret.
    pub(crate) fn new(control: &Control) -> Result<Self, String> {
        Ok(match control {
            Control::Redis(settings) => Self::Redis(Box::new(Address::new(settings)?), settings.build_meta.clone()),
            Control::Standalone(standalone) => Self::Standalone(standalone.clone()),
            Control::Program => Self::Program(Arc::default()),
        })
    }

    /// The report before it runs.
    pub(crate) fn report(&self) -> ControlReport {
        match self {
            Self::Redis(address, _) => ControlReport::redis(address.place().to_owned()),
            Self::Standalone(_) => ControlReport::standalone(),
            Self::Program(_) => ControlReport::program(),
        }
    }

    /// What the scans of the program share, ready to begin one; with other drivers none ever begins.
    pub(crate) fn program(&self, ingesters: &[IngesterHandle]) -> Arc<Program> {
        let Self::Program(program) = self else { return Arc::default() };
        program.open(ingesters.to_vec());
        program.clone()
    }

    /// Whether it may end without a stop request.
    pub(crate) fn ends_by_itself(&self) -> bool {
        matches!(self, Self::Standalone(_))
    }

    /// Serves all ingesters until `stop` rings, or until its scans are done.
    pub(crate) async fn run(
        self,
        ingesters: Vec<IngesterHandle>,
        report: watch::Sender<ControlReport>,
        stop: watch::Receiver<bool>,
    ) {
        match self {
            Self::Redis(address, build_meta) => self::redis::run(*address, build_meta, ingesters, report, stop).await,
            Self::Standalone(settings) => standalone::run(settings, ingesters, report, stop).await,
            Self::Program(program) => program.until_stopped(stop).await,
        }
    }
}

/// The run-time parameters of an ingester's sources, each with its stream.
pub(crate) type Parameters = Vec<(StreamName, crate::source::parameter::Parameter)>;

/// One ingester as a driver sees it.
#[derive(Debug, Clone)]
pub(crate) struct IngesterHandle {
    /// The ingester's name.
    pub(crate) name: IngesterName,
    /// New for each start of the process.
    #[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "for a dranspose controller"))]
    pub(crate) service_uuid: Uuid,
    /// `tcp://host:port`, the address for workers.
    pub(crate) url: String,
    /// Its streams.
    pub(crate) streams: Vec<StreamName>,
    /// The run-time parameters of its sources, which change when a source is swapped.
    #[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "for a dranspose controller"))]
    pub(crate) parameters: watch::Receiver<Parameters>,
    /// Sends commands to it.
    pub(crate) commands: CommandSender,
    /// Its latest report.
    pub(crate) report: watch::Receiver<Report>,
}

/// The sending half of an ingester's two queues. Two, so that a flood of assignments, which is limited by bytes, never
/// delays a new scan.
#[derive(Clone)]
pub(crate) struct CommandSender {
    commands: mpsc::Sender<Command>,
    assignments: mpsc::Sender<Assignments>,
    /// Workers inside the program that join.
    joining: mpsc::UnboundedSender<Joining>,
    /// Rings the forwarder after each send.
    ring: Arc<dyn Fn() + Send + Sync>,
}

/// The ingester's thread has ended and takes no more commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ingester has stopped")]
pub(crate) struct Stopped;

impl fmt::Debug for CommandSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandSender").finish_non_exhaustive()
    }
}

impl CommandSender {
    pub(crate) fn new(
        commands: mpsc::Sender<Command>,
        assignments: mpsc::Sender<Assignments>,
        joining: mpsc::UnboundedSender<Joining>,
        ring: Arc<dyn Fn() + Send + Sync>,
    ) -> Self {
        Self { commands, assignments, joining, ring }
    }

    /// A worker inside the program joins; it gets an answer, or finds that the ingester has stopped.
    pub(crate) fn join(&self, worker: Joining) {
        if self.joining.send(worker).is_ok() {
            (self.ring)();
        }
    }

    /// Rings the forwarder.
    pub(crate) fn bell(&self) -> Arc<dyn Fn() + Send + Sync> {
        self.ring.clone()
    }

    /// Sends a command; waits while the queue is full.
    pub(crate) async fn command(&self, command: Command) -> Result<(), Stopped> {
        self.commands.send(command).await.map_err(|_| Stopped)?;
        (self.ring)();
        Ok(())
    }

    /// Sends a command without waiting. Returns it if the queue is full; drops it if the ingester has stopped.
    pub(crate) fn try_command(&self, command: Command) -> Result<(), Command> {
        match self.commands.try_send(command) {
            Ok(()) => (self.ring)(),
            Err(mpsc::error::TrySendError::Full(command)) => return Err(command),
            Err(mpsc::error::TrySendError::Closed(_)) => {}
        }
        Ok(())
    }

    /// Waits for a place in the queue of assignments, while the queued ones reach their limit.
    pub(crate) async fn place(&self) -> Result<Place<'_>, Stopped> {
        let permit = self.assignments.reserve().await.map_err(|_| Stopped)?;
        Ok(Place { permit, ring: &self.ring })
    }
}

/// A free place in an ingester's queue of assignments.
pub(crate) struct Place<'a> {
    permit: mpsc::Permit<'a, Assignments>,
    ring: &'a Arc<dyn Fn() + Send + Sync>,
}

impl Place<'_> {
    /// Sends assignments.
    pub(crate) fn assign(self, assignments: Assignments) {
        self.permit.send(assignments);
        (self.ring)();
    }
}
