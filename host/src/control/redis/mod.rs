//! Control by a dranspose controller, through Redis.
//!
//! Three tasks for each ingester, each with its own connection, so that a blocking read delays nobody: `updates` turns
//! the controller's updates into commands, `assigned` reads work, `publish` publishes our state. One task publishes the
//! process's log lines. Each task survives the loss of its connection and continues where it was. The data path never
//! waits for any of them.

mod address;
mod assigned;
mod build;
mod explain;
#[cfg(feature = "__fuzz")]
pub(crate) mod fuzz;
mod health;
mod joining;
mod keys;
mod link;
mod logs;
mod messages;
mod parameters;
mod publish;
mod rival;
mod secrets;
mod tail;
mod updates;
mod wire;
mod work;

use std::path::PathBuf;

use tokio::{sync::watch, task::JoinSet};
use tracing::Instrument as _;

pub(crate) use self::address::Address;
use self::{build::BuildMeta, health::Health, link::Link};
use super::{IngesterHandle, report::ControlReport};

/// Shared context of one ingester's tasks.
#[derive(Clone)]
struct Context {
    ingester: IngesterHandle,
    health: Health,
}

/// State that the tasks of one ingester share.
#[derive(Debug, Clone, Default, PartialEq)]
struct Shared {
    /// Whether `updates` is listening: a controller that sees our state may send an update at once.
    listening: bool,
    /// Hash of our parameters; `None` until the first update was processed: with the hash of an empty set the
    /// controller would stop repeating its update.
    parameters_hash: Option<String>,
}

/// Serves all ingesters until `stop` rings, then removes our published state.
pub(crate) async fn run(
    address: Address,
    build_meta: PathBuf,
    ingesters: Vec<IngesterHandle>,
    report: watch::Sender<ControlReport>,
    stop: watch::Receiver<bool>,
) {
    let health = Health::new(report);
    let build = BuildMeta::read(&build_meta).await;
    let mut tasks = JoinSet::new();
    for ingester in ingesters {
        let (shared, seen) = watch::channel(Shared::default());
        let context = Context { ingester, health: health.clone() };
        let link = || Link::new(&address, &health);
        let named = tracing::error_span!(parent: None, "ingester", ingester = %context.ingester.name);
        tasks.spawn(updates::run(link(), context.clone(), shared, stop.clone()).instrument(named.clone()));
        tasks.spawn(assigned::run(link(), context.clone(), stop.clone()).instrument(named.clone()));
        tasks.spawn(publish::run(link(), context, seen, build.clone(), stop.clone()).instrument(named));
    }
    let (last_lines, none_come) = watch::channel(false);
    let logs = tokio::spawn(logs::run(Link::new(&address, &health), health.clone(), none_come));
    while let Some(ended) = tasks.join_next().await {
        if let Err(problem) = ended {
            tracing::error!("a task of Redis control died: {problem}");
        }
    }
    last_lines.send_replace(true);
    let _ = logs.await;
}

/// Returns when `stop` rings.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the host is gone, which counts as a stop.
    let _ = stop.wait_for(|stop| *stop).await;
}
