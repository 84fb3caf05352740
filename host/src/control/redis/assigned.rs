//! Reads the assignments of the scan that the ingester has reported ready, from the first on.

use redis::{RedisResult, streams::StreamReadReply};
use tokio::sync::watch;

use super::{BLOCK, Complaints, Link, keys, messages::WorkAssignment, stopped};
use crate::{control::Line, ingester::command::Assignments, names::ScanId};

/// Entries taken in one read: bounds what is held here, together with the queue to the ingester.
const AT_ONCE: usize = 256;

pub(super) async fn run(mut link: Link, mut line: Line, mut stop: watch::Receiver<bool>) {
    let serve = async {
        loop {
            let Some(scan) = line.report.borrow_and_update().ready else {
                if line.report.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let mut report = line.report.clone();
            tokio::select! {
                () = read(&mut link, &line, scan) => return,
                () = async { drop(report.wait_for(|report| report.ready != Some(scan)).await) } => {}
            }
            // The abandoned read still blocks on the old connection.
            link.connection = None;
        }
    };
    tokio::select! {
        () = serve => {}
        () = stopped(&mut stop) => {}
    }
}

/// Reads one scan's assignments until it is abandoned. Ends only when the ingester has stopped.
async fn read(link: &mut Link, line: &Line, scan: ScanId) {
    let key = keys::assigned(scan);
    let mut last = "0".to_owned();
    let mut complaints = Complaints::default();
    loop {
        let reply: RedisResult<Option<StreamReadReply>> = redis::cmd("XREAD")
            .arg("COUNT")
            .arg(AT_ONCE)
            .arg("BLOCK")
            .arg(BLOCK.as_millis() as u64)
            .arg("STREAMS")
            .arg(&key)
            .arg(&last)
            .query_async(link.get().await)
            .await;
        let entries = match reply {
            Ok(reply) => reply.map(|reply| reply.keys).unwrap_or_default().into_iter().flat_map(|stream| stream.ids),
            Err(problem) => {
                link.failed(&problem);
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        link.worked();
        for entry in entries {
            last.clone_from(&entry.id);
            let text: Option<Vec<u8>> = entry.get(keys::DATA);
            let list = serde_json::from_slice::<Vec<WorkAssignment>>(text.as_deref().unwrap_or_default());
            let events = match list {
                Ok(list) => list.into_iter().map(|work| work.filtered(&line.streams)).collect(),
                Err(problem) => {
                    complaints.add("assignments that are none", &problem);
                    continue;
                }
            };
            if line.commands.assign(Assignments { scan, events }).await.is_err() {
                return;
            }
        }
    }
}
