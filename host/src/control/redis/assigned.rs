//! Reads the assignments of the scan that the ingester has reported ready, from the first on.
//!
//! What waits here and in the ingester is bounded: the ingester takes no more than it holds room for, then the queue to it
//! is full, then nothing more is read.

use tokio::sync::watch;

use super::{Context, keys, link::Link, stopped, tail::Tail, work::WorkReader};
use crate::{control::Stopped, ingester::command::Assignments, names::ScanId};

/// Assignments handed over in one piece: a controller's list may be as long as the scan.
const AT_ONCE: usize = 1000;

pub(super) async fn run(mut link: Link, mut context: Context, mut stop: watch::Receiver<bool>) {
    let serve = async {
        loop {
            let Some(scan) = context.line.report.borrow_and_update().ready else {
                if context.line.report.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let mut report = context.line.report.clone();
            tokio::select! {
                Err(Stopped) = read(&mut link, &context, scan) => return,
                _ = report.wait_for(|report| report.ready != Some(scan)) => {}
            }
            // The read that was abandoned still blocks on the server.
            link.abandon();
        }
    };
    tokio::select! {
        () = serve => {}
        () = stopped(&mut stop) => {}
    }
}

/// Reads one scan's assignments until it is abandoned. Ends only when the ingester has stopped.
async fn read(link: &mut Link, context: &Context, scan: ScanId) -> Result<(), Stopped> {
    let health = &context.health;
    let mut tail = Tail::from_start(keys::assigned(scan), health);
    let mut reader = WorkReader::new(&context.line.streams);
    loop {
        for entry in tail.next(link).await {
            let mut events = match reader.read(&entry.data) {
                Ok(events) => events,
                Err(problem) => {
                    health.complain("entries of assigned that are no assignments", &format!("{}: {problem}", entry.id));
                    continue;
                }
            };
            for name in reader.impossible.drain(..) {
                health.complain("assignments to a worker that cannot be", &format!("{name:?}"));
            }
            while !events.is_empty() {
                let rest = events.split_off(events.len().min(AT_ONCE));
                context.line.commands.assign(Assignments { scan, events }).await?;
                events = rest;
            }
        }
    }
}
