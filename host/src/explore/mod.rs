//! The heart of an ingester and the queues before it, explored: every order of what can happen, up to a depth, and long random
//! histories.
//!
//! - [`ops`]: what can happen;
//! - [`spec`], on [`state`]: what must happen, told as simply as possible, and what may happen next;
//! - [`world`]: the real thing, driven one step at a time, and compared with the former after each;
//! - here: the search through all orders; it begins at some histories that matter, because a scan needs eight steps until the
//!   first message is out; two histories that lead to the same state are followed once;
//! - [`machine`]: random histories, much longer, with proptest's state machine.
//!
//! Whether they find what they shall was tried, by putting these into the code, one at a time; each was found:
//!
//! - the old scan: its messages stay with their workers; a queue that was given up takes events; what is left in it is not
//!   counted; a late word of its capture finishes the new scan;
//! - pairing: the place of a dropped event is not kept; an assignment is paired before all its events are there; a later
//!   assignment overtakes; a gap between assignments is passed over; a worker named twice gets a frame twice;
//! - the end: finished before the capture is closed; finished with a pair left; a finish is forgotten while sources open; finished
//!   while a stream on demand was asked for its part;
//! - sources: ready before the last has answered; one that opens too late is served; what comes after a failure is paired;
//! - workers: one that was given up forgets a count, is served again, or is served again when it pings.
//!
//! Two were real: the last one of the end, and the last one of all: a worker that was forgotten at a scan's start and given up in the
//! scan was taken for a new one when it woke.
//!
//! `FRAMEGATE_EXPLORE=2` searches two steps deeper, which takes some twenty times as long; `PROPTEST_CASES=100000` plays more.

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

/// A scan that runs, and in it an event of both streams for both workers.
const RUNNING: [Op; 4] = [Op::Start { both: true }, Op::Obey(0), Op::Obey(1), Op::Turn];
const WAITING: [Op; 8] = {
    let [start, a, b, turn] = RUNNING;
    [start, a, b, turn, Op::Assign, Op::Event(0), Op::Event(1), turn]
};

/// Plays a history, and looks after the last steps; what came before was looked at already. Answers the state, or what went
/// wrong after how many steps.
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

/// Two streams with detectors, and a capture that holds nothing back.
const USUAL: Bounds = Bounds { scans: 3, events: 3, restarts: 1, swaps: 0, blocks: false, on_demand: false };

fn explore(beginning: &[Op], depth: usize) {
    explore_with(USUAL, beginning, depth);
}

/// All that can happen in `depth` steps after a beginning. Breadth first, so that what goes wrong is told by a shortest history.
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
    // It was heard of long ago.
    let before = [Op::Ping(1), Op::Wait];
    let after = [Op::Event(0), Op::Event(1), Op::Unreachable(1), Op::Wait];
    explore(&[&before[..], &WAITING[..], &after[..]].concat(), 4);
}
