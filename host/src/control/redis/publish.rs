//! Shows our state: when, what, how long it lives, and its removal; and the notice that a scan is finished.

use std::time::Duration;

use redis::{RedisResult, Script};
use tokio::{sync::watch, time::Instant};

use super::{
    Link, Shared, keys,
    messages::{BuildMeta, IngesterState, finished},
    parameters::published_name,
    stopped,
};
use crate::{
    control::Line,
    ingester::report::Report,
    names::{ScanId, WorkerName},
};

/// At least this often (dranspose 0.2.0, `distributed.py`, `register`).
const EVERY: Duration = Duration::from_millis(1300);
/// Changes within this time become one write.
const JOIN: Duration = Duration::from_millis(50);
/// Seconds after which Redis forgets us.
const EXPIRY: u64 = 10;

pub(super) async fn run(
    mut link: Link,
    mut line: Line,
    mut shared: watch::Receiver<Shared>,
    build: Option<BuildMeta>,
    mut stop: watch::Receiver<bool>,
) {
    let serve = async {
        let mut noticed: Option<ScanId> = None;
        loop {
            let report = line.report.borrow_and_update().clone();
            let hash = shared.borrow_and_update().parameters_hash.clone();
            let last = Landmarks::of(&report);
            let state = IngesterState::new(&line, &report, build.as_ref(), hash.as_deref());
            let text = serde_json::to_string(&state).expect("the state has only string keys and finite numbers");
            if let Err(problem) = publish(&mut link, &line, &text).await {
                link.failed(&problem);
                // The way back is in `get`; a server that answers with errors is asked again after this.
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
            link.worked();
            if let Some(scan) = report.finished.filter(|scan| noticed != Some(*scan)) {
                match notice(&mut link, &line, scan).await {
                    Ok(()) => noticed = Some(scan),
                    Err(problem) => link.failed(&problem),
                }
            }
            wait_for_change(&mut line.report, &mut shared, &last).await;
        }
    };
    tokio::select! {
        () = serve => {}
        () = stopped(&mut stop) => {}
    }
    // The key may belong to a second instance of our name by now.
    let script = Script::new(
        "local state = redis.call('GET', KEYS[1]) \
         if state and string.find(state, ARGV[1], 1, true) then return redis.call('DEL', KEYS[1]) end return 0",
    );
    let remove = async {
        let removed: RedisResult<i64> = script
            .key(keys::config(&line.name))
            .arg(line.service_uuid.to_string())
            .invoke_async(link.get().await)
            .await;
        if let Err(problem) = removed {
            tracing::warn!(ingester = %line.name, "our state stays in Redis until it expires: {problem}");
        }
    };
    // Bounded: the process is about to end, with or without Redis.
    let _ = tokio::time::timeout(Duration::from_millis(250), remove).await;
}

async fn publish(link: &mut Link, line: &Line, state: &str) -> RedisResult<()> {
    let mut pipe = redis::pipe();
    pipe.set_ex(keys::config(&line.name), state, EXPIRY).ignore();
    for (stream, parameter) in &line.parameters {
        let mut described = parameter.clone();
        described.name = published_name(stream, &parameter.name);
        let text = serde_json::to_string(&described).expect("a description is plain JSON");
        pipe.set_ex(keys::parameter_description(&described.name), text, EXPIRY).ignore();
    }
    pipe.query_async(link.get().await).await
}

async fn notice(link: &mut Link, line: &Line, scan: ScanId) -> RedisResult<()> {
    let text = finished(line);
    redis::cmd("XADD")
        .arg(keys::ready(scan))
        .arg("*")
        .arg(keys::DATA)
        .arg(text)
        .query_async::<redis::Value>(link.get().await)
        .await
        .map(drop)
}

/// What others must see at once.
#[derive(Debug, Default, PartialEq)]
struct Landmarks {
    ready: Option<ScanId>,
    finished: Option<ScanId>,
    workers: Vec<(WorkerName, Option<uuid::Uuid>)>,
}

impl Landmarks {
    fn of(report: &Report) -> Self {
        let connected = report.workers.iter().filter(|worker| worker.connected);
        Self {
            ready: report.ready,
            finished: report.finished,
            workers: connected.map(|worker| (worker.name.clone(), worker.service_uuid)).collect(),
        }
    }
}

/// Until something changed that others must see, and a little longer, so that changes come together; or until it is time.
async fn wait_for_change(report: &mut watch::Receiver<Report>, shared: &mut watch::Receiver<Shared>, last: &Landmarks) {
    let due = Instant::now() + EVERY;
    let changed = async {
        tokio::select! {
            () = async { drop(report.wait_for(|report| Landmarks::of(report) != *last).await) } => {}
            changed = shared.changed() => {
                if changed.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    };
    if tokio::time::timeout_at(due, changed).await.is_ok() {
        // A scan's uuid is waited for by everybody: it is not held back.
        let join = if report.borrow().ready == last.ready { JOIN } else { Duration::ZERO };
        tokio::time::sleep(join).await;
    }
}
