//! Shows our log lines on the controller's log page (package `redis-logs`, which every service of dranspose uses).
//!
//! One task for the process. Takes lines from `observe::logs`, which drops the oldest ones while Redis is unreachable.
//! Its own log lines take the same way, so it must not log for each line.

use std::{collections::VecDeque, time::Duration};

use tokio::sync::watch;

use super::{
    health::Health,
    keys,
    link::{Link, Unusable},
    stopped,
};
use crate::counter::Counter;
use crate::observe::logs::{LogLine, LogLines};

/// Approximate length of the stream.
const KEPT: usize = 1000;
/// Time limit for the last lines when the process ends.
const LAST: Duration = Duration::from_millis(100);
/// Pause before a retry if the key holds no stream.
const RETRY: Duration = Duration::from_secs(5);

pub(super) async fn run(mut link: Link, health: Health, mut stop: watch::Receiver<bool>) {
    let mut waiting = VecDeque::new();
    let lines = LogLines::of_process();
    let serve = async {
        loop {
            if waiting.is_empty() {
                waiting = with_losses(lines.take().await);
            }
            send(&mut link, &health, &waiting).await;
            waiting.clear();
        }
    };
    tokio::select! {
        () = serve => {}
        () = stopped(&mut stop) => {}
    }
    // Lines that were logged while the other tasks ended. Time-limited: the process is about to end, with or without Redis.
    waiting.extend(with_losses(lines.take_now()));
    if !waiting.is_empty() {
        let _ = tokio::time::timeout(LAST, send(&mut link, &health, &waiting)).await;
    }
}

/// The lines, and one more line if some were lost.
fn with_losses((mut lines, lost): (VecDeque<LogLine>, u64)) -> VecDeque<LogLine> {
    if lost > 0
        && let Some(first) = lines.front()
    {
        let msg = format!("{lost} earlier log lines are not shown here: Redis was away, or there were too many");
        let loss = LogLine { msg, lineno: line!(), name: module_path!(), created: first.created, levelname: "WARNING" };
        lines.push_front(loss);
    }
    lines
}

/// Retries until Redis has the lines.
async fn send(link: &mut Link, health: &Health, lines: &VecDeque<LogLine>) {
    let mut pipe = redis::pipe();
    for line in lines {
        let add = pipe.cmd("XADD").arg(keys::LOGS).arg("MAXLEN").arg("~").arg(KEPT).arg("*");
        add.arg("msg").arg(&line.msg).arg("lineno").arg(line.lineno).arg("name").arg(line.name);
        add.arg("created").arg(line.created).arg("levelname").arg(line.levelname).ignore();
    }
    loop {
        match link.ask_all_once(&pipe).await {
            Some(Ok(())) => return,
            None | Some(Err(Unusable::Denied)) => {}
            Some(Err(problem)) => {
                health.complain(Counter::RedisKeysOfAnotherType, &format!("{}: {problem}", keys::LOGS));
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}
