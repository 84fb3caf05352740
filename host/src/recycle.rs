//! Shared values whose memory is reused: an event costs no allocation once the pool has as many values as are in use at a time.
//!
//! A [`Pool`] belongs to one thread, the only one that takes from it; the values are shared and released on any thread. The last
//! owner of a value empties it and returns it. If the pool is gone or full, the memory is freed as usual.

use std::{
    fmt,
    ops::Deref,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

/// A value that a pool can keep.
pub(crate) trait Recycle: Default {
    /// Releases everything except memory that can be reused. Must not panic. [any thread]
    fn empty(&mut self);
}

/// See the module.
pub(crate) struct Pool<T> {
    /// Values returned on the pool's own thread.
    spares: Vec<Arc<Slot<T>>>,
    /// Receives values from other threads. Bounded, so nothing is allocated for it, and nobody waits.
    returned: Receiver<Arc<Slot<T>>>,
    home: SyncSender<Arc<Slot<T>>>,
}

/// A shared value; the last owner empties and returns it. [any thread]
pub(crate) struct Pooled<T: Recycle>(Option<Arc<Slot<T>>>);

/// A value, and the channel back to its pool.
#[derive(Debug)]
pub(crate) struct Slot<T> {
    value: T,
    home: SyncSender<Arc<Slot<T>>>,
}

/// Usually no more return at once; the same number may wait in each of the two lists.
const MOST_SPARES: usize = 1024;

impl<T: Recycle> Pool<T> {
    pub(crate) fn new() -> Self {
        let (home, returned) = sync_channel(MOST_SPARES);
        Self { spares: Vec::new(), returned, home }
    }

    /// A value filled by `fill`, which gets it empty.
    pub(crate) fn take(&mut self, fill: impl FnOnce(&mut T)) -> Pooled<T> {
        if self.spares.is_empty() {
            self.spares.extend(self.returned.try_iter());
        }
        let new = || Arc::new(Slot { value: T::default(), home: self.home.clone() });
        // The value that was returned last: it is the most likely to be in the processor's cache.
        let mut slot = self.spares.pop().unwrap_or_else(new);
        fill(&mut Arc::get_mut(&mut slot).expect("what was given back has no other owner").value);
        Pooled(Some(slot))
    }

    /// Returns a value. On the pool's own thread this is the shorter way.
    pub(crate) fn give_back(&mut self, mut value: Pooled<T>) {
        if self.spares.len() < MOST_SPARES
            && let Some(mut slot) = value.0.take()
        {
            match Arc::get_mut(&mut slot) {
                Some(Slot { value, .. }) => {
                    value.empty();
                    self.spares.push(slot);
                }
                None => drop(Pooled(Some(slot))),
            }
        }
    }
}

const FULL: &str = "it is taken out only when its owner ends";

#[cfg(test)]
#[cfg(feature = "capture")]
impl<T: Recycle> Pooled<T> {
    /// Number of owners.
    pub(crate) fn owners(&self) -> usize {
        self.0.as_ref().map_or(0, Arc::strong_count)
    }
}

impl<T: Recycle> Drop for Pooled<T> {
    fn drop(&mut self) {
        let Some(mut slot) = self.0.take() else { return };
        // If two owners release it at the same moment, both may find that they are not the last. Then it is freed,
        // which is harmless, and rare.
        if let Some(Slot { value, home }) = Arc::get_mut(&mut slot) {
            value.empty();
            let home = home.clone();
            // The error returns a value without a place, and it is freed here.
            let _ = home.try_send(slot);
        }
    }
}

impl<T: Recycle> Clone for Pooled<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Recycle> Deref for Pooled<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.as_ref().expect(FULL).value
    }
}

impl<T: Recycle + fmt::Debug> fmt::Debug for Pooled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T> fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("spares", &self.spares.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Records whether its content is still held.
    #[derive(Debug, Default)]
    struct Holder {
        held: Option<Arc<()>>,
        own: Vec<u8>,
    }

    impl Recycle for Holder {
        fn empty(&mut self) {
            self.held = None;
            self.own.clear();
        }
    }

    fn holder(pool: &mut Pool<Holder>, held: &Arc<()>) -> Pooled<Holder> {
        pool.take(|holder| {
            assert!(holder.held.is_none() && holder.own.is_empty());
            holder.held = Some(held.clone());
            holder.own.extend([1; 100]);
        })
    }

    #[test]
    fn the_last_to_let_go_empties_it_and_its_memory_is_used_again_whoever_it_is() {
        let (mut pool, held) = (Pool::new(), Arc::new(()));
        let mut places = Vec::new();
        for own_thread in [true, false, true] {
            let first = holder(&mut pool, &held);
            places.push((&raw const *first, first.own.as_ptr()));
            let other = first.clone();
            drop(first);
            assert_eq!((other.own.len(), Arc::strong_count(&held)), (100, 2));
            if own_thread {
                pool.give_back(other);
            } else {
                thread::spawn(move || drop(other)).join().unwrap();
            }
            assert_eq!(Arc::strong_count(&held), 1);
        }
        assert_eq!(places, [places[0]; 3]);
    }

    #[test]
    fn a_pool_that_is_full_or_gone_takes_nothing_back() {
        let (mut pool, held) = (Pool::new(), Arc::new(()));
        let many: Vec<_> = (0..3 * MOST_SPARES).map(|_| holder(&mut pool, &held)).collect();
        let last = holder(&mut pool, &held);
        for (number, one) in many.into_iter().enumerate() {
            if number % 2 == 0 { drop(one) } else { pool.give_back(one) }
        }
        assert_eq!((pool.spares.len(), pool.returned.try_iter().count()), (MOST_SPARES, MOST_SPARES));
        drop(pool);
        drop(last);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
