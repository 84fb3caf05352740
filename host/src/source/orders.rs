//! The orders that wait for a reader, and the bell that tells its source to stop what it does.
//!
//! Given by the forwarder, taken by the reader thread. The bell is rung exactly while an order waits that ends what the source does
//! (another scan, the end of this one), or when no more orders come. An order that can wait, such as a parameter's value, does not ring. The bell is
//! rung and cleared under the lock that guards the orders: a ring that came after its order was taken would tell the source to
//! stop the very thing it is asked to do.

use std::{collections::VecDeque, sync::PoisonError, time::Duration};

use crate::{
    sync::{Condvar, Mutex, MutexGuard},
    wake::Wake,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Orders<T> {
    state: Mutex<State<T>>,
    came: Condvar,
    bell: Wake,
}

#[derive(Debug)]
struct State<T> {
    /// Each with whether it is urgent.
    waiting: VecDeque<(T, bool)>,
    /// No more will come: the bell stays rung.
    closed: bool,
}

/// What there is to do.
#[derive(Debug, PartialEq)]
pub(crate) enum Next<T> {
    Order(T),
    /// Nothing, for now.
    Nothing,
    /// Nothing any more.
    Closed,
}

/// How long a reader without work waits at a time.
const PARKED: Duration = Duration::from_secs(3600);

impl<T> Orders<T> {
    pub(crate) fn new(bell: Wake) -> Self {
        let state = State { waiting: VecDeque::new(), closed: false };
        Self { state: Mutex::new(state), came: Condvar::new(), bell }
    }

    /// Leaves an order. An urgent one ends what the source does now. [any thread]
    pub(crate) fn give(&self, order: T, is_urgent: bool) {
        let mut state = self.lock();
        state.waiting.push_back((order, is_urgent));
        if is_urgent {
            self.bell.ring();
        }
        drop(state);
        self.came.notify_all();
    }

    /// No more orders come; those that wait are taken first. [any thread]
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        self.bell.ring();
        drop(state);
        self.came.notify_all();
    }

    /// The next order, if one waits. The bell is for those that come after it, and stays rung if one of them is urgent.
    /// [reader thread]
    pub(crate) fn take(&self) -> Next<T> {
        self.next(&mut self.lock())
    }

    /// The next order, whenever it comes; none when no more come. [reader thread]
    pub(crate) fn wait_for_one(&self) -> Option<T> {
        loop {
            match self.wait(PARKED) {
                Next::Order(order) => return Some(order),
                Next::Closed => return None,
                Next::Nothing => {}
            }
        }
    }

    /// The next order, or nothing after `limit`. [reader thread]
    pub(crate) fn wait(&self, limit: Duration) -> Next<T> {
        let mut state = self.lock();
        match self.next(&mut state) {
            Next::Nothing => drop(self.came.wait_timeout(state, limit)),
            next => return next,
        }
        self.take()
    }

    fn next(&self, state: &mut State<T>) -> Next<T> {
        let next = state.waiting.pop_front();
        if !state.closed && !state.waiting.iter().any(|(_, is_urgent)| *is_urgent) {
            self.bell.clear();
        }
        match next {
            Some((order, _)) => Next::Order(order),
            None if state.closed => Next::Closed,
            None => Next::Nothing,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
