//! Explores the heart of an ingester and its input queues: every order of operations, up to a depth, and long random
//! histories.
//!
//! - [`ops`]: the operations;
//! - [`spec`], on [`state`]: the required behaviour, as simply as possible, and the operations that are possible next;
//! - [`world`]: the real ingester, driven one step at a time, and compared with the spec after each;
//! - here: the search through all orders. It begins at some important histories, because a scan needs eight steps until
//!   the first message is out. Two histories that lead to the same state are followed once;
//! - [`machine`]: random histories, much longer, with proptest's state machine.
//!
//! To prove that they find faults, each of these was put into the code, one at a time; each was found:
//!
//! - the old scan: its messages stay with their workers; an abandoned queue takes events; the rest of that queue is not
//!   counted; a late message of its capture finishes the new scan;
//! - pairing: the place of a dropped event is not kept; an assignment is paired before all its events have arrived; a later
//!   assignment overtakes; a gap between assignments is skipped; a worker named twice gets a frame twice;
//! - the end: finished before the capture is closed; finished with a pair left; a finish is forgotten while sources open;
//!   finished while a stream on demand has been triggered;
//! - sources: ready before the last has answered; a source that opens too late is served; events after a failure are paired;
//! - workers: an evicted worker loses a count, is served again, or is served again when it pings.
//!
//! Two were real bugs: the last one of the end, and the last one of all. There, a worker was forgotten at a scan's
//! start and evicted in the scan; when it woke it was taken for a new one.
//!
//! `FRAMEGATE_EXPLORE=2` searches two steps deeper, which takes some twenty times as long; `PROPTEST_CASES=100000` runs
//! more histories.

mod machine;
mod ops;
mod spec;
mod state;
mod world;

use std::{
    collections::{HashSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
};

use self::{
    ops::{ALL, Bounds, Op},
    spec::Spec,
    world::World,
};
use crate::wake::Wake;

/// A running scan, with one event of both streams for both workers.
const RUNNING: [Op; 4] = [Op::Start { both: true }, Op::Obey(0), Op::Obey(1), Op::Turn];
const WAITING: [Op; 8] = {
    let [start, a, b, turn] = RUNNING;
    [start, a, b, turn, Op::Assign, Op::Event(0), Op::Event(1), turn]
};

/// Plays a history, and checks the state after the last steps; earlier steps were checked before. Returns the state, or
/// the failure and the number of steps before it.
fn play(history: &[Op], last: usize, bounds: Bounds, wake: &Wake) -> Result<Spec, (usize, String)> {
    let (mut spec, mut world) = (Spec::new(bounds), World::new(wake, bounds.on_demand));
    for (index, op) in history.iter().enumerate() {
        world.step(&spec, *op);
        spec.step(*op);
        if index + last >= history.len() {
            world.check(&spec).map_err(|problem| (index + 1, problem))?;
        }
    }
    match world.used() {
        0 => Ok(spec),
        bytes => Err((history.len(), format!("{bytes} bytes never come back"))),
    }
}

/// Two streams with detectors, and a capture that never blocks.
const USUAL: Bounds = Bounds { scans: 3, events: 3, restarts: 1, swaps: 0, blocks: false, on_demand: false };

fn explore(beginning: &[Op], depth: usize) {
    explore_with(USUAL, beginning, depth);
}

/// Everything that can happen in `depth` steps after a beginning. Breadth first, so that a failure is found with a
/// shortest history.
fn explore_with(bounds: Bounds, beginning: &[Op], depth: usize) {
    let depth = depth + std::env::var("FRAMEGATE_EXPLORE").map_or(0, |more| more.parse::<usize>().unwrap());
    let (wake, mut seen, mut played) = (Wake::new().unwrap(), HashSet::new(), 0);
    let mut todo = VecDeque::from([(beginning.to_vec(), play(beginning, beginning.len(), bounds, &wake).unwrap())]);
    while let Some((history, spec)) = todo.pop_front() {
        for op in ALL.into_iter().filter(|op| spec.may(*op)) {
            let longer = [&history[..], &[op]].concat();
            played += 1;
            let after = play(&longer, 1, bounds, &wake)
                .unwrap_or_else(|(at, problem)| panic!("{problem}\nafter {:?}", &longer[..at]));
            let mut hasher = DefaultHasher::new();
            after.hash(&mut hasher);
            if longer.len() < beginning.len() + depth && seen.insert(hasher.finish()) {
                todo.push_back((longer, after));
            }
        }
    }
    println!("{played} steps, {} states after {} of the beginning", seen.len() + 1, beginning.len());
    assert!(seen.len() > 100, "that much must be possible");
}

#[test]
fn from_nothing_every_order_of_what_can_happen_is_right() {
    explore(&[], 5);
}

#[test]
fn in_a_running_scan_every_order_of_what_can_happen_is_right() {
    explore(&RUNNING, 4);
}

#[test]
fn with_messages_waiting_every_order_of_what_can_happen_is_right() {
    explore(&WAITING, 4);
}

#[test]
fn in_a_finishing_scan_every_order_of_what_can_happen_is_right() {
    let before = [Op::Start { both: false }, Op::Obey(0), Op::Obey(1)];
    explore(&[&before[..], &WAITING[..], &[Op::Assign, Op::Finish]].concat(), 4);
}

#[test]
fn while_a_scan_takes_over_every_order_of_what_can_happen_is_right() {
    explore(&[&WAITING[..], &[Op::Event(0), Op::Start { both: true }]].concat(), 4);
}

/// Two assignments, and the detector's part of their events.
const HALF: [Op; 4] = [Op::Assign, Op::Assign, Op::Event(0), Op::Event(0)];

#[test]
fn with_a_stream_on_demand_every_order_of_what_can_happen_is_right() {
    explore_with(Bounds { on_demand: true, ..USUAL }, &[&RUNNING[..], &HALF].concat(), 4);
}

#[test]
fn while_the_capture_holds_back_every_order_of_what_can_happen_is_right() {
    let stands = [Op::Event(1), Op::Disk];
    explore_with(Bounds { blocks: true, ..USUAL }, &[&RUNNING[..], &HALF, &stands].concat(), 4);
}

#[test]
fn with_sources_that_are_swapped_every_order_of_what_can_happen_is_right() {
    let swapped = [Op::Swap, Op::Start { both: true }, Op::Obey(0)];
    explore_with(Bounds { swaps: 3, ..USUAL }, &[&RUNNING[..], &HALF, &swapped].concat(), 4);
}

#[test]
fn with_a_worker_given_up_every_order_of_what_can_happen_is_right() {
    // The worker's last ping is long ago.
    let before = [Op::Ping(1), Op::Wait];
    let after = [Op::Event(0), Op::Event(1), Op::Unreachable(1), Op::Wait];
    explore(&[&before[..], &WAITING[..], &after[..]].concat(), 4);
}
