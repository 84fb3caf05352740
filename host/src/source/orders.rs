//! The orders that wait for a reader, and the bell that interrupts its source.
//!
//! The forwarder gives orders, the reader thread takes them. The bell rings exactly while an order waits that ends the
//! source's current run (another scan, the end of this one), or after the last order. An order that can wait, such as a
//! parameter's value, does not ring. The bell is rung and cleared under the lock that guards the orders: a ring that
//! came after its order was taken would interrupt the source while it executes that order.

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
    /// Each with a flag that tells whether it is urgent.
    waiting: VecDeque<(T, bool)>,
    /// No more orders will come: the bell stays rung.
    closed: bool,
}

/// The result of a take.
#[derive(Debug, PartialEq)]
pub(crate) enum Next<T> {
    Order(T),
    /// No order at present.
    Nothing,
    /// No more orders will come.
    Closed,
}

/// Maximum single wait of a reader without work.
const PARKED: Duration = Duration::from_secs(3600);

impl<T> Orders<T> {
    pub(crate) fn new(bell: Wake) -> Self {
        let state = State { waiting: VecDeque::new(), closed: false };
        Self { state: Mutex::new(state), came: Condvar::new(), bell }
    }

    /// Adds an order. An urgent one interrupts the source. [any thread]
    pub(crate) fn give(&self, order: T, is_urgent: bool) {
        let mut state = self.lock();
        state.waiting.push_back((order, is_urgent));
        if is_urgent {
            self.bell.ring();
        }
        drop(state);
        self.came.notify_all();
    }

    /// Ends the orders; waiting ones are still taken first. [any thread]
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        self.bell.ring();
        drop(state);
        self.came.notify_all();
    }

    /// The next order, if one waits. Clears the bell, unless another urgent order waits. [reader thread]
    pub(crate) fn take(&self) -> Next<T> {
        self.next(&mut self.lock())
    }

    /// Waits for the next order; `None` when no more come. [reader thread]
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
