//! Publishes our state, with an expiry, and removes it at the end; sends the notice that a scan is finished.
//!
//! While a younger instance with our name serves ([`super::rival`]) it publishes only that we have stepped back.

use std::time::Duration;

use redis::RedisResult;
use tokio::{sync::watch, time::Instant};

use super::{
    Context, Shared,
    build::BuildMeta,
    keys,
    link::{Link, Unusable},
    messages::{PublishedState, finished},
    parameters::{Description, descriptions},
    rival::{OtherInstance, Rival},
    stopped,
    wire::MOST,
};
use crate::{
    control::{IngesterHandle, report::FaultSubject},
    counter::Counter,
    ingester::report::Report,
    names::ScanId,
};

/// Maximum interval (dranspose 0.2.0, `distributed.py`, `register`).
const EVERY: Duration = Duration::from_millis(1300);
/// Changes within this time are written together.
const JOIN: Duration = Duration::from_millis(50);
/// Redis deletes our state after this many seconds without a write.
const EXPIRY: u64 = 10;
/// Time limit for the removal: the process is about to end, with or without Redis, and the host does not wait longer.
const REMOVAL: Duration = Duration::from_secs(1);

pub(super) async fn run(
    mut link: Link,
    mut context: Context,
    mut shared: watch::Receiver<Shared>,
    build: Option<BuildMeta>,
    mut stop: watch::Receiver<bool>,
) {
    tokio::select! {
        () = serve(&mut link, &mut context, &mut shared, build.as_ref()) => {}
        () = stopped(&mut stop) => {}
    }
    let _ = tokio::time::timeout(REMOVAL, remove(&mut link, &context)).await;
}

async fn serve(
    link: &mut Link,
    context: &mut Context,
    shared: &mut watch::Receiver<Shared>,
    build: Option<&BuildMeta>,
) {
    // An error means that the host ends; then nothing is published.
    if shared.wait_for(|shared| shared.listening).await.is_err() {
        return;
    }
    let mut noticed: Option<ScanId> = None;
    let mut rival = Rival::new(context.ingester.service_uuid);
    loop {
        // Comes first, because it may wait for Redis: so the state below is not from before an outage.
        let Some(serves) = look(link, context, &mut rival).await else { continue };
        if !serves {
            let last = context.ingester.report.borrow().clone();
            if !wait_for_change(&mut context.ingester, shared, &last).await {
                return;
            }
            continue;
        }
        let described = describe(context);
        let ingester = &mut context.ingester;
        let report = ingester.report.borrow_and_update().clone();
        let hash = shared.borrow_and_update().parameters_hash.clone();
        let state = PublishedState::new(ingester, &report, build, hash.as_deref()).json();
        let mut write = redis::cmd("SETEX");
        let Some(Ok(())) = link.ask_once(write.arg(keys::config(&ingester.name)).arg(EXPIRY).arg(state)).await else {
            continue;
        };
        rival.wrote();
        if !described.is_empty() {
            let mut pipe = redis::pipe();
            for Description { name, json } in &described {
                pipe.set_ex(keys::parameter_description(name), json, EXPIRY).ignore();
            }
            // Without them, everything else goes on.
            let _ = link.ask_all_once(&pipe).await;
        }
        // Nobody reads the notices of a scan that was replaced.
        let over = report.finished.filter(|scan| report.ready == Some(*scan) && noticed != Some(*scan));
        if let Some(scan) = over {
            let mut notice = redis::cmd("XADD");
            notice.arg(keys::ready(scan)).arg("*").arg(keys::DATA).arg(finished(ingester));
            match link.ask_once::<redis::Value>(&notice).await {
                Some(Ok(_)) => {}
                // Our state is published even while Redis does not take the notice.
                None | Some(Err(Unusable::Denied)) => continue,
                Some(Err(problem)) => {
                    let detail = format!("{}: {problem}", keys::ready(scan));
                    context.health.complain(Counter::RedisKeysOfAnotherType, &detail);
                }
            }
            noticed = Some(scan);
        }
        if !wait_for_change(ingester, shared, &report).await {
            return;
        }
    }
}

/// The sources' parameters. Descriptions of a removed source are not repeated, so Redis forgets them.
fn describe(context: &mut Context) -> Vec<Description> {
    let (described, wrong) = descriptions(&context.ingester.parameters.borrow_and_update());
    let subject = FaultSubject::Descriptions(context.ingester.name.clone());
    match wrong.is_empty() {
        true => context.health.resolve(&subject),
        false => context.health.fault(subject, &wrong.join("; ")),
    }
    described
}

