//! The simulated controller's assignments: they send every event to its workers, in lists, some time before the event
//! arrives.
//!
//! The lists are prepared before the run starts, so that they take little CPU. They are sent on a thread of the
//! measuring process, which knows the workers' progress.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use framegate_tests::{bench::ends, controller::Controller};

use crate::{rows::Row, sides::stream};

/// How assignments are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Dealing {
    /// Events per list.
    pub(crate) list: usize,
    /// Lists sent to Redis before waiting for its answers.
    pub(crate) lists_at_once: usize,
    /// How many events may be assigned ahead of the workers; `None`: all events are assigned before the first arrives.
    pub(crate) ahead: Option<u64>,
}

impl Dealing {
    /// As a busy controller assigns.
    pub(crate) const USUAL: Self = Self { list: 200, lists_at_once: 1, ahead: Some(20_000) };
}

/// All assignments of a run.
pub(crate) struct Hand {
    dealing: Dealing,
    lists: Vec<String>,
}

/// Progress of a run: the workers write it, the controller reads it.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Events received by the workers.
    pub(crate) events: AtomicU64,
    pub(crate) is_over: AtomicBool,
}

impl Hand {
    /// For `images` images, and the detectors' starts and ends.
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

    /// Whether all events are assigned before the first arrives.
    pub(crate) fn deals_before(&self) -> bool {
        self.dealing.ahead.is_none()
    }

    /// Sends assignments, as far ahead as allowed, until all are sent or the run is over.
    pub(crate) fn deal(self, controller: &mut Controller, watch: &Watch) {
        let key = format!("dranspose:assigned:{}", controller.mapping);
        let mut dealt = 0;
        for lists in self.lists.chunks(self.dealing.lists_at_once) {
            // Relaxed: only the value matters.
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
            // If Redis is gone, the run ends by itself because no assignments arrive.
            if pipe.query::<()>(controller.redis()).is_err() || watch.is_over.load(Ordering::Relaxed) {
                return;
            }
            dealt += (lists.len() * self.dealing.list) as u64;
        }
    }
}
