//! Shows our log lines on the controller's log page (package `redis-logs`, which every service of dranspose uses).
//!
//! One task for the process. Takes lines from `observe::logs`, where the oldest are dropped while Redis is away; what it
//! logs itself goes the same way, so it must not log for each line.

use std::{collections::VecDeque, time::Duration};

use tokio::sync::watch;

use super::{health::Health, keys, link::Link, stopped};
use crate::observe::logs::{Line, Lines};

/// What the stream keeps, about.
const KEPT: usize = 1000;
/// How long the last lines may take when the process ends.
const LAST: Duration = Duration::from_millis(100);
/// How long a key that holds no stream is left alone.
const RETRY: Duration = Duration::from_secs(5);

pub(super) async fn run(mut link: Link, health: Health, mut stop: watch::Receiver<bool>) {
    let mut waiting = VecDeque::new();
    let lines = Lines::of_process();
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
    // What was logged while the others ended. Bounded: the process is about to end, with or without Redis.
    waiting.extend(with_losses(lines.take_now()));
    if !waiting.is_empty() {
        let _ = tokio::time::timeout(LAST, send(&mut link, &health, &waiting)).await;
    }
}

/// The lines, and one more if some were lost.
fn with_losses((mut lines, lost): (VecDeque<Line>, u64)) -> VecDeque<Line> {
    if lost > 0
        && let Some(first) = lines.front()
    {
        let msg = format!("{lost} earlier log lines are not shown here: Redis was away, or there were too many");
        let told = Line { msg, lineno: line!(), name: module_path!(), created: first.created, levelname: "WARNING" };
        lines.push_front(told);
    }
    lines
}

/// Until Redis has them.
async fn send(link: &mut Link, health: &Health, lines: &VecDeque<Line>) {
    let mut pipe = redis::pipe();
    for line in lines {
        let add = pipe.cmd("XADD").arg(keys::LOGS).arg("MAXLEN").arg("~").arg(KEPT).arg("*");
        add.arg("msg").arg(&line.msg).arg("lineno").arg(line.lineno).arg("name").arg(line.name);
        add.arg("created").arg(line.created).arg("levelname").arg(line.levelname).ignore();
    }
    loop {
        match link.ask_all_once(&pipe).await {
            Some(Ok(())) => return,
            Some(Err(problem)) => {
                health.complain("keys of Redis that hold something else", &format!("{}: {problem}", keys::LOGS));
                tokio::time::sleep(RETRY).await;
            }
            None => {}
        }
    }
}