/// Whether we are the serving instance with our name; logs changes. `None`: Redis has not answered.
async fn look(link: &mut Link, context: &Context, rival: &mut Rival) -> Option<bool> {
    let IngesterHandle { name, service_uuid, url, .. } = &context.ingester;
    let marker = keys::stepped_back(name);
    let in_key = instance_in(link, &keys::config(name)).await?;
    let aside = instance_in(link, &marker).await?;
    let now = std::time::Instant::now();
    let younger = rival.look(in_key, now);
    let has_changed = context.health.stepped_back(name, younger.is_some());
    let subject = FaultSubject::Instances(name.clone());
    let told = |other: &OtherInstance| format!("(service uuid {}, {})", other.service_uuid, other.url);
    if let Some(younger) = younger {
        let what = format!(
            "a younger instance of this name is running {}: until it ends, this one hides from Redis and takes no \
             stream in new scans; stop one of them",
            told(&younger)
        );
        context.health.fault(subject, &what);
        if aside.is_none_or(|first| first.service_uuid == *service_uuid) {
            let own = serde_json::json!({"service_uuid": service_uuid, "url": url}).to_string();
            link.ask_once::<()>(redis::cmd("SETEX").arg(&marker).arg(EXPIRY).arg(own)).await?.ok();
        } else {
            link.served();
        }
        return Some(false);
    }
    if has_changed {
        tracing::info!("the younger instance has ended: this one is active again");
    }
    match (rival.insists(now), aside.filter(|other| other.service_uuid != *service_uuid)) {
        (Some(older), _) => {
            let what = "does not step back, so workers switch between the two; stop one of them";
            context.health.fault(subject, &format!("an older instance of this name {} {what}", told(older)));
        }
        (None, Some(older)) => {
            let what = "is also running, and has stepped back; stop it";
            context.health.fault(subject, &format!("an older instance of this name {} {what}", told(&older)));
        }
        (None, None) => context.health.resolve(&subject),
    }
    Some(true)
}

/// The instance that a key names; nobody, if Redis denies it to our user. `None`: Redis has not answered.
async fn instance_in(link: &mut Link, key: &str) -> Option<Option<OtherInstance>> {
    let found = link.peek_once::<Option<Vec<u8>>>(redis::cmd("GET").arg(key)).await?;
    Some(found.ok().flatten().and_then(|value| serde_json::from_slice(&value).ok()))
}

/// Removes our own entries, but not those of a second instance with our name. One after the other: a missing right to one
/// costs only that.
async fn remove(link: &mut Link, context: &Context) {
    let script = "local value = redis.call('GET', KEYS[1]) \
                  if value and string.find(value, ARGV[1], 1, true) then redis.call('DEL', KEYS[1]) end return 0";
    let ingester = &context.ingester;
    for key in [keys::config(&ingester.name), keys::stepped_back(&ingester.name)] {
        let mut remove = redis::cmd("EVAL");
        remove.arg(script).arg(1).arg(&key).arg(ingester.service_uuid.to_string());
        let removed: RedisResult<i64> = link.connected().await.ask(&remove, MOST).await;
        if let Err(problem) = removed {
            tracing::warn!("cannot remove {key} from Redis; it stays until it expires: {problem}");
        }
    }
}

/// Values that others must see at once.
fn landmarks(report: &Report) -> impl PartialEq {
    let connected = report.workers.iter().filter(|worker| worker.connected);
    let workers: Vec<_> = connected.map(|worker| (&worker.name, worker.service_uuid)).collect();
    (report.ready, report.finished, workers)
}

/// Waits for a change that others must see, and a little longer, so that changes come together; or until the next write
/// is due. False: the ingester has ended, and its state must no longer be visible.
async fn wait_for_change(ingester: &mut IngesterHandle, shared: &mut watch::Receiver<Shared>, last: &Report) -> bool {
    let due = Instant::now() + EVERY;
    let IngesterHandle { report, parameters, .. } = ingester;
    let changed = async {
        tokio::select! {
            () = async { drop(report.wait_for(|report| landmarks(report) != landmarks(last)).await) } => {}
            () = or_never(shared.changed()) => {}
            () = or_never(parameters.changed()) => {}
        }
    };
    if tokio::time::timeout_at(due, changed).await.is_ok() {
        // All services wait for the start and the finish of a scan: these are not delayed.
        let is_waited_for = |report: &Report| report.ready != last.ready || report.finished != last.finished;
        let _ = tokio::time::timeout(JOIN, report.wait_for(is_waited_for)).await;
    }
    report.has_changed().is_ok()
}

/// Waits for a change; for ever if the sender is gone.
async fn or_never(changed: impl Future<Output = Result<(), watch::error::RecvError>>) {
    if changed.await.is_err() {
        std::future::pending::<()>().await;
    }
}
