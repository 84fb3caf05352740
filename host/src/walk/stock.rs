//! A reader of small events does not get far ahead of a working forwarder, and never waits for a forwarder that is itself waiting.

use std::{collections::VecDeque, thread};

use super::*;
use crate::{
    budget::Account,
    source::queue::{Item, Queue, Space},
    wake::Wake,
};

const LIMIT: Duration = Duration::from_secs(20);

fn queue() -> (Arc<Queue>, Arc<Account>) {
    let space = Arc::<Space>::default();
    let freed = space.clone();
    let account = Account::new(64 << 20, move || freed.freed());
    (Queue::new(WhenFull::Block, account.clone(), space, Wake::new().unwrap()), account)
}

fn push(queue: &Queue, count: usize, bytes: usize) {
    let event = || {
        let frames = [Frame::from_vec(vec![0; bytes])].into_iter().collect();
        Event { typ: "T", kind: EventKind::Data, frames }
    };
    assert!(queue.push(&mut (0..count).map(|_| event()).collect()));
}

fn take(queue: &Queue) -> VecDeque<Item> {
    let mut items = VecDeque::new();
    queue.take_all(&mut items, false, None);
    items
}

#[test]
fn a_reader_that_is_ahead_lets_the_forwarder_catch_up() {
    let (queue, account) = queue();
    for _ in 0..100 {
        push(&queue, 2000, 100);
        let ahead = account.used();
        let forwarder = {
            let queue = queue.clone();
            thread::spawn(move || take(&queue).clear())
        };
        let began = Instant::now();
        assert!(!queue.let_forwarder_catch_up(LIMIT));
        assert!(began.elapsed() < LIMIT && account.used() < ahead / 4);
        forwarder.join().unwrap();
    }
}

#[test]
fn it_waits_no_longer_than_its_time_and_is_told_when_the_forwarder_can_do_no_more() {
    const SHORT: Duration = Duration::from_millis(2);
    let (queue, _) = queue();
    push(&queue, 2000, 100);
    assert!(!queue.let_forwarder_catch_up(SHORT), "the forwarder has not even looked");
    let held = take(&queue);
    assert!(!queue.let_forwarder_catch_up(SHORT), "it is at work");
    queue.rest();
    assert!(queue.let_forwarder_catch_up(SHORT), "it has done what it could");
    push(&queue, 1, 100);
    assert!(!queue.let_forwarder_catch_up(SHORT), "there is something new for it");
    let more = take(&queue);
    queue.rest();
    assert!(queue.let_forwarder_catch_up(SHORT));
    drop((held, more));
    let began = Instant::now();
    assert!(!queue.let_forwarder_catch_up(LIMIT), "it has caught up");
    push(&queue, 40, 100_000);
    assert!(!queue.let_forwarder_catch_up(LIMIT), "large events are nobody's stock");
    push(&queue, 2000, 100);
    queue.abandon();
    assert!(!queue.let_forwarder_catch_up(LIMIT), "nobody wants them");
    assert!(began.elapsed() < LIMIT);
}
