//! Reads the assignments of the scan that the ingester has reported ready, from the first on.
//!
//! Waiting assignments are bounded, here and in the ingester: the ingester stops taking them at its limit, then its
//! queue fills up, then this task stops reading.

use tokio::sync::watch;

use super::{Context, keys, link::Link, stopped, tail::Tail, work::WorkReader};
use crate::{
    control::Stopped,
    counter::Counter,
    ingester::command::{Assignment, Assignments},
    names::ScanId,
};

/// Maximum number of events, and of workers, in one piece: a controller's list may be as long as the scan, and name any
/// number of workers.
const AT_ONCE: usize = 2000;

pub(super) async fn run(mut link: Link, mut context: Context, mut stop: watch::Receiver<bool>) {
    let serve = async {
        loop {
            let Some(scan) = context.ingester.report.borrow_and_update().ready else {
                if context.ingester.report.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let mut report = context.ingester.report.clone();
            tokio::select! {
                Err(Stopped) = read(&mut link, &context, scan) => return,
                _ = report.wait_for(|report| report.ready != Some(scan)) => {}
            }
            // The abandoned read still blocks on the server.
            link.abandon();
        }
    };
    tokio::select! {
        () = serve => {}
        () = stopped(&mut stop) => {}
    }
}

/// Reads one scan's assignments until it is cancelled. Returns only when the ingester has stopped.
async fn read(link: &mut Link, context: &Context, scan: ScanId) -> Result<(), Stopped> {
    let health = &context.health;
    let mut tail = Tail::from_start(keys::assigned(scan), health);
    let mut reader = WorkReader::new(&context.ingester.streams);
    loop {
        for entry in tail.next(link).await {
            let mut events = match reader.read(&entry.data) {
                Ok(events) => events.into_iter(),
                Err(problem) => {
                    health.complain(Counter::AssignmentsInvalid, &format!("{}: {problem}", entry.id));
                    continue;
                }
            };
            for name in reader.impossible.drain(..) {
                health.complain(Counter::AssignmentsToImpossibleWorkers, &format!("{name:?}"));
            }
            while let Some(events) = piece(&mut events) {
                context.ingester.assign(Assignments { scan, workers: reader.workers.clone(), events }).await?;
            }
        }
    }
}

/// The next events to hand over together; `None` at the end.
fn piece(events: &mut impl Iterator<Item = Assignment>) -> Option<Vec<Assignment>> {
    let mut piece = Vec::new();
    let mut weight = 0;
    while weight < AT_ONCE {
        let Some(event) = events.next() else { break };
        weight += 1 + event.streams.iter().map(|(_, workers)| workers.len()).sum::<usize>();
        piece.push(event);
    }
    (!piece.is_empty()).then_some(piece)
}
