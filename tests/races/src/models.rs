//! The models; the test's name in `tests/models.rs` states what each checks.
//!
//! Each model was seen to fail with these faults in the host, one at a time:
//! - the wake's flag is cleared before its descriptor is read, or with an order less than `AcqRel`;
//! - a thread that returns bytes looks for a waiter first;
//! - a waiter does not check again, or sets its flag with an order less than `SeqCst`;
//! - an account checks and takes in two steps;
//! - a queue is emptied before it is marked as given up;
//! - a push does not ring;
//! - a reader that finds another's turn does not ring, or does so before it tries; a short turn leaves something and does not ring;
//! - an order rings after it was left, or clears the bell of one behind it; every order rings;
//! - a dropped event's place is not behind what was queued.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use framegate_plugin_api::{EventKind, Frame};
use loom::{
    model::Builder,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

use crate::{
    budget::Account,
    event::Event,
    settings::WhenFull,
    source::{
        orders::{Next, Orders},
        queue::{Item, Queue, Space},
    },
    sync::EventFd,
    turns::{Bell, ShortTurn, Turns},
    wake::Wake,
};

/// Every order with at most three preemptions: more found nothing further.
fn every_order(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

fn wake() -> (Wake, EventFd) {
    (Wake::new().unwrap(), EventFd::last())
}

/// Two threads add work and ring; a third sleeps until all work is there.
pub fn two_ringers_and_a_sleeper() {
    every_order(|| {
        let ((wake, descriptor), work) = (wake(), Arc::new(AtomicUsize::new(0)));
        let ringers = [(); 2].map(|()| {
            let (wake, work) = (wake.clone(), work.clone());
            thread::spawn(move || {
                // Only the ring orders it.
                work.fetch_add(1, Relaxed);
                wake.ring();
            })
        });
        loop {
            wake.clear();
            if work.load(Relaxed) == 2 {
                break;
            }
            descriptor.wait();
        }
        ringers.into_iter().for_each(|ringer| ringer.join().unwrap());
        wake.clear();
        assert!(!wake.is_rung() && !descriptor.is_readable(), "else whoever waits would spin");
    });
}

/// One thread waits until an account has room, two return bytes.
pub fn a_full_account_and_who_gives_back() {
    every_order(|| {
        let (wake, descriptor) = wake();
        let ringing = wake.clone();
        let account = Account::new(10, move || ringing.ring());
        let givers = [account.take(6), account.take(6)].map(|charge| thread::spawn(move || drop(charge)));
        loop {
            wake.clear();
            if !account.is_full() {
                break;
            }
            descriptor.wait();
        }
        givers.into_iter().for_each(|giver| giver.join().unwrap());
        assert_eq!(account.used(), 0);
    });
}

/// Two threads want bytes; there is room for one.
pub fn two_takers_and_room_for_one() {
    every_order(|| {
        let account = Account::new(100, || ());
        let takers = [(); 2].map(|()| {
            let account = account.clone();
            thread::spawn(move || account.try_take(60))
        });
        let granted = takers.map(|taker| taker.join().unwrap());
        assert_eq!((granted.iter().flatten().count(), account.used()), (1, 60));
        drop(granted);
        assert_eq!(account.used(), 0);
    });
}

fn events(count: u8) -> VecDeque<Event> {
    let event = |number| Event {
        typ: "T",
        kind: EventKind::Data,
        frames: [Frame::from_vec(vec![number])].into_iter().collect(),
    };
    (0..count).map(event).collect()
}

fn queue(when_full: WhenFull, limit: u64, bell: impl Into<Bell>) -> (Arc<Queue>, Arc<Account>, Arc<Space>) {
    let space = Arc::<Space>::default();
    let freed = space.clone();
    let account = Account::new(limit, move || freed.freed());
    (Queue::new(when_full, account.clone(), space.clone(), bell), account, space)
}

/// A reader with three events, and room for one at a time; and the forwarder.
pub fn a_reader_and_the_forwarder(drops: bool) {
    every_order(move || {
        let (wake, descriptor) = wake();
        let (queue, account, _) = queue(if drops { WhenFull::Drop } else { WhenFull::Block }, 300, wake.clone());
        let reader = thread::spawn({
            let queue = queue.clone();
            move || {
                let mut batch = events(3);
                while !queue.push(&mut batch) {
                    queue.wait_for_space(Duration::ZERO);
                }
                queue.tell(Item::Ended);
            }
        });
        let (mut items, mut places, mut ended) = (VecDeque::new(), Vec::new(), false);
        while !ended {
            wake.clear();
            queue.take_all(&mut items, true, None);
            if items.is_empty() {
                descriptor.wait();
            }
            for item in items.drain(..) {
                match item {
                    Item::Events(batch) => places.extend(batch.iter().map(|event| Some(event.frames[0].as_slice()[0]))),
                    Item::Dropped { count, .. } => places.extend((0..count).map(|_| None)),
                    Item::Ended => ended = true,
                    other => panic!("nobody said {other:?}"),
                }
            }
        }
        reader.join().unwrap();
        assert_eq!(places.len(), 3, "each event has its place: {places:?}");
        assert!(
            places.iter().zip(0..).all(|(place, number)| place.map_or(drops, |event| event == number)),
            "{places:?}"
        );
        assert_eq!(account.used(), 0);
    });
}

/// What takes events from the queues of two readers: in whole turns all, in short turns one batch.
#[derive(Default)]
struct Taker {
    queues: Vec<Arc<Queue>>,
    left: VecDeque<Item>,
    taken: Vec<u8>,
}

impl Taker {
    fn turn(&mut self, most: usize) -> bool {
        for queue in &self.queues {
            queue.take_all(&mut self.left, true, None);
        }
        let items: Vec<_> = self.left.drain(..self.left.len().min(most)).collect();
        for item in items {
            let Item::Events(batch) = item else { panic!("nobody said {item:?}") };
            self.taken.extend(batch.iter().map(|event| event.frames[0].as_slice()[0]));
        }
        self.left.is_empty()
    }
}

impl ShortTurn for Turns<Taker> {
    fn take(&self) {
        // With the last event, the own thread has something to decide.
        self.short(|taker| taker.turn(1) && taker.taken.len() < 2);
    }
}

/// Two readers whose events come alone, and the forwarder's own thread, which sleeps until all events are taken.
pub fn two_readers_that_take_turns() {
    every_order(|| {
        let (wake, descriptor) = wake();
        let turns = Arc::new(Turns::new(Taker::default(), wake.clone()));
        let of: Arc<dyn ShortTurn> = turns.clone();
        let bell = Bell::new(wake.clone(), Arc::downgrade(&of));
        let queues = [(); 2].map(|()| queue(WhenFull::Block, 1000, bell.clone()).0);
        turns.own(|taker| taker.queues = queues.to_vec());
        let readers = queues.map(|queue| {
            thread::spawn(move || {
                assert!(queue.push_and_forward(&mut events(1)));
            })
        });
        loop {
            wake.clear();
            if turns.own(|taker| taker.turn(usize::MAX) && taker.taken.len() == 2).unwrap() {
                break;
            }
            descriptor.wait();
        }
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        let taken = turns.end().unwrap().taken;
        assert!(taken == [0, 0] && turns.end().is_none(), "{taken:?}");
    });
}

/// A scan is replaced while its reader still yields events.
pub fn a_reader_and_a_new_scan() {
    every_order(|| {
        let (wake, _) = wake();
        let (queue, account, space) = queue(WhenFull::Block, 300, wake.clone());
        let reader = thread::spawn({
            let queue = queue.clone();
            move || {
                let mut batch = events(2);
                while !queue.push(&mut batch) {
                    queue.wait_for_space(Duration::ZERO);
                }
            }
        });
        let mut items = VecDeque::new();
        queue.take_all(&mut items, true, None);
        let left = queue.abandon().events;
        reader.join().unwrap();
        let taken: usize = items.iter().map(|item| if let Item::Events(batch) = item { batch.len() } else { 0 }).sum();
        assert_eq!(taken as u64 + left + space.late(), 2, "taken, left or late");
        drop(items);
        assert_eq!(account.used(), 0);
        queue.take_all(&mut VecDeque::new(), true, None);
    });
}

/// A source waits for its reader's bell; the reader takes orders when it rings.
pub fn a_reader_and_its_orders() {
    every_order(|| {
        let (bell, descriptor) = wake();
        let orders = Arc::new(Orders::new(bell.clone()));
        let giver = orders.clone();
        let giver = thread::spawn(move || [1, 2].map(|order| giver.give(order, true)));
        for expected in [1, 2] {
            loop {
                match orders.take() {
                    Next::Order(order) => break assert_eq!(order, expected),
                    _ => descriptor.wait(),
                }
            }
        }
        giver.join().unwrap();
        assert!(!bell.is_rung() && !descriptor.is_readable(), "else the source would stop what it is asked to do");
        orders.close();
        assert!(orders.take() == Next::Closed && descriptor.is_readable());
    });
}

/// One order that can wait is before an urgent order, and one after it; the source checks its bell in between.
pub fn orders_that_can_wait_and_one_that_is_urgent() {
    every_order(|| {
        let (bell, descriptor) = wake();
        let orders = Arc::new(Orders::new(bell.clone()));
        let giver = orders.clone();
        let giver = thread::spawn(move || {
            giver.give("before", false);
            giver.give("urgent", true);
            giver.give("after", false);
        });
        let mut taken = Vec::new();
        while taken.len() < 3 {
            match orders.take() {
                Next::Order(order) => {
                    taken.push(order);
                    // Each call of the source ends with such a check.
                    let stops = bell.is_rung();
                    assert!(!stops || !taken.contains(&"urgent"), "{taken:?}: it would stop what it is asked to do");
                }
                // Only the bell announces the urgent order to a waiting source.
                _ if !taken.contains(&"urgent") => descriptor.wait(),
                _ => thread::yield_now(),
            }
        }
        giver.join().unwrap();
        assert_eq!(taken, ["before", "urgent", "after"]);
        assert!(!bell.is_rung() && !descriptor.is_readable());
    });
}

/// Two urgent orders wait: after the first is taken, the bell must still ring for the second.
pub fn an_urgent_order_behind_another() {
    every_order(|| {
        let (bell, descriptor) = wake();
        let orders = Arc::new(Orders::new(bell.clone()));
        let giver = orders.clone();
        let giver = thread::spawn(move || giver.give(2, true));
        orders.give(1, true);
        let first = loop {
            if let Next::Order(order) = orders.take() {
                break order;
            }
        };
        // The call that the first order starts returns only after a request to stop.
        descriptor.wait();
        let Next::Order(second) = orders.take() else { panic!("it was rung for an order") };
        giver.join().unwrap();
        assert_eq!(first + second, 3);
        assert!(!bell.is_rung() && !descriptor.is_readable());
    });
}
