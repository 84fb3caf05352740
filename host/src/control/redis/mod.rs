//! Control by a dranspose controller, through Redis.
//!
//! Three tasks for each ingester, each with a connection of its own, so that a blocking read delays nobody: `updates` turns
//! the controller's updates into commands, `assigned` reads work, `publish` shows our state; and one task for the process's
//! log lines. Each survives any loss of its connection and goes on from where it was. The data path never waits for any of
//! them.

mod address;
mod assigned;
mod build;
mod explain;
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

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};

use tokio::{sync::watch, task::JoinSet};

pub(crate) use self::address::Address;
use self::{build::BuildMeta, health::Health, link::Link};
use super::{Line, report::ControlReport};

/// What the tasks of one ingester work with.
#[derive(Debug, Clone)]
struct Context {
    line: Line,
    health: Health,
    /// A younger instance of our name serves. Set by `publish`, read by `updates` when a scan starts: nothing else depends on
    /// the order of the two.
    stepped_back: Arc<AtomicBool>,
}

/// What the tasks of one ingester tell each other.
#[derive(Debug, Clone, Default, PartialEq)]
struct Shared {
    /// Whether updates are listened to: who sees us published may send one at once.
    listening: bool,
    /// Hash of the parameters we have; none until the first update was processed: the hash of nothing would stop the
    /// controller's repetition.
    parameters_hash: Option<String>,
}

/// Serves all lines until `stop` rings, then removes what was published.
pub(crate) async fn run(
    address: Address,
    build_meta: PathBuf,
    lines: Vec<Line>,
    report: watch::Sender<ControlReport>,
    stop: watch::Receiver<bool>,
) {
    let health = Health::new(report);
    let build = BuildMeta::read(&build_meta).await;
    let mut tasks = JoinSet::new();
    for line in lines {
        let (shared, seen) = watch::channel(Shared::default());
        let context = Context { line, health: health.clone(), stepped_back: Arc::default() };
        let link = || Link::new(&address, &health);
        tasks.spawn(updates::run(link(), context.clone(), shared, stop.clone()));
        tasks.spawn(assigned::run(link(), context.clone(), stop.clone()));
        tasks.spawn(publish::run(link(), context, seen, build.clone(), stop.clone()));
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

/// Ends when `stop` rings.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the host is gone, which is a stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
}
