//! The played controller's hand: every event to its workers, in lists, some time before it comes.
//!
//! What it says is prepared before the run begins, so that it takes little of the machine; it runs on a thread of whoever
//! measures, and knows from the workers' words how far they are.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use framegate_tests::{bench::ends, controller::Controller};

use crate::{rows::Row, sides::stream};

/// How assignments come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Dealing {
    /// Events of a list.
    pub(crate) list: usize,
    /// Lists that go to Redis before one waits for its answers.
    pub(crate) lists_at_once: usize,
    /// Events that are assigned before they are forwarded, at most; none: all of them before the first comes.
    pub(crate) ahead: Option<u64>,
}

impl Dealing {
    /// As a controller with much to do deals.
    pub(crate) const USUAL: Self = Self { list: 200, lists_at_once: 1, ahead: Some(20_000) };
}

/// Everything that is to be said in a run.
pub(crate) struct Hand {
    dealing: Dealing,
    lists: Vec<String>,
}

/// How far a run is: told by the workers, read by the controller's hand.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Events that have come to the workers.
    pub(crate) events: AtomicU64,
    pub(crate) is_over: AtomicBool,
}

impl Hand {
    /// For so many images, and the detectors' starts and ends around them.
    pub(crate) fn new(row: &Row, images: u64) -> Self {
        let all: Vec<_> = (0..row.workers).map(ends::name).collect();
        let streams: Vec<_> = (0..row.streams).map(stream).collect();
        let of = |workers: &[String]| {
            let each = streams.iter().map(|stream| format!("{stream:?}:{workers:?}"));
            format!("{{{}}}", each.collect::<Vec<_>>().join(","))
        };
        let everybody = of(&all);
        let in_turn: Vec<_> = all.iter().map(|one| of(std::slice::from_ref(one))).collect();
        let mut lists = Vec::new();
        let mut list = String::new();
        for event in 0..images + 2 {
            let is_end = event == 0 || event == images + 1;
            let turn = usize::try_from(event).map_or(0, |event| event % row.workers);
            let streams = if is_end || row.broadcast { &everybody } else { &in_turn[turn] };
            list.push(if list.is_empty() { '[' } else { ',' });
            let _ = write!(list, r#"{{"event_number":{event},"assignments":{streams}}}"#);
            if (event + 1) % row.dealing.list as u64 == 0 || event == images + 1 {
                list.push(']');
                lists.push(std::mem::take(&mut list));
            }
        }
        Self { dealing: row.dealing, lists }
    }

    /// How many events are assigned before the first comes.
    pub(crate) fn deals_before(&self) -> bool {
        self.dealing.ahead.is_none()
    }

    /// Deals, as far ahead as it may, until everything is dealt or the run is over.
    pub(crate) fn deal(self, controller: &mut Controller, watch: &Watch) {
        let key = format!("dranspose:assigned:{}", controller.mapping);
        let mut dealt = 0;
        for lists in self.lists.chunks(self.dealing.lists_at_once) {
            // Relaxed: only how large it is matters.
            while self.dealing.ahead.is_some_and(|ahead| dealt > watch.events.load(Ordering::Relaxed) + ahead) {
                if watch.is_over.load(Ordering::Relaxed) {
                    return;
                }
                thread::sleep(Duration::from_micros(500));
            }
            let mut pipe = redis::pipe();
            for list in lists {
                pipe.xadd(&key, "*", &[("data", list)]).ignore();
            }
            // A Redis that is gone ends the run by itself: nothing comes any more.
            if pipe.query::<()>(controller.redis()).is_err() || watch.is_over.load(Ordering::Relaxed) {
                return;
            }
            dealt += (lists.len() * self.dealing.list) as u64;
        }
    }
}
