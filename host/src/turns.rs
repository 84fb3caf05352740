//! One value that several threads use in turns: its own thread, and others for short turns while that one sleeps.
//!
//! ```text
//!   own thread:   whole turn ── sleeps ───────────────────────── whole turn ── sleeps
//!   a reader:                            short turn
//!   another:                                  (busy: rings)
//! ```
//!
//! The own thread has the value whenever it is awake, so a short turn never delays it by more than itself. Nobody but the own
//! thread ever waits for the value; and no turn waits for anything else.

use std::sync::{TryLockError, Weak};

use crate::{sync::Mutex, wake::Wake};

/// See the module.
#[derive(Debug)]
pub(crate) struct Turns<T> {
    /// `None`: its own thread has ended.
    value: Mutex<Option<T>>,
    /// Wakes the own thread.
    wake: Wake,
}

impl<T> Turns<T> {
    pub(crate) fn new(value: T, wake: Wake) -> Self {
        Self { value: Mutex::new(Some(value)), wake }
    }

    /// A turn of its own thread. `None`: a short turn has panicked.
    pub(crate) fn own<R>(&self, turn: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.value.lock().ok()?.as_mut().map(turn)
    }

    /// The own thread ends: there are no further turns. `None`: a short turn has panicked.
    pub(crate) fn end(&self) -> Option<T> {
        self.value.lock().ok()?.take()
    }

    /// A short turn on this thread, if nobody has a turn. It returns whether everything is done; otherwise, and if there is no
    /// short turn, the own thread is woken. [any thread]
    pub(crate) fn short(&self, turn: impl FnOnce(&mut T) -> bool) {
        let is_done = match self.value.try_lock() {
            Ok(mut value) => value.as_mut().is_some_and(turn),
            Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => false,
        };
        // After the lock is released. Who has it now has perhaps looked already, and will look again.
        if !is_done {
            self.wake.ring();
        }
    }
}

/// A value that any thread can use for a short turn.
pub(crate) trait ShortTurn: Send + Sync {
    /// See [`Turns::short`].
    fn take(&self);
}

/// How a thread tells of its work: it wakes the own thread, or does the work in a short turn. Cheap to clone. [any thread]
#[derive(Debug, Clone)]
pub(crate) struct Bell {
    wake: Wake,
    turn: Option<Weak<dyn ShortTurn>>,
}

impl Bell {
    pub(crate) fn new(wake: Wake, turn: Weak<dyn ShortTurn>) -> Self {
        Self { wake, turn: Some(turn) }
    }

    /// Wakes the own thread.
    pub(crate) fn ring(&self) {
        self.wake.ring();
    }

    /// Takes a short turn.
    pub(crate) fn take_turn(&self) {
        match self.turn.as_ref().and_then(Weak::upgrade) {
            Some(turn) => turn.take(),
            None => self.ring(),
        }
    }
}

/// Without short turns.
impl From<Wake> for Bell {
    fn from(wake: Wake) -> Self {
        Self { wake, turn: None }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;

    #[test]
    fn nobody_waits_for_a_turn_of_another_and_the_own_thread_is_woken_for_what_is_left() {
        let wake = Wake::new().unwrap();
        let turns = Turns::new(0, wake.clone());
        turns.short(|number| {
            *number += 1;
            true
        });
        assert!(!wake.is_rung(), "nothing is left");
        turns.short(|_| false);
        assert!(wake.is_rung());
        wake.clear();
        // It would wait for ever.
        turns.own(|_| thread::scope(|scope| _ = scope.spawn(|| turns.short(|_| true)).join()));
        assert!(wake.is_rung(), "the own thread looks again");
        assert_eq!(turns.end(), Some(1));
        turns.short(|_| panic!("there is no value any more"));
        assert_eq!(turns.own(|number| *number), None);
    }

    #[test]
    fn a_short_turn_that_panics_ends_all_turns() {
        let wake = Wake::new().unwrap();
        let turns = Arc::new(Turns::new(0, wake.clone()));
        let of = turns.clone();
        let reader = thread::spawn(move || of.short(|_| panic!("a turn of a test")));
        assert!(reader.join().is_err());
        turns.short(|_| true);
        assert!(wake.is_rung(), "the own thread learns of it");
        assert_eq!((turns.own(|number| *number), turns.end()), (None, None));
    }
}
